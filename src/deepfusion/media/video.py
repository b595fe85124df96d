"""A clip's frames: upright, square pixels, RGB."""

import math
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorPrimaries, ColorTrc, VideoReformatter

from deepfusion.errors import ClipError
from deepfusion.media.container import between, clip_errors, decoded
from deepfusion.media.limits import DEFAULT_LIMITS, Limits, named

# Transfer functions of HDR video: PQ (HDR10, Dolby Vision) and HLG (broadcasts, phones).
HDR = {ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67}
RGB: dict[str, Any] = {"format": "rgb24", "threads": 1}
_local = threading.local()


class Frame(NamedTuple):
    """One video frame: `time` in s, `image` (H, W, 3) uint8 RGB, upright, pixels square."""

    time: float
    image: np.ndarray


class Orientation(NamedTuple):
    """Operations that make a stored frame upright: first swap the axes, then mirror along x and along y."""

    swap: bool
    mirror_x: bool
    mirror_y: bool

    @property
    def rotation(self) -> int:
        """Degrees clockwise: 0, 90, 180 or 270. A frame may also be mirrored."""
        return (90 if self.mirror_x else 270) if self.swap else (180 if self.mirror_y else 0)


def frames(
    path: str | Path, *, start: float | None = None, end: float | None = None, limits: Limits = DEFAULT_LIMITS
) -> Iterator[Frame]:
    """Stream a clip's frames in presentation order, from start to before end; None leaves that side open.

    `start` and `end` count from the beginning of the file, s; times are on the file's clock. Times increase
    strictly: of frames with the same time only the first is yielded. Pixels become square by enlarging the shorter
    side (720x576 with pixels 16:15 becomes 768x576). Both fields of an interlaced frame stay woven. HDR (PQ, HLG)
    is converted to SDR. Memory does not grow with the clip's length.

    Raises:
        ClipError: No video stream, damage, a frame without a time or over the limit, or no frame in the segment.
    """
    path = Path(path)
    reformatter = VideoReformatter()
    orientation = None
    last = -math.inf
    for exact, frame, stream, begin in decoded(path, "video", start, limits):
        if exact is None:
            raise ClipError(f"{path.name}: a frame has no presentation time")
        time = float(exact)
        if time < last:
            raise ClipError(f"{path.name}: the frames' times run backwards, {last:.3f} to {time:.3f} s")
        position = float(exact - begin)
        if end is not None and position >= end:
            break
        if time > last and (start is None or position >= start):
            orientation = orientation or orientation_of(frame)
            with clip_errors(path):
                size = square_pixels(frame.width, frame.height, stream.sample_aspect_ratio)
                if size[0] * size[1] > limits.pixels:
                    raise ValueError(
                        f"a frame of {size[0]} x {size[1]} px is over the limit of {limits.pixels} px "
                        f"{named('pixels', limits.pixels)}"
                    )
                rgb = _from_hdr(frame, size) if frame.color_trc in HDR else reformatter.reformat(frame, *size, **RGB)
                image = _turn(rgb.to_ndarray(), orientation)
            yield Frame(time, image)
        last = time
    if orientation is None:
        raise ClipError(f"{path.name}: no frame {between(start, end)}")


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """The quarter turn (and mirroring) nearest to a frame's display matrix: x' = a x + c y, y' = b x + d y."""
    data = frame.side_data.get(SideData.DISPLAYMATRIX)
    if data is None:
        return Orientation(False, False, False)
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    return Orientation(True, c < 0, b < 0) if abs(b) > abs(a) else Orientation(False, a < 0, d < 0)


def square_pixels(width: int, height: int, shape: Fraction | None) -> tuple[int, int]:
    """Size of a frame with square pixels (shape = a pixel's width / height); no side shrinks.

    Raises:
        ValueError: A shape that no camera makes.
    """
    ratio = float(shape or 1)
    if not 1 / 4 <= ratio <= 4:
        raise ValueError(f"pixels {ratio:g} times as wide as high: damaged header")
    if abs(ratio - 1) < 0.01:  # a header rounded by a crop; resampling would only blur
        return width, height
    return (round(width * ratio), height) if ratio > 1 else (width, round(height / ratio))


def _from_hdr(frame: av.VideoFrame, size: tuple[int, int]) -> av.VideoFrame:
    """An HDR frame as RGB in the colours of SDR video, on which the networks were trained: tone-mapped, gamut reduced.

    One reformatter per thread, because it needs seconds for its tables.
    """
    if not hasattr(_local, "reformatter"):
        _local.reformatter = VideoReformatter()
    sdr = {"dst_color_trc": ColorTrc.BT709, "dst_color_primaries": ColorPrimaries.BT709}
    return _local.reformatter.reformat(frame, *size, **RGB, **sdr)


def _turn(image: np.ndarray, orientation: Orientation) -> np.ndarray:
    """Make a stored image (H, W, 3) upright."""
    if orientation.swap:
        image = image.transpose(1, 0, 2)
    y = -1 if orientation.mirror_y else 1
    x = -1 if orientation.mirror_x else 1
    return np.ascontiguousarray(image[::y, ::x])
