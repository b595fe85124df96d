"""Attention weights of clips as arrays, in one file: ragged, like the feature store."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

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
        kinds: "audio", "video" -> of each clip (L,) weights and (L,) s; L = 0 without the modality.
        frequency: Of each clip (L,) Hz of the rows of "audio", where they have one.
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
