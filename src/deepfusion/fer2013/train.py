"""Fine-tune one network on FER2013's Training images; resumable after every epoch."""

import logging
import math
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from deepfusion.atomic import write_atomically
from deepfusion.config import RecipeSettings
from deepfusion.fer2013 import augment
from deepfusion.networks.fine_tuned import Tuned
from deepfusion.progress import track

log = logging.getLogger(__name__)

HEAD = 10  # learning rate of the new classifier, relative to that of the pre-trained trunk
WARM_UP = 0.05  # share of the steps of a cycle
LARGEST_GRADIENT = 1.0  # its norm
AVERAGE = 0.999  # decay of the running mean of the weights, which is the result


@dataclass(frozen=True)
class Faces:
    """Images on the device: images (N, 48, 48) uint8, theta (N, 3, 3) to the crop, target (N, 7) shares."""

    images: Tensor
    theta: Tensor
    target: Tensor

    def __len__(self) -> int:
        """N."""
        return len(self.images)


def train(
    net: Tuned,
    faces: Faces,
    size: int,
    recipe: RecipeSettings,
    *,
    seed: int,
    dtype: torch.dtype,
    checkpoint: Path,
    key: str,
    tell: Callable[[int, float, float, Tuned], dict],
) -> tuple[Tuned, list[dict]]:
    """Train a network, or resume an interrupted run.

    Args:
        net: the network with its initial weights, on the device; changed in place.
        faces: training images, on the same device.
        size: S of the network's crop.
        recipe: hyperparameters.
        seed: of order, augmentation and dropout.
        dtype: of the arithmetic inside convolutions; float32 or bfloat16.
        checkpoint: file of the state after the last whole epoch.
        key: hash of what the run depends on; the checkpoint of another run is ignored.
        tell: called after each epoch with (epoch, mean loss, seconds, averaged network); returns plain values that are
            kept as a row of the training curve.

    Returns:
        The running mean of the network over its steps, in evaluation mode, and the rows of the training curve.
    """
    device = faces.images.device
    averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE), use_buffers=True)
    head = list(net.classifier.parameters())
    groups = [
        {"params": list(net.trunk.parameters()), "lr": recipe.learning_rate},
        {"params": head, "lr": recipe.learning_rate * HEAD},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    steps = len(faces) // recipe.batch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps * recipe.epochs))
    generator = torch.Generator().manual_seed(seed)
    parts = {"net": net, "averaged": averaged, "optimizer": optimizer, "schedule": schedule}
    curve: list[dict] = []
    epochs = recipe.epochs * recipe.cycles
    state = _read(checkpoint, key, epochs)
    if state:
        for name, part in parts.items():
            part.load_state_dict(state[name])
        generator.set_state(state["generator"])
        _dropout(device).set_state(state["dropout"])
        curve = state["curve"]
        log.info("resuming after epoch %d", len(curve))
    for epoch in range(len(curve) + 1, epochs + 1):
        start, total = time.perf_counter(), 0.0
        order = torch.randperm(len(faces), generator=generator)
        net.train()
        for step in track(range(steps), f"epoch {epoch} of {epochs}", unit="steps"):
            rows = order[step * recipe.batch : (step + 1) * recipe.batch].to(device)
            theta = augment.augmented(faces.theta[rows], generator)
            grey = augment.toned(augment.crops(faces.images[rows], theta, size), generator)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits = net.logits(grey, recipe.dropout)
            loss = F.cross_entropy(logits.float(), faces.target[rows], label_smoothing=recipe.smoothing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
            averaged.update_parameters(net)
            total += loss.item()
        seconds = time.perf_counter() - start
        curve.append(tell(epoch, total / steps, seconds, averaged.module.eval()))
        _save(checkpoint, key, parts, generator, device, curve)
    return averaged.module.eval(), curve


def _rate(step: int, steps: int) -> float:
    """Factor of the learning rate: in every cycle of `steps` a short rise, then half a cosine down to 0.

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, equation (5).
    """
    step, rise = step % steps, WARM_UP * steps
    return (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def _dropout(device: torch.device) -> torch.Generator:
    """The generator that torch's dropout draws from."""
    if device.type != "cuda":
        return torch.default_generator
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]


def _save(
    path: Path, key: str, parts: dict, generator: torch.Generator, device: torch.device, curve: list[dict]
) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"key": key, "generator": generator.get_state(), "dropout": _dropout(device).get_state(), "curve": curve}
    write_atomically(path, lambda part: torch.save(state, part))


def _read(path: Path, key: str, epochs: int) -> dict | None:
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():  # torch does not verify the checksums
                raise ValueError(f"checksum of {damaged}")
        state = torch.load(path, map_location="cpu", weights_only=True)
        fits = state["key"] == key and len(state["curve"]) <= epochs
    except Exception as error:  # damaged bytes can make the reader raise nearly anything
        log.warning("%s is damaged or cannot be read (%s): training starts from the beginning", path, error)
        return None
    if fits:
        return state
    log.warning("%s is of another recipe or other data: training starts from the beginning", path)
    return None
