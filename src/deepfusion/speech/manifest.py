"""The manifest of emotional speech: one row per clip, with its corpus, speaker, label, language and licence."""

import logging
from pathlib import Path

import pandas as pd

from deepfusion import csvfile
from deepfusion.cache_key import digest
from deepfusion.config import PretrainAudioSettings
from deepfusion.corpora.columns import composed
from deepfusion.corpora.manifest import absolute
from deepfusion.errors import UserError

log = logging.getLogger(__name__)

COLUMNS = ("path", "corpus", "speaker", "label", "language", "licence")


def read(path: Path, settings: PretrainAudioSettings) -> pd.DataFrame:
    """Read the manifest; keep clips with a known label of the corpora to train on, and all clips of the unseen corpora.

    Args:
        path: A csv with the columns `COLUMNS`; others are ignored. A relative `path` in it starts at the csv's folder.
        settings: `corpora` and `unseen` are kept; `labels` is the common label set, `merged` renames others.

    Returns:
        COLUMNS, all text; `path` absolute. One row per clip, in the order of the file.

    Raises:
        UserError: The file is missing or unreadable, lacks a column, has an empty cell, lists a file twice, names a
            file that does not exist, or has no clip of one of the corpora.
    """
    table = _listed(path)
    for name in COLUMNS:
        if (empty := table[name] == "").any():
            raise UserError(f"{path}:{empty.idxmax()}: column {name!r} is empty")
    if (twice := table["path"].duplicated()).any():
        raise UserError(f"{path}:{twice.idxmax()}: {table['path'][twice.idxmax()]} is listed twice")
    for corpus in (*settings.corpora, *settings.unseen):
        if not (table["corpus"] == corpus).any():
            raise UserError(f"{path}: no clip of corpus {corpus!r}; it has {', '.join(table['corpus'].unique())}")
    table = table[table["corpus"].isin([*settings.corpora, *settings.unseen])]
    table = table.assign(label=table["label"].replace(settings.merged))
    known = table["label"].isin(settings.labels) | table["corpus"].isin(settings.unseen)
    for (corpus, label), count in table[~known].groupby(["corpus", "label"]).size().items():
        log.info("%s: %d clips are left out, label %s is not in pretrain_audio.labels", corpus, count, label)
    table = table[known]
    absent = [name for name in table["path"] if not Path(name).is_file()]
    if absent:
        raise UserError(f"{path}: {len(absent)} of {len(table)} files do not exist, such as {absent[0]}")
    return table.reset_index(drop=True)


def stamps(path: Path) -> str:
    """Hash of the listed files' sizes and modification times; that of another file, or of none, differs.

    Raises:
        UserError: The csv is missing or unreadable, or lacks a column.
    """
    found = []
    for file in _listed(path)["path"]:
        there = Path(file).stat() if Path(file).is_file() else None
        found.append([file, there and f"{there.st_size} {there.st_mtime_ns}"])
    return digest(found)


def _listed(path: Path) -> pd.DataFrame:
    """COLUMNS of all rows, stripped, index their lines; `path` absolute, "" if empty; names in Unicode's form NFC."""
    if not path.is_file():
        raise UserError(f"pretrain_audio.manifest: there is no file {path}")
    lines = csvfile.rows(path)
    _, header = next(lines, (1, []))
    if missing := [name for name in COLUMNS if name not in header]:
        raise UserError(f"{path}: column {missing[0]!r} is missing; it has {', '.join(header)}")
    places, clips = [header.index(name) for name in COLUMNS], dict[int, list[str]]()
    for line, cells in lines:
        if len(cells) != len(header):
            raise UserError(
                f"{path}:{line}: {len(cells)} cells where the header has {len(header)}: quote a cell with commas"
            )
        clips[line] = [cells[place] for place in places]
    table = pd.DataFrame.from_dict(clips, orient="index", columns=list(COLUMNS))
    names = {name: table[name].map(composed) for name in ("corpus", "speaker", "label")}
    return table.assign(**names, path=[name and absolute(path.parent / name) for name in table["path"]])
