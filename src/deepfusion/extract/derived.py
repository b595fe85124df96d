"""Columns of the store computed from face tracks and face features: head pose, eyes, mouth, emotion."""

import logging
from collections.abc import Mapping

import numpy as np

from deepfusion.config import NetworkSettings
from deepfusion.faces.openings import eye_opening, mouth_opening
from deepfusion.faces.pose import pose
from deepfusion.networks import catalogue
from deepfusion.networks.emotion import EMOTIONS, classifiers, mean_probability
from deepfusion.store.derived import Derived

log = logging.getLogger(__name__)

FROM_LANDMARKS = (
    Derived(
        "pose",
        ("landmarks",),
        (3,),
        lambda of: pose(of["landmarks"]),
        {
            "units": "degree",
            "axes": "frame, (yaw, pitch, roll)",
            "description": "head pose by the landmarks. yaw: positive turned to the right of the image, the person's "
            "own left; pitch: positive up; roll: positive clockwise in the image. NaN: no face",
        },
    ),
    Derived(
        "eye_opening",
        ("landmarks",),
        (2,),
        lambda of: eye_opening(of["landmarks"]),
        {
            "units": "1",
            "axes": "frame, (eye on the left of the image, eye on its right)",
            "description": "eye aspect ratio, height by width: about 0.3 open, below 0.2 shut; NaN: no face",
        },
    ),
    Derived(
        "mouth_opening",
        ("landmarks",),
        (),
        lambda of: mouth_opening(of["landmarks"]),
        {
            "units": "1",
            "axes": "frame",
            "description": "inner lips, height by width: 0 shut, about 1 as high as wide; NaN: no face",
        },
    ),
)


def derived_columns(networks: Mapping[str, NetworkSettings]) -> tuple[Derived, ...]:
    """The derived columns of a store, or of a clip in memory; `emotion` only with its four networks in the slots.

    Args:
        networks: Slot -> its network.

    Raises:
        UserError: Weights are missing or damaged.
    """
    fingerprints = {slot: catalogue.fingerprint(of.network, of.weights) for slot, of in networks.items()}
    known = classifiers(fingerprints, {slot: of.weights for slot, of in networks.items()})
    if not known:
        log.info("emotion is left out: it needs the four networks of the preset compact, with the package's weights")
        return FROM_LANDMARKS

    def emotion(of: Mapping[str, np.ndarray]) -> np.ndarray:
        return mean_probability(classifier.logits(of[slot]) for slot, classifier in known.items())

    attrs = {
        "units": "1",
        "axes": f"frame, ({', '.join(EMOTIONS)})",
        "description": "probability of each emotion in the frame by the face networks alone: calibrated mean; NaN: no "
        "face",
        "classes": list(EMOTIONS),
        "networks": ", ".join(fingerprints[slot] for slot in known),
        "temperatures": [classifier.temperature for classifier in known.values()],
    }
    return (*FROM_LANDMARKS, Derived("emotion", tuple(known), (len(EMOTIONS),), emotion, attrs))
