"""Generated pictures with one public-domain face (astronaut Eileen Collins, NASA) moved about."""

import cv2
import numpy as np
import pytest
import skimage.data

from deepfusion.faces.detect import Detector
from deepfusion.media import frames


@pytest.fixture(scope="session")
def detector():
    return Detector()


@pytest.fixture(scope="session")
def head():
    """(190, 180, 3) uint8: a head; its face is about 100 px wide."""
    return np.ascontiguousarray(skimage.data.astronaut()[30:220, 130:310])


@pytest.fixture(scope="session")
def scene(head):
    """A function: heads, each (x, y, scale), pasted onto a faceless background of (240, 420) px."""
    pictures = {
        "coffee": cv2.resize(skimage.data.coffee(), (420, 240), interpolation=cv2.INTER_AREA),
        "rocket": cv2.resize(skimage.data.rocket(), (420, 240), interpolation=cv2.INTER_AREA),
        "black": np.zeros((240, 420, 3), np.uint8),
    }

    def make(*heads, background="coffee"):
        image = pictures[background].copy()
        for x, y, scale in heads:
            shift = np.array([[scale, 0, x], [0, scale, y]])
            cv2.warpAffine(
                head,
                shift,
                (420, 240),
                dst=image,
                flags=cv2.INTER_AREA,
                borderMode=cv2.BORDER_TRANSPARENT,
            )
        return image

    return make


@pytest.fixture(scope="session")
def real_frames(javsed):
    """One frame, a second into the clip, of four real clips: two women, two men."""
    names = ["01-01-03_01", "04-02-05_01", "06-03-06_01", "10-04-04_01"]
    return [next(frames(javsed / "clips" / f"{name}.mp4", start=1.0)).image for name in names]
