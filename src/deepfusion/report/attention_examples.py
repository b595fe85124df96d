"""Examples of attention over time and frequency: what a model attended to in a few of its test clips."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfusion.evaluation.attention import effective_share
from deepfusion.evaluation.metrics import class_names
from deepfusion.fusion.attention_file import read_attention_file
from deepfusion.fusion.model import Attention
from deepfusion.report import timeline
from deepfusion.store import FeatureStore

FRAME_TICKS = 8  # at most


def choose(shares: dict[str, dict[str, float]], answers: pd.DataFrame) -> list[tuple[str, str]]:
    """Select example clips by fixed rules; returns each clip's id and rule.

    Args:
        shares: Clip id -> modality -> effective share.
        answers: Index clip id; label, predicted, probability (of the predicted class).
    """
    right = answers.index[answers["label"].eq(answers["predicted"])]
    wrong = answers.drop(right)
    found: dict[str, str] = {}
    for kind in ("audio", "video"):
        of = pd.Series({id_: shares[id_][kind] for id_ in right if kind in shares.get(id_, {})}, dtype=float)
        of = of.drop(list(found), errors="ignore")
        if len(of):
            found[str(of.idxmin())] = f"most selective attention to the {kind} among the correctly predicted clips"
    of = pd.Series({id_: np.mean(list(shares[id_].values())) for id_ in right if id_ in shares}, dtype=float)
    of = of.drop(list(found), errors="ignore").sort_values(kind="stable")
    if len(of):
        found[str(of.index[len(of) // 2])] = "median selectivity among the correctly predicted clips"
    if len(wrong := wrong[wrong.index.isin(list(shares))]):
        found[str(wrong["probability"].idxmax())] = "the wrong prediction with the highest probability"
    return list(found.items())


def answers_of(predictions: pd.DataFrame) -> pd.DataFrame:
    """Index clip id: label, predicted class and its probability, both of the mean probability over the seeds."""
    labels = class_names(predictions)
    by_clip = predictions.groupby("clip")
    means = by_clip[[f"p({label})" for label in labels]].mean().set_axis(labels, axis=1)
    return pd.DataFrame(
        {"label": by_clip["label"].first(), "predicted": means.idxmax(axis=1), "probability": means.max(axis=1)}
    )


def examples(store: FeatureStore, path: Path, predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """Drawings of a few clips for the page; none if the store does not have these clips.

    Args:
        store: The feature store.
        path: `attention.h5`.
        predictions: Of all models.
    """
    model, attention = read_attention_file(path)
    shares = {
        id_: {kind: effective_share(of.weight) for kind, of in by_kind.items() if of.weight.size > 1}
        for id_, by_kind in attention.items()
        if id_ in store
    }
    answers = answers_of(predictions[predictions["model"].eq(model)])
    return [
        {"id": id_, "why": why, **answers.loc[id_].to_dict(), **_drawn(store, id_, attention[id_])}
        for id_, why in choose({id_: of for id_, of in shares.items() if of}, answers)
    ]


def _drawn(store: FeatureStore, id_: str, attention: dict[str, Attention]) -> dict[str, Any]:
    """The time axis of a clip, and its lanes: spectrogram with attention, and frames with attention."""
    clip, framing = store[id_], store.attributes("spectrogram")
    data = {key: clip[key] for key in ("time", "reason", "spectrogram", "audio_time")}
    times = [data[key] for key in ("time", "audio_time") if len(data[key])]
    begin, end = min(float(t[0]) for t in times), max(float(t[-1]) for t in times)
    lanes = []
    if "audio" in attention and len(data["audio_time"]):
        highest = framing["bins"] * framing["rate"] / framing["dft"]
        lanes.append(
            {
                "kind": "spectrogram",
                "title": f"Audio: spectrogram, 0 to {highest:g} Hz",
                "text": _peak(attention["audio"]),
                "image": timeline.spectrogram_image(data, begin, end),
                "over": timeline.audio_band(attention["audio"], highest, begin, end),
                "highest": highest / 1000,
            }
        )
    if "video" in attention:
        lanes.append(
            {
                "kind": "band",
                "title": f"Video: {len(data['time'])} frames, by index and time",
                "text": _peak(attention["video"], data["time"]),
                "image": timeline.frame_band(data["time"], attention["video"], begin, end),
                "gaps": timeline.gaps(data, begin, end),
                "frames": timeline.frame_ticks(data["time"], begin, end, FRAME_TICKS),
            }
        )
    return {"lanes": lanes, "ticks": timeline.ticks(begin, end)}


def _peak(attention: Attention, frames: np.ndarray | None = None) -> str:
    """Where attention is largest, how large, and how evenly it is spread."""
    place = np.unravel_index(attention.weight.argmax(), attention.weight.shape)
    time = float(attention.time[place[0]])
    where = f"{time:.2f} s"
    if frames is not None:
        where += f" (frame {int(np.searchsorted(frames, time - 1e-6))})"
    if attention.frequency is not None:
        where += f", {attention.frequency[place[1]]:.0f} Hz"
    times = attention.weight.max() * attention.weight.size
    share = effective_share(attention.weight)
    return f"highest attention at {where}, {times:.1f} × uniform; effective share {share:.0%}"
