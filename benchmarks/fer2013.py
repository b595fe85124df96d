"""Accuracy of the shipped face networks on FER2013, and of their trunks before fine-tuning.

python benchmarks/fer2013.py results/finetune/fer2013.npz --faceres results/weights/faceres.bin

Every network as shipped, the mean of their probabilities, the same with every face's mirror image added, and, for
recognition networks, a linear classifier on the same layer of the un-tuned trunk. Nothing is selected here.
Writes docs/results/fer2013.json.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from provenance import publish
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfusion.config import PRESETS
from deepfusion.faces.align import Crop
from deepfusion.fer2013 import augment, duplicates
from deepfusion.fer2013.align import Alignment, to_crop
from deepfusion.fer2013.data import EMOTIONS, Fer2013
from deepfusion.fer2013.export import figures, predictions
from deepfusion.fer2013.finetune import training_rows, tuned
from deepfusion.fer2013.prepare import load
from deepfusion.networks import catalogue, trunks
from deepfusion.networks.fine_tuned import Tuned

TESTS = ("PublicTest", "PrivateTest")
REGULARISATION = 0.01  # the same for all; not selected on test images
CPU = torch.device("cpu")
MIRROR = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))  # of the crop


def untuned(name: str, weights: Path | None, data: Fer2013, alignment: Alignment) -> dict[str, np.ndarray]:
    """Split -> (n, 7) probabilities of logistic regression on the same layer of the network before fine-tuning."""
    network = tuned(name)
    net = (
        Tuned(trunks.pretrained(network.base, weights), network.dimension).eval().to(memory_format=torch.channels_last)
    )
    theta = augment.thetas(to_crop(alignment, network.crop), network.crop.size)

    def features(rows: np.ndarray) -> np.ndarray:
        parts = []
        with torch.inference_mode():
            for some in np.array_split(rows, len(rows) // 32 + 1):
                grey = augment.crops(torch.tensor(data.images[some]), theta[some], network.crop.size)
                parts.append(net.features(grey))
        return torch.cat(parts).numpy()

    rows, _, _ = training_rows(data, "fer2013")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=500))
    model.fit(features(rows), data.labels[rows])
    return {usage: model.predict_proba(features(np.flatnonzero(data.usage == usage))) for usage in TESTS}


def mean(said: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Split -> (n, 7) mean of several probabilities."""
    said = list(said)
    return {usage: np.mean([one[usage] for one in said], axis=0) for usage in TESTS}


def usual_side(alignment: Alignment, training: np.ndarray, crop: Crop) -> float:
    """Median side of the crop over the Training images, in px of the image."""
    scale = np.sqrt(np.linalg.det(to_crop(alignment, crop)[training][:, :, :2]))
    return float(np.median(crop.size / scale))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path, help="as `deepfusion prepare-fer2013` writes it")
    parser.add_argument("--faceres", type=Path, required=True, help="faceres.bin")
    parser.add_argument("--out", type=Path, default=Path("docs/results/fer2013.json"))
    parser.add_argument("--made-by", action="append", default=[], help="a command that made the measured files")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, alignment = load(args.prepared)
    training = data.usage == "Training"
    said, mirrored, networks = {}, {}, {}
    for slot, name in PRESETS["compact"].items():
        net, crop = catalogue.load(name), tuned(name).crop
        theta = augment.thetas(to_crop(alignment, crop), crop.size)
        said[name] = predictions(net, data, theta, crop.size, TESTS, device=CPU)
        mirrored[name] = predictions(net, data, theta @ MIRROR, crop.size, TESTS, device=CPU)
        card = json.loads((catalogue.SHIPPED / f"{name}.json").read_text())
        networks[name] = {
            "slot": slot,
            "shipped": figures(data, said[name]),
            "storage": card["storage"],
            "usual_side": usual_side(alignment, training, crop),
        }
        base = tuned(name).base
        if base in catalogue.CATALOGUE:
            before = untuned(name, args.faceres if base == "faceres" else None, data, alignment)
            networks[name]["untuned_linear"] = figures(data, before)
        print(
            name, {key: value for key, value in networks[name]["shipped"].items() if key.endswith("_test")}, flush=True
        )
    found = alignment.score
    publish(
        args.out,
        {
            "emotions": EMOTIONS,
            "networks": networks,
            "mean": figures(data, mean(said.values())),
            "mean_with_mirrored": figures(data, mean([*said.values(), *mirrored.values()])),
            "alignment": {
                "images": len(found),
                "dlib_finds_the_face": float(np.isfinite(found).mean()),
                "with_score_0_or_more": float((found >= 0).mean()),
                "usual_box": np.median(alignment.box[training & np.isfinite(found)], axis=0).tolist(),
            },
            "equal_images": duplicates.across(data),
            "left_out_of_training": training_rows(data, "fer2013")[2],
        },
        made_by=args.made_by,
    )


if __name__ == "__main__":
    main()
