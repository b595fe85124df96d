"""Emotion of single faces: calibrated mean probability of the networks fine-tuned on FER2013.

Each network's classifier reads stored features, so this is a matrix product and needs no torch.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors

from deepfusion.errors import UserError
from deepfusion.networks import catalogue

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Classes in FER2013's order."""
CARD = catalogue.SHIPPED / "emotion.json"
"""Fingerprints and temperatures of the networks; benchmarks/emotion.py fits them."""


@dataclass(frozen=True)
class Classifier:
    """The linear classifier that a network was fine-tuned with.

    Attributes:
        weight: (7, D).
        bias: (7,).
        temperature: Divisor of the logits.
    """

    weight: np.ndarray
    bias: np.ndarray
    temperature: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(L, D) features -> (L, 7) float64 calibrated logits."""
        return (features.astype(np.float64) @ self.weight.T + self.bias) / self.temperature


def mean_probability(logits: Iterable[np.ndarray]) -> np.ndarray:
    """Logits (L, 7) of each network -> (L, 7) mean of their softmax; NaN where the logits are NaN."""
    powers = [np.exp(of - of.max(1, keepdims=True)) for of in logits]
    return np.mean([of / of.sum(1, keepdims=True) for of in powers], axis=0)


def load_card() -> dict:
    """The fitted temperatures, with their figures and the command that fitted them."""
    return json.loads(CARD.read_text(encoding="utf-8"))


def classifiers(fingerprints: Mapping[str, str], weights: Mapping[str, Path | None]) -> dict[str, Classifier]:
    """The classifiers of the slots of a store.

    Args:
        fingerprints: Slot -> `catalogue.fingerprint` of its network.
        weights: Slot -> the user's weights file; None: the package's.

    Returns:
        Slot -> classifier; empty unless the slots hold exactly the networks that the temperatures were fitted for.

    Raises:
        UserError: A weights file is damaged.
    """
    slots = {fingerprint: slot for slot, fingerprint in fingerprints.items()}
    networks = load_card()["networks"]
    if any(of["fingerprint"] not in slots for of in networks.values()):
        return {}
    found = {}
    for name, of in networks.items():
        slot = slots[of["fingerprint"]]
        path = catalogue.weights_path(catalogue.find(name), weights[slot])
        found[slot] = Classifier(*_linear(path), of["temperature"])
    return found


def _linear(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Weight (7, D) and bias (7,), float64, of the classifier in a file that `quantized.save` has written."""
    try:
        with safetensors.safe_open(path, "np") as file:
            names = set(file.keys())
            weight, bias = (file.get_tensor(f"classifier.{name}").astype(np.float64) for name in ("weight", "bias"))
            if "classifier.weight.scale" in names:
                weight *= file.get_tensor("classifier.weight.scale").astype(np.float64)[:, None]
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: its classifier cannot be read: {error}") from error
    return weight, bias
