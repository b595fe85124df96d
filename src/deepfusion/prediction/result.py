"""The prediction of a clip, and its tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from deepfusion.atomic import write_atomically
from deepfusion.faces.face_track import Choice, Reason

if TYPE_CHECKING:
    from deepfusion.fusion.model import Answer, Attention

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""Columns of the per-frame table, with the names that py-feat uses, in FER2013's order."""
STATUSES = {
    "ok": "by audio and video",
    "audio_only": "by audio alone",
    "video_only": "by video alone",
    "no_answer": "no answer: no face and no audio",
    "failed": "no answer: the file cannot be read",
}
TRACK = (
    "time", "valid", "reason", "choice", "box", "score", "landmarks", "emotion", "pose", "eye_opening", "mouth_opening"
)  # fmt: skip
"""Arrays of a clip that a prediction keeps, apart from the spectrogram."""
ATTENTION_DIGITS = 6


@dataclass(frozen=True)
class Window:
    """A part of a clip with its own answer; if `answer` is None, `reason` says why."""

    start: float
    end: float
    answer: "Answer | None"
    status: str
    reason: str


@dataclass(frozen=True)
class Prediction:
    """The prediction for one clip.

    Attributes:
        id: Of the clip.
        path: Its file, absolute.
        labels: The classes, in the order of the probabilities.
        answer: The model's answer; None if there is neither a face nor audio.
        status: A key of `STATUSES`.
        reason: Why a modality is missing; "" where both were used.
        model: Name of the model.
        model_sha256: Of its file.
        clip: Face track, emotions of the face networks and spectrogram of the clip, as arrays.
        facts: width, height, audio_note, ... of the files.
        parts: Windows, if requested.
        audio_seconds: Duration of the audio, 0 without any.
    """

    id: str
    path: str
    labels: tuple[str, ...]
    answer: "Answer | None"
    status: str
    reason: str
    model: str
    model_sha256: str
    clip: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    parts: Sequence[Window] = ()
    audio_seconds: float = 0.0

    @property
    def probabilities(self) -> pd.Series:
        """Probability of each class, 0..1; NaN without an answer."""
        return pd.Series(self._values(self.answer), index=list(self.labels), name=self.id)

    @property
    def label(self) -> str:
        """The most probable class, "" without an answer."""
        return _label(self.labels, self.answer)

    @property
    def score(self) -> float:
        """Probability of the most probable class, NaN without an answer."""
        return float(np.max(self._values(self.answer)))

    @property
    def by_modality(self) -> pd.DataFrame:
        """Predictions of audio alone and video alone: one row per modality of the clip, one column per class."""
        rows = {} if self.answer is None else self.answer.by_modality
        return pd.DataFrame.from_dict(dict(rows), orient="index", columns=list(self.labels))

    @property
    def attention(self) -> "dict[str, Attention]":
        """Weights, which sum to 1, and their positions, by modality.

        "video": weight (L,), time (L,) s. "audio": weight (R,) or (R, F'), time (R,) s, frequency (F',) Hz.
        """
        return {} if self.answer is None else dict(self.answer.attention)

    @property
    def frame_count(self) -> int:
        """Frames of the clip."""
        return len(self.clip.get("time", ()))

    @property
    def face_count(self) -> int:
        """Frames that have the followed person's face."""
        return int(np.sum(self.clip.get("valid", ())))

    @property
    def video_seconds(self) -> float:
        """Duration of the video, 0 without any."""
        time = self.clip.get("time", ())
        return float((time[-1] - time[0]) * len(time) / (len(time) - 1)) if len(time) > 1 else 0.0

    def top(self, k: int = 3) -> list[tuple[str, float]]:
        """The k most probable classes with their probabilities, most probable first; none without an answer."""
        if self.answer is None:
            return []
        ranked = self.probabilities.sort_values(ascending=False, kind="stable")
        return [(label, float(p)) for label, p in ranked.head(k).items()]

    @property
    def windows(self) -> pd.DataFrame:
        """One row per window: start, end (s), label, score, the classes' probabilities, status, reason."""
        rows = [window_row(found, self.labels) for found in self._windows()]
        return pd.DataFrame(rows, columns=window_columns(self.labels))

    @property
    def frames(self) -> pd.DataFrame:
        """One row per frame, with the columns of docs/predict.md; empty without video."""
        return frame_table(self.clip, self.attention.get("video"))

    def row(self) -> dict[str, Any]:
        """The clip's row of predictions.csv."""
        return clip_row(self.to_dict(), self.labels)

    def to_dict(self) -> dict[str, Any]:
        """Everything except per-frame arrays, as JSON types; probabilities 0..1, times in s."""
        return _plain(
            {
                "id": self.id,
                "path": self.path,
                "label": self.label,
                "score": self.score,
                "frames": self.frame_count,
                "faces": self.face_count,
                "video_seconds": self.video_seconds,
                "audio_seconds": self.audio_seconds,
                "model": self.model,
                "model_sha256": self.model_sha256,
                "status": self.status,
                "reason": self.reason,
                "probabilities": self._named(self.answer),
                "by_modality": {
                    name: dict(zip(self.labels, values, strict=True))
                    for name, values in (self.answer.by_modality if self.answer else {}).items()
                },
                "used": list(self.answer.used) if self.answer else [],
                "windows": self._windows(),
                "attention": {
                    name: {
                        "time": found.time,
                        "weight": np.round(found.weight, ATTENTION_DIGITS),
                        **({} if found.frequency is None else {"frequency": found.frequency}),
                    }
                    for name, found in self.attention.items()
                },
            }
        )

    def to_csv(self, path: str | Path, *, landmarks: bool = False) -> None:
        """Write the per-frame table; with `landmarks` also x_0..x_67, y_0..y_67 in px."""
        table = self.frames
        if landmarks:
            table = table.join(landmark_table(self.clip))
        write_table(Path(path), table)

    def to_html(self, path: str | Path, *, thumbnails: bool = True) -> None:
        """Write the prediction as one HTML page that needs no network; the video itself is linked."""
        from deepfusion.prediction.page import page_of_one

        page_of_one(self, Path(path), thumbnails=thumbnails)

    def __str__(self) -> str:
        return line(self.to_dict())

    def _windows(self) -> list[dict[str, Any]]:
        return [
            {
                "start": part.start,
                "end": part.end,
                "label": _label(self.labels, part.answer),
                "score": float(np.max(self._values(part.answer))),
                "status": part.status,
                "reason": part.reason,
                "probabilities": self._named(part.answer),
            }
            for part in self.parts
        ]

    def _values(self, answer: "Answer | None") -> np.ndarray:
        return np.full(len(self.labels), np.nan) if answer is None else np.asarray(answer.probabilities)

    def _named(self, answer: "Answer | None") -> dict[str, float]:
        return {} if answer is None else dict(zip(self.labels, self._values(answer), strict=True))


