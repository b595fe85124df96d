"""Lines about a model from its card: expected accuracy, normalisation, cautions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from deepfusion.evaluation.summary import spread
from deepfusion.extract.common import hash_of
from deepfusion.fusion.model import KNOWN_BY
from deepfusion.prediction.normalisation import IN_WORDS, Normalisation

if TYPE_CHECKING:
    from deepfusion.prediction.predictor import Predictor


def model_lines(predictor: "Predictor", norm: Normalisation) -> list[str]:
    """The model, its corpus and classes; its accuracy on unseen speakers; normalisation; caution."""
    card = predictor.card
    corpus = f", trained on {card['corpus']}" if card.get("corpus") else ""
    lines = [f"model {predictor.name} ({predictor.model.sha256[:8]}){corpus}: {', '.join(predictor.labels)}"]
    if expected := expectation(card):
        lines.append(expected)
    lines.append(IN_WORDS[norm])
    if card.get("caution"):
        lines.append(str(card["caution"]))
    return lines


def trained_on(card: Mapping[str, Any], clips: pd.DataFrame) -> list[str]:
    """Ids of clips whose file the model was trained on: their predictions do not show its accuracy."""
    known = set(card.get("trained_on", ()))
    if not known:
        return []
    return [clip.id for clip in clips.itertuples() if hash_of(clip.path)[:KNOWN_BY] in known]


def expectation(card: Mapping[str, Any]) -> str:
    """The accuracy to expect, in words; "" if the card does not say."""
    metrics = card.get("metrics", {})
    figures = [
        f"{name} {spread(metrics[f'{key}_mean'], metrics[f'{key}_std'])} %"
        for key, name in (("accuracy", "accuracy"), ("uar", "UAR"))
        if f"{key}_mean" in metrics
    ]
    by_model = metrics.get("by_model", {})
    alone = [f"{name} alone {100 * by_model[name]:.1f} %" for name in ("audio", "video") if name in by_model]
    sentence = "; ".join(", ".join(part) for part in (figures, alone) if part)
    return f"on unseen speakers: {sentence}" if figures else ""
