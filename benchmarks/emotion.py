"""Fit the temperatures of `video/emotion` on FER2013's PublicTest; PrivateTest is only reported.

python benchmarks/emotion.py results/finetune/fer2013.npz

Fits one temperature per network, to minimise the cross-entropy of the mean of the four networks' probabilities. Writes
src/deepfusion/weights/emotion.json, from which the store's emotion is computed, and docs/results/emotion.json.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import torch
from provenance import publish
from scipy.optimize import minimize

from deepfusion.atomic import write_atomically
from deepfusion.config import PRESETS
from deepfusion.fer2013 import augment, metrics
from deepfusion.fer2013.align import to_crop
from deepfusion.fer2013.export import predictions
from deepfusion.fer2013.finetune import tuned
from deepfusion.fer2013.prepare import load
from deepfusion.networks import catalogue
from deepfusion.networks.emotion import CARD, EMOTIONS, mean_probability

FITTED, REPORTED = "PublicTest", "PrivateTest"
BOUNDS = (-2.0, 2.0)  # of the logarithm of a temperature


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log p of the label, nats."""
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


def fit(logits: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """The temperature of each network with the least cross-entropy of the mean probability."""

    def loss(log_t: np.ndarray) -> float:
        return cross_entropy(mean_probability(of / np.exp(t) for of, t in zip(logits, log_t, strict=True)), labels)

    found = minimize(loss, np.zeros(len(logits)), bounds=[BOUNDS] * len(logits), method="L-BFGS-B")
    return np.exp(found.x)


def figures(probabilities: np.ndarray, labels: np.ndarray) -> dict:
    """Accuracy, calibration error and cross-entropy."""
    found = metrics.figures(probabilities, labels)
    return {
        **{name: found[name] for name in ("n", "accuracy", "ece")},
        "cross_entropy": cross_entropy(probabilities, labels),
    }


def main() -> None:
    """Fit, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path, help="as `deepfusion prepare-fer2013` writes it")
    parser.add_argument("--card", type=Path, default=CARD)
    parser.add_argument("--out", type=Path, default=Path("docs/results/emotion.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, alignment = load(args.prepared)
    names = list(PRESETS["compact"].values())
    logits = {FITTED: [], REPORTED: []}
    for name in names:
        crop = tuned(name).crop
        theta = augment.thetas(to_crop(alignment, crop), crop.size)
        found = predictions(catalogue.load(name), data, theta, crop.size, logits, device=torch.device("cpu"))
        for usage, p in found.items():
            logits[usage].append(np.log(p))
        print(name, flush=True)
    labels = {usage: data.split(usage).labels for usage in logits}
    temperatures = fit(logits[FITTED], labels[FITTED])
    measured = {
        usage: {
            "as_trained": figures(mean_probability(of), labels[usage]),
            "calibrated": figures(
                mean_probability(x / t for x, t in zip(of, temperatures, strict=True)), labels[usage]
            ),
        }
        for usage, of in logits.items()
    }
    networks = {
        name: {"fingerprint": catalogue.fingerprint(name), "temperature": round(float(t), 4)}
        for name, t in zip(names, temperatures, strict=True)
    }
    card = {
        "emotions": EMOTIONS,
        "networks": networks,
        "fitted_on": f"FER2013's {FITTED}: least cross-entropy of the mean probability, a temperature per network",
        "command": shlex.join(["python", *sys.argv]),
    }
    write_atomically(args.card, lambda part: part.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8"))
    publish(args.out, {"temperatures": {name: of["temperature"] for name, of in networks.items()}, **measured})


if __name__ == "__main__":
    main()