class Predictions:
    """Predictions of many clips, computed during iteration; each is yielded once, and none is kept.

    Args:
        found: The predictions.
        count: How many there are.
    """

    def __init__(self, found: Iterator[Prediction], count: int):
        self._found, self._count = found, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Prediction]:
        return self._found

    @property
    def frame(self) -> pd.DataFrame:
        """The remaining clips as a table, with the columns of predictions.csv."""
        return pd.DataFrame([prediction.row() for prediction in self])

    def to_csv(self, path: str | Path) -> None:
        """Write `frame` as csv."""
        write_table(Path(path), self.frame)


def clip_row(found: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """A clip's row of predictions.csv.

    Args:
        found: As `Prediction.to_dict` returns it.
        labels: Of the model.
    """
    names = ["frames", "faces", "video_seconds", "audio_seconds", "model", "model_sha256", "status", "reason"]
    first = {name: found[name] for name in ("id", "path", "label")}
    return first | _scores(found, labels) | {name: found[name] for name in names}


def window_row(found: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """A window's row, with `window_columns`; `found` is one of `windows` of `Prediction.to_dict`."""
    place = {name: found[name] for name in ("start", "end", "label")}
    return place | _scores(found, labels) | {name: found[name] for name in ("status", "reason")}


def window_columns(labels: Sequence[str]) -> list[str]:
    """Columns of a table of windows, which may have no row."""
    return ["start", "end", "label", "score", *labels, "status", "reason"]


def _scores(found: Mapping[str, Any], labels: Sequence[str]) -> dict[str, float]:
    """Score and the classes' probabilities, NaN without an answer."""
    probabilities = {label: found["probabilities"].get(label, np.nan) for label in labels}
    return {"score": np.nan if found["score"] is None else found["score"], **probabilities}


def line(found: Mapping[str, Any], top: int = 2) -> str:
    """One clip in one line for a terminal.

    Args:
        found: As `Prediction.to_dict` returns it.
        top: Number of classes.
    """
    name, suffix = found["id"], Path(found["path"]).suffix
    if name.rpartition("/")[2] == Path(found["path"]).stem:
        name += suffix
    if not found["probabilities"]:
        return f"{name}  no answer: {found['reason']}"
    ranked = sorted(found["probabilities"].items(), key=lambda item: -item[1])[:top]
    faces = f"faces in {found['faces']} of {found['frames']} frames"
    audio = f"audio {found['audio_seconds']:.1f} s"
    what = {
        "ok": f"{faces}, {audio}",
        "audio_only": f"audio alone, {audio}; {found['reason']}",
        "video_only": f"video alone, {faces}; {found['reason']}",
    }[found["status"]]
    return "  ".join([name, *(f"{label} {p:.2f}" for label, p in ranked), f"({what})"])


def frame_table(clip: Mapping[str, np.ndarray], attention: "Attention | None") -> pd.DataFrame:
    """One row per frame of the clip; values that a frame without a face lacks are NaN.

    Args:
        clip: Keys `TRACK`, as of a feature store; none without video.
        attention: Of the attended frames, by time.

    Returns:
        frame (from 0), face_id (rises when a person is chosen again), timestamp (s), confidence (the detector's score
        cut to 0..1), success (0 or 1), reason, FaceRectX, FaceRectY, FaceRectWidth, FaceRectHeight (px), FaceScore (the
        detector's own), the seven emotions of the face networks, Pitch, Roll, Yaw (degrees), eye_opening_left and
        eye_opening_right (of the image), mouth_opening, attention.
    """
    length = len(clip.get("time", ()))
    nothing = np.full(length, np.nan)
    box = clip.get("box", np.full((length, 4), np.nan))
    score = clip.get("score", nothing)
    choice = clip.get("choice", np.zeros(length, np.uint8))
    again = np.isin(choice, [Choice.AFTER_CUT, Choice.AFTER_GAP])
    emotion = clip.get("emotion", np.full((length, len(EMOTIONS)), np.nan))
    yaw, pitch, roll = clip.get("pose", np.full((length, 3), np.nan)).T
    eyes = clip.get("eye_opening", np.full((length, 2), np.nan))
    weights = nothing.copy()
    if attention is not None:
        weights[np.searchsorted(clip["time"], np.asarray(attention.time) - 1e-6)] = attention.weight
    return pd.DataFrame(
        {
            "frame": np.arange(length),
            "face_id": np.cumsum(again),
            "timestamp": clip.get("time", np.zeros(0)),
            "confidence": np.clip(score, 0, 1),
            "success": clip.get("valid", np.zeros(length, bool)).astype(int),
            "reason": [_reason_text(code) for code in clip.get("reason", np.zeros(length, np.uint8))],
            "FaceRectX": box[:, 0],
            "FaceRectY": box[:, 1],
            "FaceRectWidth": box[:, 2] - box[:, 0] + 1,
            "FaceRectHeight": box[:, 3] - box[:, 1] + 1,
            "FaceScore": score,
            **{name: emotion[:, i] for i, name in enumerate(EMOTIONS)},
            "Pitch": pitch,
            "Roll": roll,
            "Yaw": yaw,
            "eye_opening_left": eyes[:, 0],
            "eye_opening_right": eyes[:, 1],
            "mouth_opening": clip.get("mouth_opening", nothing),
            "attention": weights,
        }
    )


def landmark_table(clip: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """x_0..x_67, y_0..y_67 (px), a row per frame."""
    points = clip.get("landmarks", np.zeros((0, 68, 2)))
    names = [f"{axis}_{i}" for axis in "xy" for i in range(points.shape[1])]
    return pd.DataFrame(np.concatenate([points[..., 0], points[..., 1]], axis=1), columns=names)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a csv file with 6 decimals; unknown values are empty cells."""
    text = table.to_csv(index=False, float_format="%.6f", lineterminator="\n")
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def _reason_text(code: int) -> str:
    return "" if code == Reason.FACE else Reason(code).name.lower()


def _label(labels: Sequence[str], answer: "Answer | None") -> str:
    return "" if answer is None else labels[int(np.argmax(answer.probabilities))]


def _plain(value: Any) -> Any:
    """Numpy arrays and numbers as Python lists and numbers; NaN as None (null in JSON)."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(part) for part in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value
