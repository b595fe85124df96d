"""Thumbnails of frames of a clip, for reports."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import cv2
import numpy as np

from deepfusion import media
from deepfusion.config import DEFAULT_LIMITS
from deepfusion.errors import ClipError
from deepfusion.extract.workers import Work, Workers

# Seek between frames that are further apart than this; decode through shorter gaps.
NEAR_S = 20.0
ROUNDING_S = 0.001  # a presentation time less the file's beginning may be rounded up


def pictures_job(job: tuple[str, Sequence[float], int], *, limits: media.Limits) -> Iterator[tuple[float, np.ndarray]]:
    """The frames of a video at some times.

    Args:
        job: Path, presentation times in rising order (s), longest side of a picture (px).
        limits: Limits of the file.

    Yields:
        (time, (h, w, 3) uint8 RGB), those that are found.

    Raises:
        ClipError: The file cannot be read.
    """
    path, times, size = job
    begin = media.probe_video(path, limits).begin
    for near in _neighbours(times):
        wanted = list(near)
        for time, image in media.frames(path, start=near[0] - begin - ROUNDING_S, limits=limits):
            while wanted and wanted[0] < time:
                wanted.pop(0)  # there is no frame of this time
            if wanted and wanted[0] == time:
                yield time, shrunk(image, size)
                wanted.pop(0)
            if not wanted:
                break


def _neighbours(times: Sequence[float]) -> Iterator[list[float]]:
    group: list[float] = []
    for time in times:
        if group and time - group[-1] > NEAR_S:
            yield group
            group = []
        group.append(time)
    if group:
        yield group


def shrunk(image: np.ndarray, size: int) -> np.ndarray:
    """The picture with a longest side of `size` px; a smaller one as it is."""
    scale = size / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def face_of(image: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """The face in a picture with a margin; black outside the picture.

    Args:
        image: (h, w, 3) uint8 RGB.
        box: (4,) left, top, right, bottom in px of it.
        size: Largest side, px; a smaller face is not enlarged.

    Returns:
        (side, side, 3) uint8 RGB.
    """
    middle, side = (box[:2] + box[2:]) / 2, float(max(box[2:] - box[:2])) * 1.5
    zoom = min(size / side, 1.0)
    matrix = np.array([[zoom, 0, side * zoom / 2 - zoom * middle[0]], [0, zoom, side * zoom / 2 - zoom * middle[1]]])
    side = max(1, round(side * zoom))
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_AREA)


def read_pictures(clip: Any, times: Sequence[float], size: int) -> dict[float, np.ndarray]:
    """Some frames of a clip, read in a process of its own.

    Args:
        clip: Has a `path`.
        times: Presentation times of the frames, s.
        size: Longest side, px.

    Returns:
        time -> (h, w, 3) uint8 RGB; frames that cannot be read are missing.
    """
    with Workers(begin, limits=DEFAULT_LIMITS) as processes:
        return received(processes.stream((clip.path, sorted(times), size)))


def received(stream: Iterator[tuple[float, np.ndarray]]) -> dict[float, np.ndarray]:
    """The results of `pictures_job` up to an error, as of a replaced file: a page can lack pictures."""
    found = {}
    with suppress(ClipError):
        found.update(stream)
    return found


def begin() -> Work:
    """The work of a process of `Workers` that reads pictures."""
    return partial(pictures_job, limits=media.DEFAULT_LIMITS)
