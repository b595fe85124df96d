"""Open a clip's file and decode one of its streams, with checks for damage."""

import errno
import math
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.logging
from av.stream import Disposition

from deepfusion.errors import ClipError, TransientError
from deepfusion.media.limits import DEFAULT_LIMITS, Limits, named

SEEK_MARGIN = 1.0  # s decoded before a segment: covers reordered frames and the warm-up of an audio decoder
CUT_SHORT = 0.5  # s between the declared and the found end of a file from which it counts as cut

# Supported containers and elementary streams. Others could open further local files (image2, concat, hls, sdp) or take
# a text for a clip (tty, subtitles).
FORMATS = (
    "3gp,aa,aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,dtshd,dv,eac3,flac,flv,gif,gxf,h261,h263,h264,hevc,ivf,loas,m4v,"
    "matroska,mjpeg,mov,mp3,mp4,mpc,mpc8,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,oma,rm,swf,tak,truehd,tta,vc1,voc,w64,"
    "wav,webm,wtv,wv,yuv4mpegpipe"
)
# Formats that declare their length; for others FFmpeg estimates it, and a cut file merely looks shorter.
DECLARE_LENGTH = {"flv", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"}


# Formats whose clock starts anywhere (1.4 s in FFmpeg's own files, hours in a broadcast); in others it starts at 0.
FREE_CLOCK = {"mpeg", "mpegts"}
# Errors of the operating system that say nothing about a file's content; FFmpeg uses EIO for damage, too.
OF_THE_MACHINE = {errno.EACCES, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE}


class Decoded(NamedTuple):
    """One decoded frame of video or audio, and its stream.

    `time` is its exact time in s, None if it has none; `begin` the time of the file's beginning on the same clock.
    """

    time: Fraction | None
    frame: av.VideoFrame | av.AudioFrame
    stream: av.stream.Stream
    begin: Fraction


@contextmanager
def clip_errors(path: Path) -> Iterator[None]:
    """Convert any error of PyAV or the file system into a ClipError that begins with the file's name."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError, RuntimeError, NotImplementedError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        kind = TransientError if getattr(error, "errno", None) in OF_THE_MACHINE else ClipError
        raise kind(f"{path.name}: {reason}") from error


@contextmanager
def opened(path: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[av.container.InputContainer]:
    """Open a media file.

    Args:
        path: The file.
        limits: Decoders refuse larger frames, even if only the first frame is read.

    Raises:
        ClipError: It is missing, empty, not a regular file, or of no supported format (`FORMATS`).
        TransientError: The machine cannot read it; also instead of a ClipError that is raised inside the block.
    """
    try:
        with clip_errors(path):
            if not path.is_file():  # also keeps out named pipes, which would block
                raise ClipError(f"{path.name}: {'not a regular file' if path.exists() else 'no such file'}")
            if path.stat().st_size == 0:
                raise ClipError(f"{path.name}: the file is empty")
            # `file:` and the whitelist: neither a name like "http:..." nor the file's content can reach the network.
            options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
            try:
                container = av.open(f"file:{path}", options=options | _bounds(limits))
            except av.ArgumentError as error:  # FFmpeg knows the format, but the whitelist excludes it
                raise ClipError(f"{path.name}: not an audio or video file of a format that is read") from error
        with container:
            yield container
    except TransientError:
        raise
    except ClipError:
        _check_readable(path)
        raise


def _check_readable(path: Path) -> None:
    """Check that the machine can read a file to its end: FFmpeg takes a failing disk for damage or an early end.

    Raises:
        TransientError: It cannot.
    """
    try:
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 20):
                    pass
    except OSError as error:
        raise TransientError(f"{path.name}: {error.strerror}") from error


def _bounds(limits: Limits) -> dict[str, str]:
    """Options of FFmpeg's decoders."""
    return {"max_pixels": str(limits.pixels)}


def stream_of(container: av.container.InputContainer, kind: str) -> av.stream.Stream | None:
    """The best stream of a kind ("video", "audio") according to FFmpeg; cover art is not video."""
    best = container.streams.best(kind)
    if best is not None and best.disposition & Disposition.attached_pic:
        real = (s for s in container.streams.video if not s.disposition & Disposition.attached_pic)
        return next(real, None)
    return best


def decoded(
    path: Path, kind: str, start: float | None, limits: Limits = DEFAULT_LIMITS
) -> Generator[Decoded, None, None]:
    """Decode a stream from its beginning, or from a little before `start`, so that nothing after it is missed.

    `start` counts from the beginning of the file.

    Raises:
        ClipError: There is no such stream, it cannot be decoded, it is damaged, or the file is cut short.
    """
    if start is not None and start > SEEK_MARGIN:
        sought = _decoded_from(path, kind, start - SEEK_MARGIN, limits)
        try:
            first = next(sought, None)
        except ClipError:  # the seek may have landed between key frames
            first = None
        if first is not None and first.time is not None and first.time - first.begin <= start:
            yield first
            yield from sought
            return
    yield from _decoded_from(path, kind, None, limits)


def beginning(container: av.container.InputContainer) -> Fraction:
    """Time of a file's beginning on its own clock, s: segments count from it, as in players and annotation tools."""
    if container.format.name not in FREE_CLOCK or container.start_time is None:
        return Fraction(0)
    first = Fraction(container.start_time, av.time_base)  # rounded: the exact time is that of a stream
    starts = [s.start_time * s.time_base for s in container.streams if s.start_time is not None]
    return max(Fraction(0), min(starts, key=lambda start: abs(start - first), default=first))


def between(start: float | None, end: float | None) -> str:
    """A segment in words, for messages."""
    return "in the file" if start is None and end is None else f"between {start} and {end} s"


def _decoded_from(path: Path, kind: str, seek: float | None, limits: Limits) -> Generator[Decoded, None, None]:
    """Decode a stream from the first key frame that a seek leads to, or (seek None) from its beginning."""
    with opened(path, limits) as container, clip_errors(path), _large_frames(path, kind, limits):
        stream = stream_of(container, kind)
        if stream is None:
            raise ClipError(f"{path.name}: no {kind} stream")
        if stream.codec_context is None:
            raise ClipError(f"{path.name}: no decoder for the {kind} stream")
        stream.codec_context.thread_count = 1  # the callers are parallel already
        stream.codec_context.options = _bounds(limits)
        whole, begin = seek is None, beginning(container)
        if seek is not None:
            container.seek(int((seek + begin) / stream.time_base), stream=stream)
        clock = _packet_clock() if container.format.name == "avi" and kind == "video" else _presentation_clock
        for packet in _packets(container, stream, path):
            for frame in packet.decode():
                time = clock(frame)
                whole = whole or kind == "audio" or frame.key_frame
                if whole:  # else a remainder of the group of pictures that the seek cut
                    if frame.is_corrupt:
                        raise ClipError(f"{path.name}: damaged {kind} at {_second(time)}")
                    yield Decoded(time, frame, stream, begin)


@contextmanager
def _large_frames(path: Path, kind: str, limits: Limits) -> Iterator[None]:
    """Report that frames are too large, where FFmpeg reports "Invalid argument"."""
    try:
        yield
    except av.ArgumentError as error:
        level, skip = av.logging.get_level(), av.logging.get_skip_repeated()
        av.logging.set_level(av.logging.ERROR)
        av.logging.set_skip_repeated(False)
        try:
            with av.logging.Capture() as messages, suppress(av.FFmpegError), opened(path, limits) as container:
                stream: Any = stream_of(container, kind)
                stream.codec_context.options = _bounds(limits)
                for _ in container.decode(stream):
                    pass
        finally:
            av.logging.set_level(level)
            av.logging.set_skip_repeated(skip)
        large = next((text for _, _, text in messages if "max pixel count" in text), None)
        if large is None:
            raise
        width, height = re.findall(r"(\d+)x(\d+)", large)[0]
        raise ClipError(
            f"{path.name}: a frame of {width} x {height} px is over the limit of {limits.pixels} px "
            f"{named('pixels', limits.pixels)}"
        ) from error


def _packets(container: av.container.InputContainer, stream: av.stream.Stream, path: Path) -> Iterator[av.Packet]:
    """A stream's packets. All streams are read, to notice a file that ends before its declared end.

    The last packet, which flushes the decoder, is empty and has no times.
    """
    end = -math.inf
    cut = ""  # a damaged packet of another stream, until a packet of this one follows
    for packet in container.demux():
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        own = packet.stream.index == stream.index  # not packet.stream_index, which is 0 in a stream's last packet
        if packet.is_corrupt:
            cut = f"{path.name}: damaged or cut short at {end:.3f} s"
            if own:
                raise ClipError(cut)
        elif own and packet.size:
            cut = ""
        if own:
            yield packet
            if not packet.size and packet.pts is None and packet.dts is None:
                break  # after it PyAV fails at a stream that appeared late in the file
    if cut:
        raise ClipError(cut)
    if container.format.name in DECLARE_LENGTH and container.duration:
        declared = container.duration / av.time_base  # Matroska counts it from 0, so no start is added
        if end < declared - CUT_SHORT:
            raise ClipError(f"{path.name}: cut short: {declared:.3f} s declared, {max(end, 0.0):.3f} s found")


def _presentation_clock(frame: av.VideoFrame | av.AudioFrame) -> Fraction | None:
    return None if frame.pts is None else frame.pts * frame.time_base


def _packet_clock():
    """A clock for AVI, which has no presentation times, only one tick per packet.

    FFmpeg guesses the times, wrongly for reordered frames (H.264, packed MPEG-4). Frames leave the decoder in
    presentation order, so each gets the tick of the packet that released it (FFmpeg's own fallback); frames released
    by the end of the file get the following ticks.
    """
    tick = -1

    def clock(frame: av.VideoFrame) -> Fraction:
        nonlocal tick
        tick = tick + 1 if frame.dts is None else frame.dts
        return tick * frame.time_base

    return clock


def _second(time: Fraction | None) -> str:
    return "an unknown time" if time is None else f"{float(time):.3f} s"
