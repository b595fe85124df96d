"""Records of finished predictions, one file per clip in the output folder, to resume an interrupted run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from deepfusion.atomic import write_atomically
from deepfusion.cache_key import digest, media_files
from deepfusion.extract.common import hash_of, is_transient
from deepfusion.prediction.file_names import file_name
from deepfusion.versions import VERSIONS

FOLDER = ".records"
VERSION = 1  # raised when a record's content changes


class Records:
    """The records of a folder.

    Args:
        out: The output folder.
        depends: What a prediction depends on apart from the clip: the model's hash, windows, normalisation, outputs.
    """

    def __init__(self, out: Path, depends: list[Any]):
        self._out, self._depends = out, [VERSION, VERSIONS, *depends]

    def key(self, clip: Any, *, together: str = "") -> str:
        """Cache key of a clip's prediction: its files and their content, its segment, and `depends`.

        Args:
            clip: A row of a manifest.
            together: Key of the clips that it is normalised with, see `together`.
        """
        paths = [str(clip.path), *([str(clip.audio)] if clip.audio else [])]
        part = [str(clip.start), str(clip.end), clip.person]
        return digest(self._depends, paths, [hash_of(path) for path in paths], part, together)

    def kept(self, clip: Any, *, together: str = "") -> bool:
        """Whether this clip has an up-to-date record, and all files that belong to it."""
        try:
            record = json.loads(self.path(clip.id).read_text(encoding="utf-8"))
            files = [self._out / name for name in record["files"]]
            if is_transient(record["found"]["reason"]):
                return False
        except (OSError, ValueError, KeyError):
            return False
        return all(file.is_file() for file in files) and record["key"] == self.key(clip, together=together)

    def write(self, clip: Any, found: dict[str, Any], *, section: str, files: list[str], together: str = "") -> None:
        """Write the record of a clip.

        Args:
            clip: A row of a manifest.
            found: `Prediction.to_dict`.
            section: The HTML of the clip.
            files: Files below the folder that belong to it.
            together: As of `key`.
        """
        record = {"key": self.key(clip, together=together), "files": files, "found": found, "section": section}
        text = json.dumps(record, allow_nan=False)
        write_atomically(self.path(clip.id), lambda part: part.write_text(text, encoding="utf-8"))

    def found(self, clip_id: str) -> dict[str, Any]:
        """The prediction of a clip that has a record."""
        return self._read(clip_id)["found"]

    def section(self, clip_id: str) -> str:
        """The HTML of a clip that has a record."""
        return self._read(clip_id)["section"]

    def all(self, ids: list[str]) -> Iterator[dict[str, Any]]:
        """The predictions of clips, one in memory at a time."""
        return map(self.found, ids)

    def path(self, clip_id: str) -> Path:
        """The file of a clip's record."""
        return self._out / FOLDER / f"{file_name(clip_id)}.json"

    def _read(self, clip_id: str) -> dict[str, Any]:
        return json.loads(self.path(clip_id).read_text(encoding="utf-8"))


def together(clips: pd.DataFrame) -> str:
    """Cache key of clips that are normalised together, by their content."""
    files = [*clips["path"], *media_files("spectrogram", clips)]
    return digest([hash_of(file) for file in files], clips[["start", "end", "person", "speaker"]].astype(str).to_dict())
