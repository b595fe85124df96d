"""The audio encoder that is pre-trained on emotional speech (`snakemake pretrain_audio`), used frozen or fine-tuned.

Spectrograms of any length -> the vectors a_i that the paper's audio attention, equations (1)-(3), weighs. The paper's
encoder is an AlexNet that was trained on ImageNet; this one is smaller and was trained on speech.
"""

import json
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfusion.atomic import write_atomically
from deepfusion.cache_key import file_sha256
from deepfusion.errors import UserError
from deepfusion.mel import band_centre, mel_filters
from deepfusion.networks.encoder_file import FORMAT, encoder_path
from deepfusion.networks.encoder_file import SHIPPED_ENCODER as SHIPPED_ENCODER
from deepfusion.networks.formats import state_dict

SILENCE_DB = -100.0
"""Level that pads a clip shorter than `SpeechEncoder.shortest`."""
LONG = 10_000
"""Frames (100 s at a shift of 10 ms) from which a clip is encoded in parts."""
LOUD = 0.05
"""Share of a clip's frames that may be louder than its reference level: a single click does not set the level."""


class Layer(NamedTuple):
    """A convolution with ReLU; kernel, stride and pool (max-pool of that size and stride) are (frequency, time)."""

    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pool: tuple[int, int] = (1, 1)

    @property
    def padding(self) -> tuple[int, int]:
        """Zeros at each end."""
        return self.kernel[0] // 2, self.kernel[1] // 2

    def length_after(self, length, axis: int):
        """Positions along an axis (0 frequency, 1 time) that the layer outputs for an input of `length`."""
        length = (length + 2 * self.padding[axis] - self.kernel[axis]) // self.stride[axis] + 1
        return length // self.pool[axis]


class Architecture(NamedTuple):
    """Everything needed to build a `SpeechEncoder`; stored with the weights.

    Attributes:
        layers: The convolutions.
        bands: Mel bands of the input; 0: the linear bins.
        range_db: Lower levels, relative to the clip's reference level, are raised to -range_db.
        spectrogram: rate, window_ms, shift_ms, dft, bins of the spectrograms, see `spectrogram.spectrogram`.
        labels: Labels of the emotion classifier.
    """

    layers: tuple[Layer, ...]
    bands: int
    range_db: float
    spectrogram: dict[str, float]
    labels: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Rows of the network's input: mel bands, or bins."""
        return self.bands or int(self.spectrogram["bins"])

    def to_json(self) -> str:
        """As text, for the weights file."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> "Architecture":
        """From the text of `to_json`."""
        fields = json.loads(text)
        layers = tuple(
            Layer(c, *(tuple(int(n) for n in pair) for pair in (kernel, stride, pool)))
            for c, kernel, stride, pool in fields["layers"]
        )
        return cls(**fields | {"layers": layers, "labels": tuple(fields["labels"])})


class FrontEnd(nn.Module):
    """Spectrograms in dB -> input of the convolutions: mel bands, level relative to the clip, standardised per band.

    Args:
        architecture: Architecture of the encoder.
    """

    def __init__(self, architecture: Architecture):
        super().__init__()
        settings, bands = architecture.spectrogram, architecture.bands
        spacing = settings["rate"] / settings["dft"]
        filters = None
        if bands:
            filters = torch.from_numpy(mel_filters(int(settings["bins"]), spacing=spacing, bands=bands)).float()
        self.register_buffer("filters", filters, persistent=False)
        self.range_db = architecture.range_db
        self.register_buffer("mean", torch.zeros(architecture.rows))
        self.register_buffer("deviation", torch.ones(architecture.rows))

    def totals(self, decibels: Tensor) -> Tensor:
        """(B, T, F) dB -> (B, T), level of each frame, dB."""
        return 10 * (10 ** (decibels / 10)).sum(2).clamp(min=1e-12).log10()

    def reference(self, totals: Tensor, length: Tensor) -> Tensor:
        """(B, T) dB, (B,) frames -> (B, 1), the level that `LOUD` of the frames exceed."""
        outside = torch.arange(totals.shape[1], device=totals.device) >= length[:, None]
        ranked = totals.masked_fill(outside, -torch.inf).sort(dim=1, descending=True).values
        return ranked.gather(1, (length[:, None] * LOUD).long())

    def levels(self, decibels: Tensor, length: Tensor) -> Tensor:
        """(B, T, F) dB, (B,) frames -> (B, T, rows) dB relative to the clip's reference level."""
        return self.relative(decibels, self.reference(self.totals(decibels), length))

    def relative(self, decibels: Tensor, reference: Tensor) -> Tensor:
        """(B, T, F) dB, (B, 1) dB -> (B, T, rows) dB relative to the reference."""
        if self.filters is not None:
            decibels = 10 * (10 ** (decibels / 10) @ self.filters.T).clamp(min=1e-12).log10()
        return (decibels - reference[:, :, None]).clamp(min=-self.range_db)

    def forward(self, decibels: Tensor, length: Tensor) -> Tensor:
        """(B, T, F) dB, (B,) frames -> (B, 1, rows, T)."""
        return self.standardised(self.levels(decibels, length))

    def standardised(self, levels: Tensor) -> Tensor:
        """(B, T, rows) dB -> (B, 1, rows, T)."""
        return ((levels - self.mean) / self.deviation).mT[:, None]


