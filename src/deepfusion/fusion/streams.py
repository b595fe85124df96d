"""Inputs of the network: streams of vectors with times, computed from the stored features of a clip.

A stream has one row per frame (video) or per position in time (audio), which attention weights, or one row per clip. A
clip without the modality has streams without rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from deepfusion.errors import UserError
from deepfusion.fusion import landmark_features, speech_features
from deepfusion.store.layout import IMPORTED_AUDIO

Modality = Literal["audio", "video"]
MODALITIES: tuple[Modality, ...] = ("audio", "video")
WINDOW = 1.0  # s of speech in a row of the stream `speech`

# Stream -> key of the feature store that it is computed from.
AUDIO = {
    "speech": "spectrogram",  # functionals of a second of speech, a row per window
    "speech-clip": "spectrogram",  # functionals and rhythm of the whole clip
    "AF": "AF",  # the audio encoder's vectors a_i, a row per position in time and frequency
    "AF-clip": "AF",  # their mean and standard deviation per frequency
}
LANDMARKS = {
    "landmarks": "landmarks",  # the shape of the face, a row per frame
    "landmarks-clip": "landmarks",  # that shape over the clip, and how the head moves
}
EMOTION = "emotion"  # logarithm of the emotions' probabilities, a row per frame
VIDEO = {**LANDMARKS, EMOTION: "emotion"}
SMALLEST = 1e-4  # lower bound of probabilities


def is_video(name: str) -> bool:
    """Whether a stream is of the video: face features, landmarks, emotion."""
    return name.startswith("EF-") or name in VIDEO


def is_imported_audio(name: str) -> bool:
    """Whether a stream is of the audio and was imported: AX-NAME, a row per time, or AX-NAME-clip, one per clip."""
    return name.startswith(IMPORTED_AUDIO)


def is_per_clip(name: str) -> bool:
    """Whether a stream has one row per clip."""
    return name.endswith("-clip")


def keys(streams: Iterable[str]) -> list[str]:
    """Keys of a feature store that streams are computed from."""
    needed = dict.fromkeys(AUDIO.get(name) or VIDEO.get(name) or _imported(name) for name in streams)
    return list(needed)


def _imported(name: str) -> str:
    return name.removesuffix("-clip") if is_imported_audio(name) else name


def check(streams: Mapping[Modality, Sequence[str]], available: Iterable[str]) -> None:
    """Refuse streams that a store lacks, or that do not fit together.

    Args:
        streams: Of each modality.
        available: Keys of the store.

    Raises:
        UserError: A stream is unknown, missing, or does not fit the others.
    """
    available = set(available)
    for modality, names in streams.items():
        for name in names:
            if is_video(name) != (modality == "video") or not (
                is_video(name) or name in AUDIO or is_imported_audio(name)
            ):
                known = "EF-..., " + ", ".join(VIDEO) if modality == "video" else ", ".join((*AUDIO, "AX-..."))
                raise UserError(f"fusion.{modality}: no stream {name!r}; there are {known}")
            if missing := [key for key in keys([name]) if key not in available]:
                raise UserError(
                    f"fusion.{modality}: the stream {name} needs {missing[0]}, which the store does not hold; "
                    "extract it, or leave the stream out"
                )
        if names and all(map(is_per_clip, names)):
            raise UserError(f"fusion.{modality}: {', '.join(names)} has no rows for attention: add a stream with rows")
    if len(rows := [name for name in streams.get("audio", ()) if not is_per_clip(name)]) > 1:
        first, second = rows[:2]
        raise UserError(
            f"fusion.audio: {first} and {second} have different times: take one, and the other as {second}-clip"
        )


@dataclass(frozen=True)
class Spectrogram:
    """Settings of the spectrogram that the streams need."""

    spacing: float  # Hz between two bins
    shift: float  # s between two windows
    encoder_frequency: tuple[float, ...] = ()  # Hz, of the encoder's positions in frequency

    @classmethod
    def of(cls, attributes: Mapping, encoder: Mapping | None = None) -> "Spectrogram":
        """From the attributes of the store's `spectrogram` and `AF`."""
        frequency = tuple(np.asarray((encoder or {}).get("frequency", ()), float).tolist())
        return cls(
            float(attributes["rate"]) / float(attributes["dft"]), float(attributes["shift_ms"]) / 1000, frequency
        )


