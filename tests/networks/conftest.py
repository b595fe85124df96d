"""Faces to try the networks on."""

from typing import NamedTuple

import av
import numpy as np
import pandas as pd
import pytest
import torch
from skimage.data import astronaut

from deepfusion.faces.align import Crop, warp
from deepfusion.faces.detect import Detection, Detector


class Sighting(NamedTuple):
    """A face in a picture."""

    speaker: str
    clip: str
    image: np.ndarray
    face: Detection

    def crop(self, crop: Crop) -> np.ndarray:
        return warp(self.image, self.face.box, self.face.landmarks, crop)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def portrait() -> Sighting:
    """A public-domain portrait that ships in a package."""
    image = np.ascontiguousarray(astronaut())
    return Sighting("astronaut", "", image, Detector()(image)[0])


@pytest.fixture(scope="session")
def sightings(javsed) -> list[Sighting]:
    """Two clips of each speaker, of different sentences and emotions, and of each clip two frames 20 apart."""
    manifest = pd.read_csv(javsed / "manifest.csv", dtype={"speaker": str})
    detector, found = Detector(), []
    for speaker, clips in manifest.groupby("speaker"):
        for path in (clips.path.iloc[0], clips.path.iloc[-1]):
            with av.open(str(javsed / path)) as container:
                for i, frame in enumerate(container.decode(video=0)):
                    if i in (5, 25):
                        image = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
                        found += [Sighting(speaker, path, image, face) for face in detector(image)[:1]]
                    if i == 25:
                        break
    return found
