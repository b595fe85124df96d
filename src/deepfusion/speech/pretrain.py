"""Pre-training of the audio encoder: prepared speech -> weights, training curve, card."""

import hashlib
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from deepfusion.atomic import write_atomically
from deepfusion.cache_key import digest
from deepfusion.config import PretrainAudioSettings
from deepfusion.device import fastest_dtype
from deepfusion.errors import UserError
from deepfusion.networks.audio_encoder import Architecture, Layer, SpeechEncoder, load_encoder, save_encoder
from deepfusion.responsible_use import SPEECH, responsible_use
from deepfusion.speech import measure
from deepfusion.speech.network import TrainingNetwork
from deepfusion.speech.prepare import Prepared, load
from deepfusion.speech.train import task, train

log = logging.getLogger(__name__)

BANDS = 64  # mel bands between 0 Hz and the last bin of the spectrogram
RANGE_DB = 70.0
LAYERS = (
    Layer(24, (5, 5), (2, 2)),
    Layer(48, (3, 3), (2, 2)),
    Layer(96, (3, 3), (2, 2)),
    Layer(96, (3, 3)),
    Layer(128, (3, 3), (2, 2)),
    Layer(128, (3, 3)),
    Layer(128, (3, 3)),
)
REQUIRED = ("rate", "window_ms", "shift_ms", "dft", "bins")  # settings of the spectrogram that the encoder needs
WATCHED = 200  # held-out clips per corpus that each epoch is measured on


def pretrain(prepared: Path, out: Path, *, settings: PretrainAudioSettings, device: torch.device) -> None:
    """Train the encoder, resuming an interrupted run; evaluate it; write it with its card.

    Writes `encoder.safetensors`, `encoder.json` and `curve.csv` into `out`, and the state after each epoch,
    `checkpoint.safetensors`.

    Args:
        prepared: The file that `prepare` writes.
        out: Folder.
        settings: The group `pretrain_audio` of the configuration.
        device: Where to train.

    Raises:
        UserError: A corpus has no clip, or no speaker is left to train on.
    """
    data = load(prepared)
    trains, held_out = split(data.clips, settings)
    lesson = task(data.clips, trains, settings)
    required = {name: value for name, value in data.settings.model_dump().items() if name in REQUIRED}
    torch.manual_seed(settings.seed)
    network = TrainingNetwork(
        Architecture(LAYERS, BANDS, RANGE_DB, required, settings.labels), kinds=2, dropout=settings.dropout
    )
    watched = np.concatenate([some(rows, WATCHED) for rows in by_corpus(data.clips, held_out).values()] or [held_out])

    def tell(epoch: int, loss: float, seconds: float, averaged: TrainingNetwork) -> dict:
        found = held_out_recall(averaged, data, watched, settings)
        text = ", ".join(f"{name} {100 * value:.1f} %" for name, value in found.items())
        log.info("epoch %d: loss %.3f, %.0f s; UAR of held-out speakers: %s", epoch, loss, seconds, text or "none")
        return {"epoch": epoch, "loss": loss, "seconds": seconds} | {f"uar_{k}": v for k, v in found.items()}

    averaged, curve = train(
        network,
        data,
        lesson,
        settings,
        device=device,
        dtype=fastest_dtype(settings.precision, device),
        checkpoint=out / "checkpoint.safetensors",
        key=run_key(data, trains, network.architecture, settings),
        tell=tell,
    )
    write_atomically(out / "curve.csv", lambda part: pd.DataFrame(curve).to_csv(part, index=False))
    averaged.to("cpu")
    card = card_of(data.clips, trains, held_out, settings)
    card["training"]["curve"] = [{name: round(value, 4) for name, value in row.items()} for row in curve]
    file = out / "encoder.safetensors"
    save_encoder(averaged.folded(), file, card)
    # Measured as stored, in half precision; the classifier of vocal bursts is not stored.
    card["uar"] = {
        "held_out_speakers": held_out_recall(averaged, data, held_out, settings),
        "unseen_corpora": {name: transfer(load_encoder(file), data, name) for name in settings.unseen},
    }
    save_encoder(averaged.folded(), file, card)
    log.info("%s: %d bytes; UAR %s", file, file.stat().st_size, card["uar"])


