"""A FER2013 that is learnt in seconds: the class is where the image is bright."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from deepfusion.config import FinetuneSettings, RecipeSettings
from deepfusion.corpora.demo.face import LANDMARKS
from deepfusion.fer2013 import finetune
from deepfusion.fer2013.align import USUAL_BOX, Alignment
from deepfusion.fer2013.data import Fer2013

NAME = "compact-vgg-fer2013"
CPU = torch.device("cpu")


def toy(n=96, seed=0):
    """Images, of which every sixth is of PublicTest and every sixth of PrivateTest, and their alignment."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 7
    images = rng.integers(0, 60, (n, 48, 48), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[6 * label + 3 : 6 * label + 9] += 180
    usage = np.where(np.arange(n) % 6 == 1, "PublicTest", np.where(np.arange(n) % 6 == 3, "PrivateTest", "Training"))
    # Faces that fill the image, near their usual place.
    landmarks = (LANDMARKS - LANDMARKS.min(0)) / np.ptp(LANDMARKS, axis=0) * 36 + [6, 10]
    found = Alignment(
        box=np.tile(np.float32(USUAL_BOX), (n, 1)),
        landmarks=np.float32(landmarks + rng.uniform(-2, 2, (n, 1, 2))),
        score=np.full(n, np.nan, np.float32),
    )
    return Fer2013(images, labels, usage, None, np.zeros(n, bool)), found


def voted(data: Fer2013, votes: np.ndarray) -> Fer2013:
    return replace(data, votes=votes)


def prepared(path: Path, *parts) -> Path:
    np.savez(path, **{name: value for part in parts for name, value in vars(part).items() if value is not None})
    return path


def settings(**changes) -> FinetuneSettings:
    """Two short epochs in float32; `changes` of the recipe or of the settings."""
    recipe = {"epochs": 2, "learning_rate": 2e-3, "batch": 16, "dropout": 0.2}
    ours = {name: changes.pop(name) for name in list(changes) if name in FinetuneSettings.model_fields}
    return FinetuneSettings(
        **{"precision": "float32", "recipes": {NAME: RecipeSettings(**{**recipe, **changes})}} | ours
    )


def run(data: Path, out: Path, **changes) -> Path:
    finetune.finetune(data, out, name=NAME, settings=settings(**changes), device=CPU)
    return out
