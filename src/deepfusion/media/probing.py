"""Contents of a clip, without decoding more than its first frame and sample."""

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from deepfusion.errors import ClipError
from deepfusion.media.container import beginning, clip_errors, decoded, opened, stream_of
from deepfusion.media.limits import DEFAULT_LIMITS, Limits
from deepfusion.media.video import orientation_of, square_pixels


@dataclass(frozen=True)
class Probe:
    """Contents of a clip. Numbers of an absent stream are 0, its times nan.

    Attributes:
        has_video: There is a video stream; cover art does not count.
        has_audio: There is an audio stream.
        width: Pixels of a frame as `frames` gives it: upright, pixels square.
        height: Likewise.
        rotation: Degrees clockwise, 0, 90, 180 or 270, that `frames` rotates the stored frame.
        video_start: Time of the first frame, s.
        video_duration: s, as the container declares it for the stream, else for the file; nan if undeclared.
        audio_start: Time of the first sample, s.
        audio_duration: s, likewise.
        audio_rate: Samples per second in the file.
        frame_rate: Mean frames per second as declared, nan if undeclared; informative only.
        begin: Time of the file's beginning on its clock, s; segments count from it.
    """

    has_video: bool = False
    has_audio: bool = False
    width: int = 0
    height: int = 0
    rotation: int = 0
    video_start: float = math.nan
    video_duration: float = math.nan
    audio_start: float = math.nan
    audio_duration: float = math.nan
    audio_rate: int = 0
    frame_rate: float = math.nan
    begin: float = 0.0


def probe(path: str | Path, limits: Limits = DEFAULT_LIMITS) -> Probe:
    """Probe a clip: its streams, and the first frame and sample of each.

    Raises:
        ClipError: The file cannot be read, has neither video nor audio, or a stream is empty or broken.
    """
    return _probe(Path(path), ["video", "audio"], limits)


def probe_video(path: str | Path, limits: Limits = DEFAULT_LIMITS) -> Probe:
    """Probe only the video; defects of the audio are ignored.

    Raises:
        ClipError: As `probe`, for the video.
    """
    return _probe(Path(path), ["video"], limits)


def probe_audio(path: str | Path, limits: Limits = DEFAULT_LIMITS) -> Probe:
    """Probe only the audio; defects of the video are ignored.

    Raises:
        ClipError: As `probe`, for the audio.
    """
    return _probe(Path(path), ["audio"], limits)


def _probe(path: Path, wanted: list[str], limits: Limits) -> Probe:
    with opened(path, limits) as container:
        kinds = [kind for kind in ("video", "audio") if stream_of(container, kind) is not None]
        found: dict[str, Any] = {"begin": float(beginning(container))}
    if not kinds:
        raise ClipError(f"{path.name}: neither video nor audio in the file")
    if "video" in kinds and "video" in wanted:
        found |= _video(path, limits)
    if "audio" in kinds and "audio" in wanted:
        found |= _audio(path, limits)
    return Probe(**found)


def _video(path: Path, limits: Limits) -> dict:
    with _first(path, "video", limits) as (time, frame, stream), clip_errors(path):
        orientation = orientation_of(frame)
        size = square_pixels(frame.width, frame.height, stream.sample_aspect_ratio)
        width, height = size[::-1] if orientation.swap else size
        return {
            "has_video": True,
            "width": width,
            "height": height,
            "rotation": orientation.rotation,
            "video_start": float(time),
            "video_duration": _duration(stream),
            "frame_rate": float(stream.average_rate or math.nan),
        }


def _audio(path: Path, limits: Limits) -> dict:
    with _first(path, "audio", limits) as (time, frame, stream):
        return {
            "has_audio": True,
            "audio_start": float(time),
            "audio_duration": _duration(stream),
            "audio_rate": frame.sample_rate,
        }


@contextmanager
def _first(path: Path, kind: str, limits: Limits) -> Iterator[tuple[Fraction, Any, Any]]:
    """The first frame of a stream; the file stays open in the block, because the stream needs it."""
    with closing(decoded(path, kind, None, limits)) as found:
        first = next(found, None)
        if first is None or first.time is None:
            raise ClipError(f"{path.name}: the {kind} stream {'is empty' if first is None else 'has no times'}")
        yield first.time, first.frame, first.stream


def _duration(stream: av.stream.Stream) -> float:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return math.nan if stream.container.duration is None else stream.container.duration / av.time_base
