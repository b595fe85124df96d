"""Small images like FER2013's, with what is known of them."""

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from deepfusion.corpora.demo.face import LANDMARKS


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def portraits() -> tuple[np.ndarray, np.ndarray]:
    """Cuts of a public-domain portrait: (4, 48, 48) uint8, and where dlib finds the landmarks in the photograph."""
    photo = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2GRAY)
    images, landmarks = [], []
    for x, y, side, turn in [(226, 122, 112, 0), (230, 125, 125, 0.15), (222, 128, 110, -0.15), (226, 130, 140, 0)]:
        turned = 48 / side * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        matrix = np.column_stack([turned, 23.5 - turned @ [x, y]])
        fine = 8 * matrix + [[0, 0, 3.5], [0, 0, 3.5]]  # eight pixels for one: their means do not alias
        image = cv2.warpAffine(photo, fine, (384, 384), flags=cv2.INTER_LINEAR)
        images.append(cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA))
        landmarks.append(LANDMARKS @ turned.T + matrix[:, 2])
    return np.stack(images), np.stack(landmarks)
