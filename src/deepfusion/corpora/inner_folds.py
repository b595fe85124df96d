"""Inner folds of the training clips: hyperparameters are selected without test clips."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, StratifiedKFold

BY_CLIP = (
    "inner folds over clips, as no speaker is known: the selected hyperparameters may suit the training speakers only"
)


def inner_folds(
    speakers: np.ndarray, labels: np.ndarray, folds: int
) -> tuple[list[tuple[Sequence[int], Sequence[int]]], str]:
    """(train, validation) positions among training clips; each is a validation clip once.

    Speakers are disjoint where they are known; else clips are stratified by label.

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
    return (list(GroupKFold(min(folds, count)).split(speakers, groups=speakers)) if count > 1 else []), ""