def split(clips: pd.DataFrame, settings: PretrainAudioSettings) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training clips, and of the clips of held-out speakers.

    A share `held_out` of the speakers of each corpus is held out: at least one unless it is 0, but never all.

    Raises:
        UserError: A corpus has no clip.
    """
    generator = np.random.default_rng(settings.seed)
    trains, held_out = [], []
    for corpus in settings.corpora:
        rows = np.flatnonzero(clips["corpus"] == corpus)
        if not len(rows):
            raise UserError(f"pretrain_audio.corpora: no clip of {corpus!r} with one of pretrain_audio.labels")
        speaker = clips["speaker"].to_numpy()[rows]
        names = np.unique(speaker)
        count = min(len(names) - 1, max(1, round(settings.held_out * len(names)))) if settings.held_out else 0
        chosen = np.isin(speaker, generator.permutation(names)[:count])
        trains.append(rows[~chosen])
        held_out.append(rows[chosen])
    return np.concatenate(trains), np.concatenate(held_out)


def by_corpus(clips: pd.DataFrame, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Corpus -> its rows, of those given; corpora without any are left out."""
    corpus = clips["corpus"].to_numpy()[rows]
    return {name: rows[corpus == name] for name in dict.fromkeys(corpus)}


def some(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows, evenly chosen."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]


def held_out_recall(
    network: TrainingNetwork, data: Prepared, rows: np.ndarray, settings: PretrainAudioSettings
) -> dict[str, float]:
    """Corpus -> UAR of its classifier on the rows of it."""
    encoders = [network.folded(kind) for kind in range(len(network.classifiers))]
    label = data.clips["label"].to_numpy().astype(str)
    found = {}
    for name, own in by_corpus(data.clips, rows).items():
        _, logits = measure.encode(encoders[int(name in settings.bursts)], data, own)
        found[name] = measure.zero_shot(logits, label[own], settings.labels)
    return found


def transfer(encoder: SpeechEncoder, data: Prepared, corpus: str) -> dict[str, float]:
    """UAR on a corpus that was not trained on, see `measure`.

    Raises:
        UserError: There is no clip of it.
    """
    rows = np.flatnonzero(data.clips["corpus"] == corpus)
    if not len(rows):
        raise UserError(f"pretrain_audio.unseen: no clip of {corpus!r}")
    vectors, logits = measure.encode(encoder, data, rows)
    label, speaker = (data.clips[name].to_numpy()[rows].astype(str) for name in ("label", "speaker"))
    return {
        "zero_shot": measure.zero_shot(logits, label, encoder.labels),
        "linear_probe": measure.linear_probe(vectors, label, speaker),
        "chance": 1 / len(np.unique(label)),
    }


def run_key(data: Prepared, rows: np.ndarray, architecture: Architecture, settings: PretrainAudioSettings) -> str:
    """Cache key of a run: clips and their lengths, spectrogram, architecture, settings."""
    chosen = data.clips.iloc[rows].to_csv(index=False) + str(data.lengths()[rows].tolist())
    how = settings.model_dump(mode="json", exclude={"manifest", "unseen"})
    content = hashlib.sha256(chosen.encode()).hexdigest()
    return digest(content, data.settings.model_dump(), architecture.to_json(), how)


def card_of(clips: pd.DataFrame, trains: np.ndarray, held_out: np.ndarray, settings: PretrainAudioSettings) -> dict:
    """The card of the weights: their training clips, settings and licence."""
    used = clips.iloc[trains]
    corpora = {
        name: {
            "licence": "; ".join(own["licence"].unique()),
            "language": "; ".join(own["language"].unique()),
            "clips": len(own),
            "speakers": own["speaker"].nunique(),
            "held_out_speakers": sorted(clips.iloc[held_out].query("corpus == @name")["speaker"].unique()),
        }
        for name, own in used.groupby("corpus")
    }
    return {
        "name": "audio-encoder",
        "licence": licence([corpus["licence"] for corpus in corpora.values()]),
        "data": corpora,
        "languages": sorted(used["language"].unique()),
        "labels": list(settings.labels),
        "responsible_use": responsible_use(SPEECH),
        "command": f"snakemake pretrain_audio; {shlex.join(['deepfusion', *sys.argv[1:]])}",
        "seed": settings.seed,
        "training": settings.model_dump(mode="json", exclude={"manifest"}),
    }


def licence(terms: Sequence[str]) -> str:
    """The terms of the weights in one line: those of every corpus apply."""
    every = "; ".join(dict.fromkeys(terms))
    return f"the terms of all training corpora apply: {every}"