@dataclass(frozen=True)
class ClipStreams:
    """The streams of one clip.

    Attributes:
        rows: Stream -> (L, n) float32; streams per clip have L = 1, or 0 without the modality.
        time: Attended stream -> (L,) s on the clip's clock, equal for all attended streams of the video.
        frequency: The stream AF -> (L,) Hz.
    """

    rows: dict[str, np.ndarray]
    time: dict[str, np.ndarray] = field(default_factory=dict)
    frequency: dict[str, np.ndarray] = field(default_factory=dict)


def clip_streams(clip: Mapping[str, np.ndarray], names: Iterable[str], spectrogram: Spectrogram) -> ClipStreams:
    """Compute streams of a clip.

    Args:
        clip: The stored features of the clip (`FeatureStore[id]`).
        names: Streams.
        spectrogram: Its settings.
    """
    names = list(names)
    made = ClipStreams({})
    if any(map(is_video, names)):
        _video(clip, [name for name in names if is_video(name)], made)
    audio = [name for name in names if not is_video(name)]
    if any(AUDIO.get(name) == "spectrogram" for name in audio):
        _speech(clip, audio, spectrogram, made)
    if any(AUDIO.get(name) == "AF" for name in audio):
        _encoder(clip, audio, spectrogram, made)
    for name in filter(is_imported_audio, audio):
        key = _imported(name)
        rows = clip[key].astype(np.float32, copy=False)
        if name == key:
            made.rows[name], made.time[name] = rows, clip[f"{key}_time"]
        else:
            made.rows[name] = _mean_and_deviation(rows)
    return made


def _video(clip: Mapping[str, np.ndarray], names: list[str], made: ClipStreams) -> None:
    valid = clip["valid"]  # frames without a face are excluded from attention
    time = clip["time"][valid]
    made.time.update({name: time for name in names if not is_per_clip(name)})
    for name in names:
        if name.startswith("EF-"):
            made.rows[name] = clip[name][valid].astype(np.float32, copy=False)
    if EMOTION in names:
        made.rows[EMOTION] = np.log(np.maximum(clip["emotion"][valid], SMALLEST))
    if LANDMARKS.keys() & set(names):
        points, choice = clip["landmarks"][valid], clip["choice"][valid]
        shapes = landmark_features.shapes(points)
        if "landmarks" in names:
            made.rows["landmarks"] = shapes
        if "landmarks-clip" in names:
            made.rows["landmarks-clip"] = landmark_features.whole(shapes, points, time, choice)


def _speech(clip: Mapping[str, np.ndarray], names: list[str], settings: Spectrogram, made: ClipStreams) -> None:
    values, start = clip["spectrogram"], clip["audio_time"][:1].sum()
    if len(values) == 0:
        made.time["speech"] = np.zeros(0)
        made.rows["speech"] = np.zeros((0, speech_features.WINDOW_SIZE), np.float32)
        made.rows["speech-clip"] = np.zeros((0, speech_features.WINDOW_SIZE + speech_features.RHYTHM), np.float32)
        return
    speech = speech_features.descriptors(values, spacing=settings.spacing)
    if "speech" in names:
        rows, middle = speech_features.windows(speech, length=max(1, round(WINDOW / settings.shift)))
        made.rows["speech"] = rows.astype(np.float32)
        made.time["speech"] = start + middle * settings.shift
    if "speech-clip" in names:
        made.rows["speech-clip"] = speech_features.clip_vector(speech)[None].astype(np.float32)


def _encoder(clip: Mapping[str, np.ndarray], names: list[str], settings: Spectrogram, made: ClipStreams) -> None:
    positions = clip["AF"].astype(np.float32, copy=False)  # (R, F', C)
    if "AF" in names:
        bands = positions.shape[1]
        made.rows["AF"] = positions.reshape(-1, positions.shape[2])
        made.time["AF"] = np.repeat(clip["AF_time"], bands)
        made.frequency["AF"] = np.tile(settings.encoder_frequency, len(positions))
    if "AF-clip" in names:
        flat = positions.reshape(len(positions), positions.shape[1] * positions.shape[2])
        made.rows["AF-clip"] = _mean_and_deviation(flat)


def _mean_and_deviation(rows: np.ndarray) -> np.ndarray:
    """(L, D) -> (1, 2 D); (0, 2 D) if L = 0."""
    return (
        np.concatenate([rows.mean(0), rows.std(0)])[None] if len(rows) else np.zeros((0, 2 * rows.shape[1]), np.float32)
    )
