"""Folds inside the training clips: what they choose has never seen a test clip."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, StratifiedKFold

BY_CLIP = "inner folds over clips: no speaker is known, so that what they choose may suit the training speakers alone"


def inner_folds(
    speakers: np.ndarray, labels: np.ndarray, folds: int
) -> tuple[list[tuple[Sequence[int], Sequence[int]]], str]:
    """(train, validation) positions among training clips; each is a validation clip once.

    Whole speakers on either side where they are known, else clips stratified by label.

    Args:
        speakers: (clips,) names; "" where unknown.
        labels: (clips,) classes.
        folds: At most so many; fewer if speakers, or clips of the rarest class, are fewer.

    Returns:
        The folds, none if there is a single speaker, or a single clip of each class; and what a table has to say of
        them, "" for nothing.
    """
    if (speakers == "").all():
        counts = pd.Series(labels).value_counts()
        if counts.max() < 2:
            return [], BY_CLIP
        division = StratifiedKFold(max(2, min(folds, counts.min())), shuffle=True, random_state=0)
        return list(division.split(labels, labels)), BY_CLIP
    count = len(np.unique(speakers))
    return (list(GroupKFold(min(folds, count)).split(speakers, groups=speakers)) if count > 1 else []), ""
