"""Attention weights of clips as arrays, in one file: ragged, like the feature store."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from deepfusion.fusion.model import Attention
from deepfusion.store.commit import committed


def write_attention_file(
    path: Path,
    clips: Sequence[str],
    kinds: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]],
    *,
    frequency: Sequence[np.ndarray] | None = None,
    **attributes: object,
) -> None:
    """Write `clip`, and for each kind a group: clip i has the rows offsets[i] to offsets[i + 1] of `weight` and `time`.

    Args:
        path: HDF5 file.
        clips: Ids.
        kinds: "audio", "video" -> per clip (L,) weights and (L,) times in s; L = 0 without the modality.
        frequency: Per clip (L,) Hz of the rows of "audio", if they have frequencies.
        attributes: Of the file, such as the model's name.

    Raises:
        MachineError: The file cannot be written.
    """
    with committed(path, check=lambda file: file["clip"]) as (file, _):
        file.attrs.update(attributes)
        file.create_dataset("clip", data=list(clips), dtype=h5py.string_dtype())
        for kind, pieces in kinds.items():
            weights, times = zip(*pieces, strict=True)
            group = file.create_group(kind)
            group.create_dataset("offsets", data=np.cumsum([0, *map(len, times)]))
            group.create_dataset("weight", data=np.concatenate(weights).astype(np.float32))
            seconds = group.create_dataset("time", data=np.concatenate(times).astype(np.float64))
            seconds.attrs["units"] = "s"
        if frequency is not None:
            file["audio"].create_dataset("frequency", data=np.concatenate(frequency)).attrs["units"] = "Hz"


def read_attention_file(path: Path) -> tuple[str, dict[str, dict[str, Attention]]]:
    """The model, and clip id -> "audio", "video" -> attention; a modality that a clip lacks is left out.

    Args:
        path: As `write_attention_file` writes it.
    """
    found: dict[str, dict[str, Attention]] = {}
    with h5py.File(path) as file:
        ids = file["clip"].asstr()[:]
        for kind in (name for name in ("audio", "video") if name in file):
            data = {name: of[:] for name, of in file[kind].items()}
            for id_, first, last in zip(ids, data["offsets"], data["offsets"][1:], strict=False):
                if last > first:
                    rows = {name: of[first:last] for name, of in data.items() if name != "offsets"}
                    found.setdefault(id_, {})[kind] = Attention.of(**rows)
        return str(file.attrs["model"]), found
