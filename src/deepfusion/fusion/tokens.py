"""Clips as vectors of a common length, normalised by what may be known of a speaker: what the heads of a fold see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits
from torch import Tensor

Normalisation = Literal["training", "speaker"]
# Vectors that means, deviations and axes are fitted on, at most; taken evenly from all.
FITTED = 6000
SMALLEST = 1e-6  # standard deviation of a value that never changes


@dataclass(frozen=True)
class Tokens:
    """Vectors of all clips, one clip behind the other, as in the feature store."""

    vectors: Tensor  # (L, p)
    offsets: Tensor  # (clips + 1,) int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        """(clips,) vectors of each clip."""
        return self.offsets.diff()


def _standardised(clips: Sequence[np.ndarray], group: Sequence[np.ndarray]) -> list[np.ndarray]:
    """`clips` by mean and standard deviation of the vectors in `group`."""
    vectors = np.concatenate([*group])
    mean, std = vectors.mean(0), np.maximum(vectors.std(0), SMALLEST)
    return [((clip - mean) / std).astype(np.float32) for clip in clips]


def normalise(
    clips: Sequence[np.ndarray], speakers: Sequence[str], train: Sequence[int], *, by: Normalisation
) -> list[np.ndarray]:
    """Standardise every value.

    Args:
        clips: (L, n) vectors of each clip; L may be 0.
        speakers: Speaker of each clip.
        train: Positions of the training clips.
        by: "training": by the training clips' mean and standard deviation. "speaker": by those of the clip's own
            speaker, from all of that speaker's clips without their labels. That is transductive: it needs several clips
            of a test speaker before the first is judged.

    Returns:
        Like `clips`.
    """
    if by == "training":
        return _standardised(clips, [clips[i] for i in train])
    done: list[np.ndarray] = list(clips)
    for speaker in sorted(set(speakers)):
        own = [i for i, who in enumerate(speakers) if who == speaker]
        if sum(len(clips[i]) for i in own):
            for i, clip in zip(own, _standardised([clips[i] for i in own], [clips[i] for i in own]), strict=True):
                done[i] = clip
    return done


# The axes must not hang on the number of cores.
@threadpool_limits.wrap(limits=1, user_api="blas")
def principal(clips: Sequence[np.ndarray], train: Sequence[int], *, size: int) -> list[np.ndarray]:
    """The `size` principal axes of the training clips' vectors, scaled by one factor to a mean variance of 1.

    Fixed, fitted without labels: the first half of the reduction of equation (6), whose trained half follows in the
    head. A matrix of thousands of columns learns two hundred clips by heart.
    """
    vectors = np.concatenate([clips[i] for i in train])
    vectors = vectors[:: -(-len(vectors) // FITTED)]
    axes = PCA(min(size, *vectors.shape), svd_solver="randomized", random_state=0).fit(vectors)
    scale = np.sqrt(max(axes.explained_variance_.mean(), SMALLEST))
    return [((clip - axes.mean_) @ axes.components_.T / scale).astype(np.float32) for clip in clips]


def joined(clips: Sequence[np.ndarray]) -> Tokens:
    """Tokens of clips; one without any vector gets a zero, the training clips' mean: an average voice or face."""
    filled = [clip if len(clip) else np.zeros((1, clip.shape[1]), np.float32) for clip in clips]
    offsets = np.cumsum([0, *map(len, filled)])
    return Tokens(torch.from_numpy(np.concatenate(filled)), torch.from_numpy(offsets))
