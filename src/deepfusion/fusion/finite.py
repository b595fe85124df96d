"""Checks for NaN and infinity, which would otherwise end in NaN predictions."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deepfusion.errors import MachineError, UserError
from deepfusion.store.layout import IMPORTED_AUDIO
from deepfusion.store.reader import Clip

HEARD = ("spectrogram", "audio_time")
ENCODED = ("AF", "AF_time")
EVERYWHERE = ("time", *ENCODED, *HEARD)  # other datasets are NaN in frames without a face


def check_clip(store: Path, clip: Clip, values: dict[str, np.ndarray]) -> None:
    """Refuse a clip of a store with NaN or infinity in a row that is used.

    Args:
        store: The store, for the message.
        clip: The clip; its `valid` says which frames have a face.
        values: Dataset -> its rows (L, ...): all frames, all windows for `HEARD`, all positions for `ENCODED`.

    Raises:
        MachineError: A row that is used holds NaN or infinity: names clip, dataset and row.
    """
    for name, rows in values.items():
        bad = ~np.isfinite(rows).all(axis=tuple(range(1, rows.ndim)))
        imported = name.startswith(IMPORTED_AUDIO)
        if name not in EVERYWHERE and not imported:
            bad &= clip["valid"]
        if bad.any():
            first = int(bad.argmax())
            what = "NaN" if np.isnan(rows[first]).any() else "infinity"
            row = "window" if name in HEARD else "position" if name in ENCODED or imported else "frame"
            raise MachineError(
                f"{store}: clip {clip.id!r}, {name}, {row} {first}: {what} where "
                f"a number is expected ({bad.sum()} such rows of this clip): the store is damaged, extract it again"
            )


def check_training(tensors: Iterable[Tensor], *, loss: float, when: str, mend: str) -> None:
    """Stop a training that has diverged.

    Args:
        tensors: The weights.
        loss: Of the last step.
        when: "epoch 3", for the message.
        mend: What to change, for the message.

    Raises:
        UserError: The loss or a weight is NaN or infinite.
    """
    if not np.isfinite(loss) or not all(torch.isfinite(tensor).all() for tensor in tensors):
        raise UserError(f"training diverged in {when}: the loss is {loss:g} or a weight is no number; {mend}")
