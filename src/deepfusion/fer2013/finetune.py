"""Fine-tuning of one network: prepared FER2013 -> weights, training curve, model card."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from deepfusion.atomic import write_atomically
from deepfusion.cache_key import digest
from deepfusion.config import FinetuneSettings, RecipeSettings
from deepfusion.device import fastest_dtype
from deepfusion.errors import UserError
from deepfusion.fer2013 import augment, duplicates, metrics
from deepfusion.fer2013.align import Alignment, to_crop
from deepfusion.fer2013.data import EMOTIONS, Fer2013
from deepfusion.fer2013.prepare import load
from deepfusion.fer2013.train import Faces, train
from deepfusion.networks import catalogue, quantized, trunks
from deepfusion.networks.catalogue import Network
from deepfusion.networks.fine_tuned import Tuned

log = logging.getLogger(__name__)

EVALUATE = 32  # images at a time


def finetune(prepared: Path, out: Path, *, name: str, settings: FinetuneSettings, device: torch.device) -> None:
    """Fine-tune a network, or resume an interrupted run.

    Writes `model.safetensors` (float32), `curve.csv` and `model.json` into `out`, and the state after each epoch,
    `checkpoint.pt`. PrivateTest is not used.

    Args:
        prepared: the file that `prepare` writes.
        out: folder.
        name: a fine-tuned network of the catalogue.
        settings: the group `finetune` of the configuration.
        device: where to train.

    Raises:
        UserError: the network cannot be fine-tuned, has no recipe, or lacks its weights from recognition; or there are
            too few images, or none of PublicTest.
    """
    out.mkdir(parents=True, exist_ok=True)
    network = tuned(name)
    if name not in settings.recipes:
        raise UserError(f"{name}: finetune.recipes has no recipe for it, only for {', '.join(settings.recipes)}")
    recipe = settings.recipes[name]
    data, alignment = load(prepared)
    public = data.rows("PublicTest")
    rows, targets, left_out = training_rows(data, settings.labels)
    if len(rows) < recipe.batch:
        raise UserError(f"{len(rows)} training images, fewer than a batch of {recipe.batch}: give {name} a smaller one")
    size = network.crop.size
    theta = augment.thetas(to_crop(alignment, network.crop), size)
    torch.manual_seed(settings.seed)
    trunk = trunks.pretrained(network.base, recipe.weights, recipe.sha256)
    net = Tuned(trunk, network.dimension).to(device, memory_format=torch.channels_last)
    faces = Faces(*(values.to(device) for values in (torch.tensor(data.images[rows]), theta[rows], targets)))
    dtype = fastest_dtype(settings.precision, device)
    arithmetic = str(dtype).removeprefix("torch.")

    def tell(epoch: int, loss: float, seconds: float, averaged: Tuned) -> dict:
        predicted = probabilities(averaged, data.images[public], theta[public], size, device=device, dtype=dtype)
        accuracy = metrics.accuracy(predicted, data.labels[public])
        log.info("epoch %d: loss %.3f, PublicTest %.2f %%, %.0f s", epoch, loss, 100 * accuracy, seconds)
        return {"epoch": epoch, "loss": loss, "public_test": accuracy, "seconds": seconds, "arithmetic": arithmetic}

    averaged, curve = train(
        net,
        faces,
        size,
        recipe,
        seed=settings.seed,
        dtype=dtype,
        checkpoint=out / "checkpoint.pt",
        key=run_key(network, recipe, settings.seed, data, alignment, rows, targets),
        tell=tell,
    )
    write_atomically(out / "curve.csv", lambda part: pd.DataFrame(curve).to_csv(part, index=False))
    quantized.save(averaged, out / "model.safetensors", base=network.base, storage="float32")
    card = {
        "network": name,
        "base": network.base,
        "training": {
            "labels": settings.labels,
            "images": len(rows),
            "left_out": left_out,
            "recipe": recipe.model_dump(mode="json", exclude={"weights"}),
            "seed": settings.seed,
            "device": device.type,
            "curve": [{**row, "loss": round(row["loss"], 4), "seconds": round(row["seconds"])} for row in curve],
        },
        "public_test": curve[-1]["public_test"],
    }
    write_atomically(out / "model.json", lambda part: part.write_text(json.dumps(card, indent=1) + "\n"))


def run_key(
    network: Network,
    recipe: RecipeSettings,
    seed: int,
    data: Fer2013,
    alignment: Alignment,
    rows: np.ndarray,
    targets: Tensor,
) -> str:
    """Hash of what a run depends on, except its number of cycles: a finished run can be continued with more."""
    how = recipe.model_dump(mode="json", exclude={"weights", "cycles"})
    start = catalogue.fingerprint(network.base, recipe.weights) if network.base in catalogue.CATALOGUE else "random"
    arrays = (data.images[rows], targets.numpy(), alignment.box[rows], alignment.landmarks[rows])
    content = [hashlib.sha256(np.ascontiguousarray(array)).hexdigest() for array in arrays]
    return digest(network.name, vars(network.crop), start, how, seed, content)


def tuned(name: str) -> Network:
    """The card of a network that is fine-tuned on FER2013.

    Raises:
        UserError: the network is not fine-tuned on FER2013.
    """
    network = catalogue.find(name)
    if not network.base:
        names = ", ".join(card.name for card in catalogue.CATALOGUE.values() if card.base)
        raise UserError(f"{name} is not fine-tuned here; these are: {names}")
    return network


def training_rows(data: Fer2013, labels: str) -> tuple[np.ndarray, Tensor, dict[str, int]]:
    """The training images and their targets.

    Images that also occur in a test split, pixel for pixel, and images with ambiguous labels are left out.

    Args:
        data: FER2013.
        labels: "fer2013", or "ferplus": the shares of FER+'s votes for the seven emotions.

    Returns:
        rows (n,), targets (n, 7) float32 that add up to 1, and how many images are left out for each reason.

    Raises:
        UserError: FER+'s votes are needed but missing.
    """
    training = data.usage == "Training"
    equal = duplicates.groups(data.images)
    shared = training & np.isin(equal, equal[~training])
    ambiguous = training & ~shared & data.ambiguous
    use = training & ~shared & ~ambiguous
    left_out = {"also_in_a_test_split": int(shared.sum()), "ambiguous": int(ambiguous.sum())}
    targets = np.eye(len(EMOTIONS), dtype=np.float32)[data.labels]
    if labels == "ferplus":
        if data.emotion_votes is None:
            raise UserError("finetune.labels is ferplus, but there are no votes: give FER+'s fer2013new.csv as `votes`")
        votes = data.emotion_votes.astype(np.float32)
        none = use & (votes.sum(1) == 0)
        left_out["no_vote_for_an_emotion"] = int(none.sum())
        use &= ~none
        targets = votes / np.maximum(votes.sum(1, keepdims=True), 1)
    rows = np.flatnonzero(use)
    return rows, torch.tensor(targets[rows]), left_out


def probabilities(
    net: Tuned, images: np.ndarray, theta: Tensor, size: int, *, device: torch.device, dtype: torch.dtype
) -> np.ndarray:
    """(N, 7) float64 probabilities of (N, 48, 48) images, cropped by (N, 3, 3) maps from the crop."""
    predicted = []
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        for i in range(0, len(images), EVALUATE):
            part = torch.tensor(images[i : i + EVALUATE], device=device)
            grey = augment.crops(part, theta[i : i + EVALUATE].to(device), size)
            predicted.append(F.softmax(net.logits(grey).double(), dim=1).cpu())
    return torch.cat(predicted).numpy()
