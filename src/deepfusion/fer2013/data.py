"""FER2013 in memory, whatever its file format."""

from dataclasses import dataclass

import numpy as np

from deepfusion.errors import UserError
from deepfusion.networks.emotion import EMOTIONS  # the classes 0..6

USAGES = ("Training", "PublicTest", "PrivateTest")
VOTES = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip
"""The choices of FER+'s ten taggers, in its order; NF is "not a face"."""
FERPLUS = {
    "angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness", "sad": "sadness",
    "surprise": "surprise", "neutral": "neutral",
}  # fmt: skip
"""FER2013's classes and FER+'s names for them; contempt, unknown and NF have no counterpart."""
SIDE = 48  # pixels


@dataclass(frozen=True)
class Fer2013:
    """FER2013, or a part of it; one index over all arrays.

    Attributes:
        images: (N, 48, 48) uint8 grey.
        labels: (N,) int64, 0..6 in the order of `EMOTIONS`.
        usage: (N,) str, each one of `USAGES`.
        votes: (N, 10) int64 of FER+ in the order of `VOTES`, or None if not given.
        ambiguous: (N,) bool: has an equal image of another label in its own split, or is marked so by the source.
    """

    images: np.ndarray
    labels: np.ndarray
    usage: np.ndarray
    votes: np.ndarray | None
    ambiguous: np.ndarray

    @property
    def emotion_votes(self) -> np.ndarray | None:
        """(N, 7) of FER+'s votes, those for `EMOTIONS`, in their order."""
        return None if self.votes is None else self.votes[:, [VOTES.index(FERPLUS[emotion]) for emotion in EMOTIONS]]

    def rows(self, usage: str) -> np.ndarray:
        """(n,) indices of the images of one usage.

        Raises:
            UserError: there are none.
        """
        found = np.flatnonzero(self.usage == usage)
        if len(found) == 0:
            raise UserError(f"FER2013 has no image of {usage}, which is evaluated: finetune.data needs all splits")
        return found

    def split(self, usage: str) -> "Fer2013":
        """The images of one usage, in order.

        Raises:
            ValueError: `usage` is none of `USAGES`.
        """
        if usage not in USAGES:
            raise ValueError(f"usage {usage!r} is none of {', '.join(USAGES)}")
        of = self.usage == usage
        votes = None if self.votes is None else self.votes[of]
        return Fer2013(self.images[of], self.labels[of], self.usage[of], votes, self.ambiguous[of])
