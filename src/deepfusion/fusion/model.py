"""A trained model in one folder: `model.safetensors` (all numbers) and `model.json` (the card); and its predictions."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import filterfalse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from deepfusion.atomic import write_atomically
from deepfusion.cache_key import file_sha256
from deepfusion.config import NetworkShape
from deepfusion.errors import UserError
from deepfusion.fusion.batched_training import padded
from deepfusion.fusion.corpus import FoldData, is_long, reduced, sampled
from deepfusion.fusion.network import Design, Network, Sizes
from deepfusion.fusion.preprocessing import Reduction, standardisation
from deepfusion.fusion.search import Row
from deepfusion.fusion.streams import MODALITIES, Spectrogram, clip_streams, is_per_clip, is_video, keys
from deepfusion.networks.catalogue import SHIPPED

FORMAT = 3  # raised when older folders can no longer be read
WEIGHTS, CARD = "model.safetensors", "model.json"
KNOWN_BY = 16  # first digits of the SHA-256 of a training clip's file that the card lists
Statistics = Mapping[str, tuple[Tensor, Tensor]]  # stream -> mean and deviation


@dataclass(frozen=True)
class Attention:
    """Attention weights of a clip.

    Attributes:
        weight: (L,), or (R, F') of the audio encoder's positions in time and frequency; sums to 1.
        time: (L,) or (R,) s on the clip's clock.
        frequency: (F',) Hz, where the weights have two axes.
    """

    weight: np.ndarray
    time: np.ndarray
    frequency: np.ndarray | None = None

    @classmethod
    def of(cls, weight: np.ndarray, time: np.ndarray, frequency: np.ndarray | None = None) -> "Attention":
        """From flat rows: (L,) weights, (L,) times, and for the audio encoder's positions (L,) frequencies."""
        if frequency is None:
            return cls(weight, time)
        hz = np.unique(frequency)
        return cls(weight.reshape(-1, len(hz)), time[:: len(hz)], hz)


@dataclass(frozen=True)
class Answer:
    """A model's prediction for a clip.

    Attributes:
        probabilities: (classes,) calibrated, sum to 1.
        by_modality: "audio", "video" -> (classes,): predicted from this modality alone, where the clip has it.
        attention: By modality.
        used: Modalities that `probabilities` come from.
    """

    probabilities: np.ndarray
    by_modality: dict[str, np.ndarray]
    attention: dict[str, Attention]
    used: tuple[str, ...]


@dataclass(frozen=True)
class TrainedMember:
    """A network, the number of principal axes that it sees, and what divides its logits."""

    network: Network
    axes: int
    temperature: float


@dataclass(frozen=True)
class Trained:
    """Networks of one row, whose probabilities are averaged."""

    row: Row
    members: list[TrainedMember]


class Model:
    """Networks for audio and video, audio alone and video alone, with the preprocessing that they need.

    Attributes:
        card: Content of `model.json`.
        labels: Classes, in the order of the probabilities.
        sha256: Of the weights file; "" before it is saved.
        folder: Where it was loaded from.
    """

    def __init__(
        self,
        card: Mapping[str, Any],
        reductions: Mapping[str, Reduction],
        trained: Sequence[Trained],
        *,
        folder: Path = Path(),
        sha256: str = "",
    ):
        self.card, self.folder, self.sha256 = dict(card), folder, sha256
        self.labels: list[str] = list(card["labels"])
        self._reductions = dict(reductions)
        self._trained = {of.row.design.modalities: of for of in trained}
        settings = card["spectrogram"]
        self._spectrogram = replace(Spectrogram(**settings), encoder_frequency=tuple(settings["encoder_frequency"]))

    @property
    def streams(self) -> list[str]:
        """Streams of all networks."""
        return list(self._reductions)

    @property
    def needs(self) -> set[str]:
        """Keys of a feature store that a clip must have."""
        return set(keys(self.streams))

    @property
    def extraction(self) -> dict:
        """Settings of the extraction: the groups of the configuration that features depend on."""
        return self.card["extraction"]

    def predict(self, clip: Mapping[str, np.ndarray], statistics: Statistics | None = None) -> Answer:
        """Predict a clip.

        Args:
            clip: Its arrays as in a feature store; `time` is absent or empty without video, `audio_time` without audio.
            statistics: Result of `statistics`, for a model with features normalised by speaker.

        Raises:
            UserError: The clip has no modality that this model was trained on.
        """
        rows, time, frequency = self._rows(clip)
        filled = {"video" if is_video(name) else "audio" for name, of in time.items() if len(of)}
        available = tuple(m for m in MODALITIES if m in filled)
        by_modality = {m: self._run(self._trained[m,], rows, statistics) for m in available if (m,) in self._trained}
        used = available if available in self._trained else tuple(by_modality)[:1]
        if not used:
            raise UserError(f"nothing to predict from: the clip has no {' and no '.join(self._modalities())}")
        probabilities, weights = (
            by_modality[used[0]] if len(used) == 1 else self._run(self._trained[used], rows, statistics)
        )
        attended = {m: next(filterfalse(is_per_clip, self._trained[used].row.streams[m])) for m in used}
        attention = {m: Attention.of(weights[m], time[name], frequency.get(name)) for m, name in attended.items()}
        return Answer(probabilities, {m: p for m, (p, _) in by_modality.items()}, attention, used)

    def _modalities(self) -> list[str]:
        return sorted({m for modalities in self._trained for m in modalities})

    def _rows(self, clip: Mapping[str, np.ndarray]):
        """Streams of the modalities that a clip has, with times and frequencies."""
        there = {m: key in clip.keys() for m, key in (("audio", "audio_time"), ("video", "time"))}  # noqa: SIM118  a store's clip is no dict
        names = [name for name in self.streams if there["video" if is_video(name) else "audio"]]
        made = clip_streams(clip, names, self._spectrogram)
        return {name: made.rows[name] for name in names}, made.time, made.frequency

    @torch.inference_mode()
    def _run(
        self, trained: Trained, rows: Mapping[str, np.ndarray], statistics: Statistics | None
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """(classes,) probabilities and attention weights (L,) by modality: means over the networks."""
        streams, count = trained.row.streams, len(trained.members)
        data = {m: self._reduced(names, rows, statistics) for m, names in streams.items()}
        total, weights = np.zeros(len(self.labels)), dict.fromkeys(streams, 0)
        for of in trained.members:
            batch = {m: padded(data[m].modality(names, axes=of.axes), [0]) for m, names in streams.items()}
            logits, alpha = of.network(batch)
            total += (logits[0].double() / of.temperature).softmax(0).numpy()
            weights = {m: weights[m] + alpha[m][0].numpy() / count for m in streams}
        return total / count, weights

    def _reduced(self, names: Sequence[str], rows: Mapping[str, np.ndarray], statistics: Statistics | None) -> FoldData:
        """The streams of one modality of a clip, as training reduces them."""
        made = {
            name: reduced(self._reductions[name], torch.from_numpy(rows[name]), (statistics or {}).get(name))
            for name in names
        }
        offsets = {name: torch.tensor([0, len(of)]) for name, of in made.items() if not is_per_clip(name)}
        return FoldData(self._reductions, made, offsets)

    def statistics(self, clips: Iterable[Mapping[str, np.ndarray]]) -> Statistics:
        """Mean and deviation of each stream over clips of one person, for a model that is normalised by speaker.

        Of long streams, over as many rows of a clip as in training.
        """
        rows: dict[str, list[np.ndarray]] = {name: [] for name in self.streams}
        for clip in clips:
            for name, of in self._rows(clip)[0].items():
                rows[name].append(sampled(of, self.card["rows_per_clip"]) if is_long(name) else of)
        joined = {name: np.concatenate(of) for name, of in rows.items() if of}
        return {name: tuple(map(torch.from_numpy, standardisation(of))) for name, of in joined.items() if len(of)}

    def save(self, folder: Path) -> None:
        """Write the folder, weights first, so that a card never lacks its weights."""
        tensors = {
            f"reduction.{name}.{key}": (value.half() if key == "axes" else value).contiguous()
            for name, reduction in self._reductions.items()
            for key, value in reduction.state_dict().items()
        }
        for of in self._trained.values():
            for i, member in enumerate(of.members):
                values = member.network.state_dict()
                tensors |= {f"{of.row.name}.{i}.{key}": value.half().contiguous() for key, value in values.items()}
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / WEIGHTS, lambda part: save_file(tensors, part))
        text = json.dumps(self.card | {"weights_sha256": file_sha256(folder / WEIGHTS)}, indent=1) + "\n"
        write_atomically(folder / CARD, lambda part: part.write_text(text, encoding="utf-8"))


def row_card(of: Trained, shape: NetworkShape) -> dict:
    """Everything needed to rebuild the networks of a row."""
    row = of.row
    return {
        "design": asdict(row.design),
        "streams": {m: list(names) for m, names in row.streams.items()},
        "shape": shape.model_dump(mode="json", by_alias=True),
        "members": [
            {
                "axes": member.axes,
                "temperature": member.temperature,
                "sizes": {m: asdict(member.network.branches[m].sizes) for m in row.streams},
            }
            for member in of.members
        ],
    }


def load_model(folder: Path | None = None) -> Model:
    """Read a model.

    Args:
        folder: Output of `snakemake train_fbp` (results/<corpus>/fusion/fbp), or its folder `model`; None: the model of
            the package.

    Raises:
        UserError: There is no model, it is damaged, or of another version.
    """
    folder = SHIPPED / "model" if folder is None else folder
    if (folder / "model" / CARD).is_file():
        folder = folder / "model"
    path = folder / WEIGHTS
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if card.get("format") != FORMAT:
            raise UserError(
                f"{folder}: the model is of format {card.get('format')}, this version reads {FORMAT}: train it again"
            )
        found = file_sha256(path)
        if found != card["weights_sha256"]:
            raise UserError(f"{path} is damaged: its SHA-256 is not that of the card; train the model again")
        tensors = load_file(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"{folder} holds no model ({Path(error.filename).name} is missing): `snakemake train_fbp` makes one"
        ) from error
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(f"{folder}: the model cannot be read ({error}): train it again") from error
    reductions = {name: _reduction(tensors, f"reduction.{name}.") for name in card["streams"]}
    trained = [_networks(name, of, tensors, len(card["labels"])) for name, of in card["rows"].items()]
    return Model(card, reductions, trained, folder=folder, sha256=found)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _reduction(tensors: Mapping[str, Tensor], prefix: str) -> Reduction:
    values = _part(tensors, prefix)
    made = Reduction(*values["axes"].shape)
    made.load_state_dict(values)
    return made


def _networks(name: str, card: Mapping[str, Any], tensors: Mapping[str, Tensor], classes: int) -> Trained:
    design = Design(**{**card["design"], "modalities": tuple(card["design"]["modalities"])})
    streams = {m: tuple(names) for m, names in card["streams"].items()}
    shape = NetworkShape.model_validate(card["shape"])
    members = []
    for i, of in enumerate(card["members"]):
        sizes = {m: Sizes(**lengths) for m, lengths in of["sizes"].items()}
        network = Network(sizes, classes, design=design, shape=shape).eval()
        network.load_state_dict(_part(tensors, f"{name}.{i}."))
        members.append(TrainedMember(network, of["axes"], of["temperature"]))
    return Trained(Row(name, design, streams), members)
