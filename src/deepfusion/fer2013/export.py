"""Convert a trained network to the small file that is shipped, and its card with the results of that file."""

import json
import logging
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deepfusion.atomic import write_atomically
from deepfusion.errors import UserError
from deepfusion.fer2013 import augment, duplicates, metrics
from deepfusion.fer2013.align import to_crop
from deepfusion.fer2013.data import EMOTIONS, Fer2013
from deepfusion.fer2013.finetune import probabilities, tuned
from deepfusion.fer2013.prepare import load
from deepfusion.networks import quantized
from deepfusion.networks.fine_tuned import Tuned
from deepfusion.responsible_use import FACES, responsible_use

log = logging.getLogger(__name__)


def ship(
    prepared: Path,
    trained: Path,
    out: Path,
    *,
    storage: quantized.Storage,
    usages: Sequence[str],
    device: torch.device,
) -> None:
    """Store a trained network compactly, and evaluate it as stored.

    Args:
        prepared: the file that `prepare` writes.
        trained: the folder that `finetune` has filled.
        out: folder of <name>.safetensors and <name>.json.
        storage: type of the stored weights.
        usages: the splits to evaluate on: PublicTest, and PrivateTest after all choices are made.
        device: where to compute.

    Raises:
        UserError: a file is missing or not of the expected kind, or a split has no images.
    """
    try:
        training = json.loads((trained / "model.json").read_text(encoding="utf-8"))
        network = tuned(training["network"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{trained}: not a folder of `snakemake finetune`: {error!r}") from error
    data, alignment = load(prepared)
    exact = quantized.load(trained / "model.safetensors", network.base, network.dimension)
    theta = augment.thetas(to_crop(alignment, network.crop), network.crop.size)
    before = predictions(exact, data, theta, network.crop.size, ["PublicTest"], device=device)["PublicTest"]
    file = out / f"{network.name}.safetensors"
    quantized.save(exact, file, base=network.base, storage=storage)
    shipped = quantized.load(file, network.base, network.dimension)
    results = predictions(shipped, data, theta, network.crop.size, usages, device=device)
    card = {
        "name": network.name,
        "base": network.base,
        "feature": {
            "layer": network.output,
            "dimension": network.dimension,
            "crop": vars(network.crop),
            "normalisation": network.normalisation,
        },
        "licence": network.licence,
        "citation": network.citation,
        "data": "FER2013 (Goodfellow et al. 2013), 48 x 48 grey faces, aligned by dlib's 68 landmarks",
        "emotions": EMOTIONS,
        "responsible_use": responsible_use(FACES),
        "command": f"snakemake finetune; {shlex.join(['deepfusion', *sys.argv[1:]])}",
        "training": training["training"],
        "storage": {
            "type": storage,
            "bytes": file.stat().st_size,
            "public_test_as_trained": metrics.accuracy(before, data.split("PublicTest").labels),
        },
        "fer2013": figures(data, results),
    }
    write_atomically(file.with_suffix(".json"), lambda part: part.write_text(json.dumps(card, indent=1) + "\n"))
    log.info(
        "%s: PublicTest %.2f %%, %.2f %% before it was stored as %s",
        file, 100 * card["fer2013"]["public_test"], 100 * card["storage"]["public_test_as_trained"], storage,
    )  # fmt: skip


def predictions(
    net: Tuned, data: Fer2013, theta: Tensor, size: int, usages: Iterable[str], *, device: torch.device
) -> dict[str, np.ndarray]:
    """Split -> (n, 7) float64 probabilities of its images, cropped by (N, 3, 3) maps from crops of side `size`."""
    net.to(device, memory_format=torch.channels_last)
    rows = {usage: data.rows(usage) for usage in usages}
    return {
        usage: probabilities(net, data.images[of], theta[of], size, device=device, dtype=torch.float32)
        for usage, of in rows.items()
    }


def figures(data: Fer2013, results: dict[str, np.ndarray]) -> dict:
    """The figures of a classifier on the test splits.

    Args:
        data: all of FER2013.
        results: PublicTest, PrivateTest or both -> (n, 7) probabilities of its images.

    Returns:
        public_test, private_test: accuracy on all images. public, private: `metrics.figures` on all images.
        public_clean, private_clean: the same without ambiguous and repeated images. With FER+'s votes also
        public_ferplus, private_ferplus: against the emotion that more than half of the taggers chose, if there is one.
    """
    clean = duplicates.clean(data)
    made: dict = {}
    for usage, predicted in results.items():
        name, split = usage.removesuffix("Test").lower(), data.split(usage)
        alone = clean[data.usage == usage]
        made |= {
            f"{name}_test": metrics.accuracy(predicted, split.labels),
            name: metrics.figures(predicted, split.labels),
            f"{name}_clean": metrics.figures(predicted[alone], split.labels[alone]),
        }
        if split.votes is not None:
            emotions = split.emotion_votes
            agreed = emotions.max(1) * 2 > split.votes.sum(1)  # more than half of the taggers
            made[f"{name}_ferplus"] = metrics.figures(predicted[agreed], emotions[agreed].argmax(1))
    return made
