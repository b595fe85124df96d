"""How the features of new clips are normalised: by the training clips, or by clips of the same person."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import pandas as pd

from deepfusion.errors import UserError
from deepfusion.extract.in_memory import Extractor
from deepfusion.prediction.windows import usable

Normalisation = Literal["none", "clip-set", "speaker"]
IN_WORDS = {
    "none": "features are normalised by the training clips",
    "clip-set": "features are normalised by all the clips given, as clips of one person",
    "speaker": "features are normalised by the clips of each speaker of the manifest",
}


def check_normalisation(card: Mapping[str, Any], norm: str | None, *, name: str) -> Normalisation:
    """The normalisation to use: the requested one, by default that of the model's training.

    Raises:
        UserError: The model was trained with another one.
    """
    trained = card.get("normalisation", "training")
    if norm is None:
        return "none" if trained == "training" else "speaker"
    if norm not in get_args(Normalisation):
        raise UserError(f"unknown norm {norm!r}: use one of {', '.join(get_args(Normalisation))}")
    if (norm == "none") != (trained == "training"):
        fits = "none" if trained == "training" else "clip-set or speaker"
        raise UserError(f"model {name} was trained with features normalised by {trained}: use --norm {fits}")
    return norm


def groups_of(
    model: Any, extractor: Extractor, clips: pd.DataFrame, norm: Normalisation
) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Statistics and clips of each group that is normalised together; None: statistics of the training.

    Each group is extracted twice, first for the statistics, so that of long streams only a sample of rows is in memory.

    Raises:
        UserError: A clip has no speaker where speakers are needed.
    """
    if norm == "none":
        yield None, clips
        return
    if norm == "speaker" and clips["speaker"].eq("").any():
        raise UserError("--norm speaker needs a manifest with a column speaker; clips of one person: --norm clip-set")
    groups = [clips] if norm == "clip-set" else [part for _, part in clips.groupby("speaker", sort=False)]
    for group in groups:
        yield model.statistics(usable(found.arrays) for found in extractor.clips(group)), group
