"""Follow one person through the frames of a clip."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import cv2
import numpy as np

from deepfusion.faces.detect import Detection
from deepfusion.faces.face_track import Choice, Found, Reason, Row
from deepfusion.media import Frame

# "", "largest", "left", "right", "left-half", "right-half" or a box.
Person = str | tuple[float, float, float, float]
F = TypeVar("F")

NO_BOX = np.full(4, np.nan, np.float32)
NO_LANDMARKS = np.full((68, 2), np.nan, np.float32)


def follow(
    frames: Iterable[Frame],
    detector: Callable[[np.ndarray], list[Detection]],
    *,
    max_gap: float = 1.0,
    min_overlap: float = 0.3,
    cut_difference: float = 0.3,
    person: Person = "",
) -> Iterator[Row]:
    """One row per frame: the followed person's face, or why there is none.

    The person is the most prominent face of the first frame that has any. After that, only a face that overlaps the
    one seen last is that person's, until a cut, or until the person has not been seen for `max_gap`: then the most
    prominent face is chosen again. Only the last face and a thumbnail are kept, however long the clip.

    Args:
        frames: In presentation order.
        detector: Gives the faces of an image in its pixel coordinates.
        max_gap: Seconds without the person after which a person is chosen again. Long enough for a turned head or a
            hand before the face; short enough to lose little where the person has moved away unseen.
        min_overlap: Least `overlap` with the face seen last. Positions half a face apart overlap by 0.3; neighbours
            overlap less, and a speaking person far more from frame to frame.
        cut_difference: Least `difference` of two successive frames that counts as a cut. Within a shot it stays near
            0, unrelated images are near 1, dark ones too; a very fast pan may count as a cut. Dissolves are not
            detected; the gap and the overlap must handle them.
        person: Which person to choose, see `pick`.
    """
    last: Detection | None = None  # None: a person is to be chosen, for the reason `new`
    new = Choice.FIRST
    seen = -np.inf
    thumb = shape = None
    for time, image in frames:
        if last is not None and image.shape != shape:
            last = resized(last, shape, image.shape)
        shape = image.shape
        before, thumb = thumb, thumbnail(image)
        if last is not None and difference(before, thumb) >= cut_difference:
            last, new = None, Choice.AFTER_CUT
        elif last is not None and time - seen > max_gap:
            last, new = None, Choice.AFTER_GAP
        found = detector(image)
        face = pick(found, person, image) if last is None else continuation(found, last, min_overlap)
        faces = min(len(found), 255)
        table = tuple(Found(time, other.box, other.score, other.source) for other in found)
        if face is None:
            reason = Reason.OTHER_PERSON if found else Reason.NO_FACE
            yield Row(time, NO_BOX, NO_LANDMARKS, np.nan, reason, Choice.NONE, faces, found=table)
        else:
            choice = new if last is None else Choice.CONTINUED
            last, seen = face, time
            yield Row(time, face.box, face.landmarks, face.score, Reason.FACE, choice, faces, face.source, found=table)


def resized(face: Detection, before: tuple[int, ...], now: tuple[int, ...]) -> Detection:
    """The same face where the frame's size changes within a stream, as in video calls on a poor connection.

    Args:
        face: In px of a frame of the shape `before`.
        before: Shape of that frame: height, width, and any further axes.
        now: Likewise, of the next frame.
    """
    scale = np.array([now[1] / before[1], now[0] / before[0]], np.float32)
    low, high = face.box[:2] * scale, (face.box[2:] + 1) * scale - 1  # the last pixels are inclusive
    return face._replace(box=np.concatenate([low, high]), landmarks=(face.landmarks + 0.5) * scale - 0.5)


def pick(found: list[F], person: Person, image: np.ndarray) -> F | None:
    """Choose whom to follow among the faces of an image.

    Args:
        found: Faces with a `box`.
        person: "": the most prominent. "largest", "left", "right": by box, "left" as seen in the image. "left-half",
            "right-half": the most prominent of those whose middle is there. A box (left,
            top, right, bottom) in px: the face that overlaps it most, if any does.
        image: The image.
    """
    if isinstance(person, tuple):
        place = np.array(person, np.float64)
        return max(
            (face for face in found if _common(face.box, place)),
            key=lambda face: _common(face.box, place),
            default=None,
        )
    width = image.shape[1]
    match person:
        case "left-half":
            found = [face for face in found if face.box[0] + face.box[2] + 1 < width]
        case "right-half":
            found = [face for face in found if face.box[0] + face.box[2] + 1 >= width]
        case "largest":
            return max(found, key=lambda face: np.prod(face.box[2:] - face.box[:2] + 1), default=None)
        case "left":
            return min(found, key=lambda face: face.box[0] + face.box[2], default=None)
        case "right":
            return max(found, key=lambda face: face.box[0] + face.box[2], default=None)
    return most_prominent(found, image)


def _common(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + 1, 0)
    areas = np.prod(a[2:] - a[:2] + 1) + np.prod(b[2:] - b[:2] + 1)
    return float(np.prod(sides) / (areas - np.prod(sides)))


def most_prominent(found: list[Detection], image: np.ndarray) -> Detection | None:
    """The face with the highest `prominence` in the image; None if there is none."""
    height, width = image.shape[:2]
    return max(found, key=lambda face: prominence(face.box, width, height), default=None)


def prominence(box: np.ndarray, width: int, height: int) -> float:
    """How large and central a face is: sqrt(box area / frame area) * (1 - d).

    d is the distance of the box's centre from the frame's, 0 in the middle and 1 in a corner.
    """
    left, top, right, bottom = box
    size = np.sqrt((right - left + 1) * (bottom - top + 1) / (width * height))
    away = np.hypot(left + right + 1 - width, top + bottom + 1 - height) / np.hypot(width, height)
    return float(size * (1 - away))


def continuation(found: list[Detection], last: Detection, min_overlap: float) -> Detection | None:
    """The face that overlaps the last one most, if by `min_overlap` at least."""
    overlaps = [overlap(face.landmarks, last.landmarks) for face in found]
    best = int(np.argmax(overlaps)) if overlaps else -1
    return found[best] if best >= 0 and overlaps[best] >= min_overlap else None


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of the bounding boxes of two sets of landmarks, (68, 2) each.

    Landmarks, because the detector's boxes jump by the steps of its image pyramid even if a face does not move.
    """
    low = np.maximum(a.min(0), b.min(0))
    high = np.minimum(a.max(0), b.max(0))
    common = np.prod(np.maximum(high - low, 0))
    return float(common / (np.prod(np.ptp(a, 0)) + np.prod(np.ptp(b, 0)) - common))


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(32, 32) float32, 0..1, of an (H, W, 3) RGB or (H, W) grey image, to detect cuts."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    while min(grey.shape) >= 128:  # halving is far cheaper than the means of odd areas, and as good here
        grey = cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Difference of two thumbnails, regardless of brightness: 0 equal, about 1 unrelated.

    The variance of their difference over the sum of their variances, so that a cut in a dark scene counts
    like one in a bright scene. Two black frames are alike.
    """
    noise = 1e-4  # (2.5 grey levels of 255)^2: less contrast than that counts as black
    return float(np.var(a - b) / (np.var(a) + np.var(b) + noise))
