"""Open a clip's file and decode one of its streams, checked."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.stream import Disposition

from deepfusion.errors import ClipError

SEEK_MARGIN = 1.0  # s decoded before a segment: covers reordered frames and a sound decoder's warming up
CUT_SHORT = 0.5  # s between the declared and the found end of a file from which it counts as cut

PLAYLISTS = {"concat", "dash", "hls"}  # files that point at other files
# Formats that declare their length; FFmpeg estimates that of the others, which a cut then shortens as well.
DECLARE_LENGTH = {"flv", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"}


class Decoded(NamedTuple):
    """One decoded frame of pictures or sound: its exact time in s (None if it has none), and its stream."""

    time: Fraction | None
    frame: av.VideoFrame | av.AudioFrame
    stream: av.stream.Stream


@contextmanager
def clip_errors(path: Path) -> Iterator[None]:
    """Turn whatever PyAV raises into a ClipError that begins with the file's name."""
    try:
        yield
    except (av.FFmpegError, ValueError, RuntimeError, NotImplementedError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ClipError(f"{path.name}: {reason}") from error


@contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a media file.

    Raises:
        ClipError: It is missing, empty, no regular file, no media file, or a playlist of other files.
    """
    if not path.is_file():  # also keeps out named pipes, which would block
        raise ClipError(f"{path.name}: {'not a regular file' if path.exists() else 'no such file'}")
    if path.stat().st_size == 0:
        raise ClipError(f"{path.name}: the file is empty")
    with clip_errors(path):
        # `file:` and the whitelist: neither a name like "http:..." nor what the file says reaches the network.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    with container:
        if container.format.name in PLAYLISTS:
            raise ClipError(f"{path.name}: a playlist, not a clip")
        yield container


def stream_of(container: av.container.InputContainer, kind: str) -> av.stream.Stream | None:
    """The stream of a kind ("video", "audio") that FFmpeg calls the best; attached pictures are no video."""
    best = container.streams.best(kind)
    if best is not None and best.disposition & Disposition.attached_pic:
        real = (s for s in container.streams.video if not s.disposition & Disposition.attached_pic)
        return next(real, None)
    return best


def decoded(path: Path, kind: str, start: float | None) -> Iterator[Decoded]:
    """Decode a stream from its beginning, or from somewhat before `start` so that nothing after it is missed.

    Raises:
        ClipError: There is no such stream, it cannot be decoded, it is damaged, or the file is cut short.
    """
    if start is not None and start > SEEK_MARGIN:
        sought = _decoded_from(path, kind, start - SEEK_MARGIN)
        try:
            first = next(sought, None)
        except ClipError:  # the seek may have landed between key frames
            first = None
        if first is not None and first.time is not None and first.time <= start:
            yield first
            yield from sought
            return
    yield from _decoded_from(path, kind, None)


def between(start: float | None, end: float | None) -> str:
    """A segment in words, for messages."""
    return "in the file" if start is None and end is None else f"between {start} and {end} s"


def _decoded_from(path: Path, kind: str, seek: float | None) -> Iterator[Decoded]:
    """Decode a stream from the first key frame that a seek leads to, or (seek None) from its beginning."""
    with opened(path) as container, clip_errors(path):
        stream = stream_of(container, kind)
        if stream is None:
            raise ClipError(f"{path.name}: no {kind} stream")
        if stream.codec_context is None:
            raise ClipError(f"{path.name}: no decoder for the {kind} stream")
        stream.codec_context.thread_count = 1  # the callers are parallel already
        whole = seek is None
        if not whole:
            container.seek(int(seek / stream.time_base), stream=stream)
        clock = _packet_clock() if container.format.name == "avi" and kind == "video" else _presentation_clock
        for packet in _packets(container, stream, path):
            for frame in packet.decode():
                time = clock(frame)
                whole = whole or kind == "audio" or frame.key_frame
                if whole:  # else a leftover of the group of pictures that the seek cut
                    if frame.is_corrupt:
                        raise ClipError(f"{path.name}: damaged {kind} at {_second(time)}")
                    yield Decoded(time, frame, stream)


def _packets(container: av.container.InputContainer, stream: av.stream.Stream, path: Path) -> Iterator[av.Packet]:
    """A stream's packets. All streams are read, to notice a file that ends before its declared end."""
    end = -math.inf
    for packet in container.demux():
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.is_corrupt:
            raise ClipError(f"{path.name}: damaged or cut short at {end:.3f} s")
        if packet.stream_index == stream.index:
            yield packet
    if container.format.name in DECLARE_LENGTH and container.duration:
        declared = container.duration / av.time_base  # Matroska counts it from 0, so no start is added
        if end < declared - CUT_SHORT:
            raise ClipError(f"{path.name}: cut short: {declared:.3f} s declared, {end:.3f} s found")


def _presentation_clock(frame: av.VideoFrame | av.AudioFrame) -> Fraction | None:
    return None if frame.pts is None else frame.pts * frame.time_base


def _packet_clock():
    """A clock for AVI, which has no presentation times, only one tick for every packet.

    What FFmpeg puts in their place is a guess and wrong for reordered frames (H.264, packed MPEG-4). Frames come
    out of the decoder in presentation order, so each takes the tick of the packet that released it (FFmpeg's
    own fallback); those that the end of the file releases take the ticks that follow.
    """
    tick = -1

    def clock(frame: av.VideoFrame) -> Fraction:
        nonlocal tick
        tick = tick + 1 if frame.dts is None else frame.dts
        return tick * frame.time_base

    return clock


def _second(time: Fraction | None) -> str:
    return "an unknown time" if time is None else f"{float(time):.3f} s"