class SpeechEncoder(nn.Module):
    """Spectrograms -> one vector per position in frequency and time, and the emotions of the training corpora.

    The shorter clips of a batch are padded at the end. The padding has no effect: values after a clip's end are set
    to zero before each convolution, as for a clip alone.

    Args:
        architecture: Layers, input, labels.
        card: Model card of the weights.
        sha256: Hash of the weights file; "" if there is none.
    """

    def __init__(self, architecture: Architecture, *, card: Mapping | None = None, sha256: str = ""):
        super().__init__()
        self.architecture, self.card, self.sha256 = architecture, dict(card or {}), sha256
        self.requires = dict(architecture.spectrogram)
        self.labels = architecture.labels
        layers = architecture.layers
        self.channels = layers[-1].channels
        self.bands = reduce(lambda length, layer: layer.length_after(length, 0), layers, architecture.rows)
        self.shortest = next(t for t in range(1, 1000) if self.output_length(t) == 1)
        self.front = FrontEnd(architecture)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, layer.channels, layer.kernel, layer.stride, layer.padding)
            for inputs, layer in zip((1, *(layer.channels for layer in layers)), layers, strict=False)
        )
        self.W = nn.Linear(self.channels, self.channels)  # equation (1)
        self.u = nn.Linear(self.channels, 1, bias=False)
        self.classifier = nn.Linear(2 * self.channels, len(self.labels))

    def output_length(self, length):
        """R, positions in time, for an input of `length` frames (int or Tensor)."""
        return reduce(lambda length, layer: layer.length_after(length, 1), self.architecture.layers, length)

    def forward(self, decibels: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch.

        Args:
            decibels: (B, T, F) spectrograms, dB; values after a clip's length are ignored.
            length: (B,) int64 frames of each clip, `shortest` at least.

        Returns:
            (B, R, F', C) vectors a_i, and (B, R) bool, whether a position in time belongs to the clip.
        """
        return self.encode(self.front(decibels, length), length)

    def encode(self, x: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """The convolutions alone, for input that is augmented after the front end.

        Args:
            x: (B, 1, rows, T) of the front end.
            length: (B,) int64 frames of each clip.

        Returns:
            As `forward`.
        """
        for convolution, layer in zip(self.convolutions, self.architecture.layers, strict=True):
            outside = torch.arange(x.shape[3], device=x.device) >= length[:, None]
            x = F.relu(convolution(x.masked_fill(outside[:, None, None], 0)))
            if layer.pool != (1, 1):
                x = F.max_pool2d(x, layer.pool)
            length = layer.length_after(length, 1)
        inside = torch.arange(x.shape[3], device=x.device) < length[:, None]
        return x.permute(0, 3, 2, 1), inside

    def pooled(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Equations (1)-(3), lambda 1, over the (R, F', C) positions of one clip.

        Returns:
            (2 C,) attended mean and deviation, and the (R, F') attention weights.
        """
        a = positions.flatten(0, 1)
        alpha = self.u(torch.tanh(self.W(a))).softmax(0)
        mean = (alpha * a).sum(0)
        deviation = ((alpha * (a - mean).square()).sum(0) + 1e-4).sqrt()
        return torch.cat([mean, deviation]), alpha.reshape(positions.shape[:2])

    def logits(self, positions: Tensor) -> Tensor:
        """(R, F', C) positions of one clip -> (labels,) logits."""
        return self.classifier(self.pooled(positions)[0])

    @torch.inference_mode()
    def positions(self, spectrogram: np.ndarray) -> np.ndarray:
        """(T, F) float32 dB of one clip -> (R, F', C) float32. T = 0 gives R = 0; a short clip is filled with silence.

        Raises:
            UserError: The number of bins is not the one of `requires`.
        """
        if spectrogram.ndim != 2 or spectrogram.shape[1] != self.requires["bins"]:
            raise UserError(f"audio encoder: a spectrogram {spectrogram.shape}, wanted (T, {self.requires['bins']})")
        if not len(spectrogram):
            return np.zeros((0, self.bands, self.channels), np.float32)
        if len(spectrogram) > LONG:
            return self._long(spectrogram)
        short = max(0, self.shortest - len(spectrogram))
        filled = np.pad(spectrogram.astype(np.float32), ((0, short), (0, 0)), constant_values=SILENCE_DB)
        device = self.front.mean.device
        encoded, _ = self(torch.from_numpy(filled)[None].to(device), torch.tensor([len(filled)], device=device))
        return encoded[0].cpu().numpy()

    def _long(self, decibels: np.ndarray) -> np.ndarray:
        """`positions` in parts, so that memory does not grow with the clip: the same within rounding.

        Each part is convolved together with the context of its outer positions.
        """
        device, step = self.front.mean.device, self._grid(1)[1]

        def rows(first: int, last: int) -> Tensor:
            return torch.from_numpy(decibels[first:last].astype(np.float32))[None].to(device)

        totals = torch.cat([self.front.totals(rows(i, i + LONG)) for i in range(0, len(decibels), LONG)], 1)
        reference = self.front.reference(totals, torch.tensor([len(decibels)], device=device))
        count, size = self.output_length(len(decibels)), LONG // step
        margin = -(-self._field() // step)
        encoded = []
        for start in range(0, count, size):
            end = min(start + size, count)
            first = max(0, start - margin)
            last = (end + margin) * step if end < count else len(decibels)
            part = rows(first * step, last)
            x = self.front.standardised(self.front.relative(part, reference))
            found, _ = self.encode(x, torch.tensor([part.shape[1]], device=device))
            encoded.append(found[0, start - first : end - first].cpu().numpy())
        return np.concatenate(encoded)

    def _field(self) -> int:
        """Receptive field of a position in time, frames."""
        frames, step = 1, 1
        for layer in self.architecture.layers:
            frames += step * (layer.kernel[1] - 1)
            step *= layer.stride[1]
            frames += step * (layer.pool[1] - 1)
            step *= layer.pool[1]
        return frames

    @torch.inference_mode()
    def probabilities(self, spectrogram: np.ndarray) -> np.ndarray:
        """(T, F) dB of one clip, T > 0 -> (labels,) float32, for the labels of the training corpora (zero-shot)."""
        a = torch.from_numpy(self.positions(spectrogram)).to(self.front.mean.device)
        return self.logits(a).softmax(0).cpu().numpy()

    @torch.inference_mode()
    def attended(self, positions: np.ndarray) -> np.ndarray:
        """(R, F', C) positions of one clip, R > 0 -> (2 C,) float32: attended mean and deviation."""
        return self.pooled(torch.from_numpy(positions).to(self.front.mean.device))[0].cpu().numpy()

    def frames(self, R: int) -> np.ndarray:
        """(R,) float64: centre of each time position's receptive field, in frames from 0."""
        return self._centres(R, 1)

    def bins(self) -> np.ndarray:
        """(F',) float64: centre of each frequency position's receptive field, Hz."""
        settings = self.requires
        rows, spacing = self._centres(self.bands, 0), settings["rate"] / settings["dft"]
        if not self.architecture.bands:
            return rows * spacing
        return band_centre(rows, bands=self.architecture.bands, highest=settings["bins"] * spacing)

    def _centres(self, count: int, axis: int) -> np.ndarray:
        middle, step = self._grid(axis)
        return middle + step * np.arange(count, dtype=np.float64)

    def _grid(self, axis: int) -> tuple[float, int]:
        """Centre of the first position's receptive field along an axis, and the step to the next one."""
        middle, step = 0.0, 1
        for layer in self.architecture.layers:
            middle += step * ((layer.kernel[axis] - 1) / 2 - layer.padding[axis])
            step *= layer.stride[axis]
            middle += step * (layer.pool[axis] - 1) / 2
            step *= layer.pool[axis]
        return middle, step

    def require(self, settings: Mapping[str, float]) -> None:
        """Refuse spectrograms with settings other than those the encoder was trained on.

        Raises:
            UserError: One of the settings differs.
        """
        for name, value in self.requires.items():
            if settings[name] != value:
                raise UserError(
                    f"audio encoder: it needs spectrogram.{name} = {value:g}, not {settings[name]:g}; set it so in "
                    "config.yaml, or train an encoder for it (snakemake pretrain_audio)"
                )


def save_encoder(encoder: SpeechEncoder, path: Path, card: Mapping) -> None:
    """Write the weights (matrices and filters in half precision) and, next to them, the card as JSON."""
    tensors = {
        name: (value.half() if value.ndim > 1 else value.float()).contiguous()
        for name, value in encoder.state_dict().items()
    }
    # One entry: safetensors writes several in arbitrary order, and the file's hash must not vary.
    metadata = {FORMAT: encoder.architecture.to_json()}
    content = safetensors.torch.save(tensors, metadata)
    write_atomically(path, lambda part: part.write_bytes(content))
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path.with_suffix(".json"), lambda part: part.write_text(text, encoding="utf-8"))


def load_encoder(path: Path | None = None) -> SpeechEncoder:
    """Read a pre-trained encoder, in evaluation mode.

    Args:
        path: A file of `save_encoder`, its card next to it; None: the shipped encoder.

    Raises:
        UserError: The file or its card is missing or damaged, or is not an audio encoder.
    """
    path = encoder_path(path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dictionary)
        if FORMAT not in metadata:
            raise UserError(f"{path}: not an audio encoder of `snakemake pretrain_audio`")
        architecture = Architecture.from_json(metadata[FORMAT])
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a complete audio encoder file: {error}") from error
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path.with_suffix('.json')}: the encoder's card cannot be read: {error}") from error
    encoder = SpeechEncoder(architecture, card=card, sha256=file_sha256(path))
    state_dict.fill(encoder, tensors, path=path, network="an audio encoder", unused="(?!)")
    return encoder.eval()
