"""Inner folds of the training clips: hyperparameters are selected without test clips."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

BY_CLIP = (
    "inner folds over clips, as no speaker is known: the selected hyperparameters may suit the training speakers only"
)


def inner_folds(
    speakers: np.ndarray, labels: np.ndarray, folds: int
) -> tuple[list[tuple[Sequence[int], Sequence[int]]], str]:
    """(train, validation) positions among training clips; each is a validation clip once.

    Folds have about equal shares of each class. Speakers are disjoint where they are known.

    Args:
        speakers: (clips,) names; "" where unknown.
        labels: (clips,) classes.
        folds: Maximum number; fewer with fewer speakers, or fewer clips of the rarest class.

    Returns:
        The folds, none for a single speaker or a single clip per class; and a caveat for result tables, or "".
    """
    if (speakers == "").all():
        counts = pd.Series(labels).value_counts()
        if counts.max() < 2:
            return [], BY_CLIP
        division = StratifiedKFold(max(2, min(folds, counts.min())), shuffle=True, random_state=0)
        return list(division.split(labels, labels)), BY_CLIP
    count = len(np.unique(speakers))
    if count < 2:
        return [], ""
    _, classes = np.unique(labels, return_inverse=True)
    if np.bincount(classes).max() < min(folds, count):
        classes = np.zeros_like(classes)  # fewer clips of each class than folds: classes cannot be spread
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer clips than folds
        parts = list(StratifiedGroupKFold(min(folds, count)).split(speakers, classes, groups=speakers))
    # Balancing the classes may leave a fold without any speaker.
    return [(train, held) for train, held in parts if len(train) and len(held)], ""
