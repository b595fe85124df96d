"""Find the followed person's face in a frame: by dlib's detector, or by YuNet where dlib finds none."""

from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from deepfusion.faces.detect import Detection
from deepfusion.faces.face_track import Source
from deepfusion.faces.fast.local_detector import SAME_FACE, NearDetector, Sighting, shared
from deepfusion.faces.tracker import Person, continuation, most_prominent, overlap, pick, prominence
from deepfusion.faces.yunet import (
    CROP_SIDE,
    FINE_CROP_SIDE,
    FINE_FRAME_SIDE,
    FRAME_SIDE,
    REACH,
    Seen,
    YuNet,
    misalignment,
    roll,
)

F = TypeVar("F", Seen, Sighting)

# First search: between frames a face moves by less than a third of its size, and its size changes by less than 1.2.
CLOSE = {"reach": 3, "levels": 1}
FAR = 0.15  # share of its width by which a face may move without a second search
# Second search, before the face counts as lost: covers every box that could overlap the last face by 0.3.
WIDE = {"reach": 7, "levels": 3}

PROPOSED = 0.5  # least score of YuNet's in the reduced frame for a second search at a larger scale
CHOOSING = 0.7  # and at that scale, to choose a person; at both scales, to count other faces
SURE = 0.85  # score of YuNet's from which it chooses alone; below it, dlib's landmarks must fit its points:
FITTING = 0.2  # misalignment at most
# The same in the fine searches: of the whole frame, and around the face to choose it alone.
FINE_PROPOSED, FINE_CHOOSING = 0.6, 0.75
# Reach of one more search around it, in which the score must be `CHOOSING` as well: that of a lamp or a wheel changes.
WIDER, FINE_WIDER = 2.7, 3.0
AGREEING = 0.3  # least score of YuNet's for a weak face of dlib's
AGREED = -1.0  # least score of dlib's for a box that YuNet confirms: its landmarks fit better than those in YuNet's box
GOOD = 0.25  # misalignment of a frontal face at most
TOUCHING = 0.2  # intersection over union of YuNet's box with the last one's that may be the same person's


class Picture(NamedTuple):
    """A frame: (H, W, 3) uint8 RGB for YuNet, and its grey image, (H, W) uint8, for dlib's detector."""

    rgb: np.ndarray
    grey: np.ndarray


def picture_of(rgb: np.ndarray) -> Picture:
    """Prepare a frame for the search."""
    # Grey of the RGB image, as in `follow`, not the file's luma: they differ by one grey level, and that moves the
    # landmarks.
    return Picture(rgb, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


class Finder:
    """Searches frames for faces, by dlib's detector and by YuNet.

    Args:
        detector: dlib's.
        yunet: YuNet; None: dlib's detector alone.
        min_overlap: As `tracker.follow`.
        weak_threshold: Least score of dlib's for a face next to the last one that YuNet does not see.
        yunet_threshold: Least score of YuNet's for a face next to the last one.
        max_misalignment: Above this `yunet.misalignment`, YuNet searches again at the fine scale.
    """

    def __init__(
        self,
        detector: NearDetector,
        yunet: YuNet | None = None,
        *,
        min_overlap: float = 0.3,
        weak_threshold: float = 0.0,
        yunet_threshold: float = 0.4,
        max_misalignment: float = 0.4,
    ) -> None:
        self._detector, self._yunet = detector, yunet
        self._min_overlap, self._weak_threshold, self._yunet_threshold = min_overlap, weak_threshold, yunet_threshold
        self._max_misalignment = max_misalignment
        self._least = min(detector.threshold, weak_threshold if yunet is None else AGREED)

    def around(self, picture: Picture, last: Detection, *, in_view: bool) -> Detection | None:
        """Find the face that continues the last one, by a search around it.

        dlib's detector runs first, at its usual threshold. If it finds no face, YuNet searches the same part of the
        frame, which is cheap; if YuNet sees the face, dlib's box is accepted even at a low score. If it does not see
        the face, or the landmarks do not fit its points, it searches again at the fine scale, where it sees more and
        its points are more accurate. The last resort is a weak face of dlib's that YuNet does not see: its `alignment`
        is NaN.

        Args:
            picture: The frame.
            last: The face seen last.
            in_view: Whether it was in the previous frame.
        """
        weak: list[Sighting] = []
        if in_view and last.source != Source.YUNET:
            face, weak = self._by_dlib(picture, last.box, last, CLOSE)
            if face is not None:
                return face
        best = None
        for side in () if self._yunet is None else (CROP_SIDE, FINE_CROP_SIDE):
            face = self._by_yunet(picture, last, best or last, weak, side)
            if face is not None and (best is None or face.source == Source.DLIB or face.alignment < best.alignment):
                best = face
            if best is not None and (best.source == Source.DLIB or best.alignment <= self._max_misalignment):
                break
        if best is not None:
            return best
        face, weak = self._by_dlib(picture, last.box, last, WIDE)
        weak = [other for other in weak if other.score >= self._weak_threshold]
        return face or self._continuing(picture, weak, last)

    def person(self, picture: Picture, person: Person) -> tuple[Detection | None, list[Sighting]]:
        """Choose whom to follow by a search of the whole frame; also returns all faces that it found.

        YuNet runs first, because it is cheaper. If it finds no face, dlib's detector runs. If that finds none, YuNet
        searches at the fine scale.

        Args:
            picture: The frame.
            person: See `tracker.pick`.
        """
        face, found = self._chosen(picture, person, FRAME_SIDE)
        if face is not None:
            return face, found
        if person == "":
            best, found = self._most_prominent(picture)
        else:
            found = self._detector.detect_full(picture.grey)
            best = pick(found, person, picture.grey)
        if best is not None:
            return self._detector.detection(picture.grey, best), found
        face, fine = self._chosen(picture, person, FINE_FRAME_SIDE)
        return face, found if face is None else fine

    def _chosen(self, picture: Picture, person: Person, side: int) -> tuple[Detection | None, list[Sighting]]:
        """The person by YuNet's search of the whole frame, reduced to `side` px, and all faces that it found."""
        found = self._seen(picture, FINE_PROPOSED if side == FINE_FRAME_SIDE else PROPOSED, side)
        while (best := pick(found, person, picture.grey)) is not None:
            face = self._confirmed(picture, best, fine=side == FINE_FRAME_SIDE)
            found = [other for other in found if other is not best]
            if face is not None:
                others = [other for other in found if other.score >= CHOOSING]
                return face, [best, *self._agreed(picture, others)]
        return None, []

    def everybody(self, picture: Picture, least: float) -> list[Sighting]:
        """All faces of a frame: YuNet's, or without it dlib's from a width of about `least` px."""
        if self._yunet is not None:
            return self._agreed(picture, self._seen(picture, CHOOSING, FRAME_SIDE))
        return self._detector.detect_full(picture.grey, self._coarsest(least))

    def _by_yunet(
        self, picture: Picture, last: Detection, where: Detection, weak: list[Sighting], side: int
    ) -> Detection | None:
        """The face that continues the last one, if YuNet sees it.

        Args:
            picture: The frame.
            last: The face seen last.
            where: The part around this face is searched.
            weak: Weak faces of dlib's around the last one.
            side: The part is scaled to this, px.
        """
        near = [seen for seen in self._yunet.near(picture.rgb, where.box, side) if seen.score >= AGREEING]
        seen = _nearest(near, last.box, TOUCHING)
        if seen is None:
            return None
        if not weak or np.abs(seen.box - last.box).max() > FAR * (last.box[2] - last.box[0]):
            face, weak = self._by_dlib(picture, seen.box, last, CLOSE)
            if face is not None:
                return self._measured(face, seen)
        if seen.score < self._yunet_threshold and _nearest(weak, seen.box, SAME_FACE) is None:
            return None
        face = self._by_both(picture, seen, weak)
        return face if overlap(face.landmarks, last.landmarks) >= self._min_overlap else None

    def _by_dlib(
        self, picture: Picture, box: np.ndarray, last: Detection, where: dict[str, int]
    ) -> tuple[Detection | None, list[Sighting]]:
        """The face around a box that continues the last one, and those that are too weak to do so."""
        found = self._detector.detect_local(picture.grey, box, **where, threshold=self._least)
        face = self._continuing(picture, self._strong(found), last)
        if face is not None and np.abs(face.box - box).max() > FAR * (box[2] - box[0]):
            # Near the edge of the searched part, a full search sees more and might prefer another box.
            again = self._detector.detect_local(picture.grey, face.box, **CLOSE)
            face = self._continuing(picture, again, last) or face
        return face, [other for other in found if other.score < self._detector.threshold]

    def _strong(self, found: list[Sighting]) -> list[Sighting]:
        return [face for face in found if face.score >= self._detector.threshold]

    def _continuing(self, picture: Picture, found: list[Sighting], last: Detection) -> Detection | None:
        """The face that continues the last one. Faces whose boxes do not touch the last box need no landmarks."""
        touching = [
            face for face in found if (face.box[:2] < last.box[2:]).all() and (face.box[2:] > last.box[:2]).all()
        ]
        return continuation(
            [self._detector.detection(picture.grey, face) for face in touching], last, self._min_overlap
        )

    def _by_both(self, picture: Picture, seen: Seen, weak: list[Sighting]) -> Detection:
        """The face that YuNet sees, with dlib's weak box or YuNet's, whichever has better fitting landmarks."""
        faces = []
        for box in (_nearest(weak, seen.box, SAME_FACE), _sighting(seen)):
            if box is not None:
                faces.append(self._measured(self._detector.detection(picture.grey, box), seen))
                if faces[-1].alignment <= GOOD:
                    return faces[-1]
        faces.append(self._measured(self._upright(picture, seen), seen))
        return min(faces, key=lambda face: face.alignment)

    def _upright(self, picture: Picture, seen: Seen) -> Detection:
        """The face that YuNet sees, its landmarks found in the image rotated by the roll of YuNet's points.

        dlib's predictor was trained on faces with little roll.
        """
        side = float(seen.box[2] - seen.box[0] + 1)
        centre = (seen.box[:2] + seen.box[2:]).astype(np.float64) / 2
        to_patch = cv2.getRotationMatrix2D(centre, roll(seen.points), 1.0)
        to_patch[:, 2] += side - centre
        size = 2 * round(side)
        patch = cv2.warpAffine(picture.grey, to_patch, (size, size), flags=cv2.INTER_LINEAR)
        low = np.round(side / 2)
        box = np.array([low, low, low + round(side) - 1, low + round(side) - 1], np.float32)
        found = self._detector.detection(patch, Sighting(box, seen.score, Source.YUNET))
        points = cv2.transform(found.landmarks[None], cv2.invertAffineTransform(to_patch))[0]
        return found._replace(box=seen.box, landmarks=points.astype(np.float32))

    def _measured(self, face: Detection, seen: Seen) -> Detection:
        return face._replace(alignment=misalignment(face.landmarks, seen.points, face.box))

    def _seen(self, picture: Picture, least: float, side: int) -> list[Sighting]:
        """The faces that YuNet sees in the whole frame, reduced to `side` px."""
        if self._yunet is None:
            return []
        return [_sighting(seen) for seen in self._yunet.in_frame(picture.rgb, side) if seen.score >= least]

    def _confirmed(self, picture: Picture, face: Sighting, *, fine: bool) -> Detection | None:
        """Search again around a face of a whole frame's search; None if it is not found again.

        Args:
            picture: The frame.
            face: The face.
            fine: Whether YuNet may confirm it at the fine scale.
        """
        seen = self._near(picture, face.box, CHOOSING)
        found = self._detector.detect_local(picture.grey, (seen or face).box, reach=4, levels=2, threshold=self._least)
        strong = _nearest(self._strong(found), (seen or face).box, SAME_FACE)
        if strong is not None:
            strong = self._detector.detection(picture.grey, strong)
            return strong if seen is None else self._measured(strong, seen)
        if seen is not None and self._near(picture, face.box, CHOOSING, reach=WIDER) is not None:
            both = self._by_both(picture, seen, found)
            if seen.score >= SURE or both.alignment <= FITTING:
                return both
        if not fine:
            return None
        seen = self._near(picture, face.box, FINE_CHOOSING, FINE_CROP_SIDE)
        if seen is None or self._near(picture, face.box, CHOOSING, FINE_CROP_SIDE, FINE_WIDER) is None:
            return None
        return self._by_both(picture, seen, found)

    def _near(
        self, picture: Picture, box: np.ndarray, least: float, side: int = CROP_SIDE, reach: float = REACH
    ) -> Seen | None:
        """The face that YuNet sees in a box, by a search around it."""
        seen = [seen for seen in self._yunet.near(picture.rgb, box, side, reach) if seen.score >= least]
        return _nearest(seen, box, SAME_FACE)

    def _agreed(self, picture: Picture, found: list[Sighting]) -> list[Sighting]:
        """The faces of the reduced frame that YuNet confirms at a larger scale; this rejects text and fur."""
        return [face for face in found if self._near(picture, face.box, CHOOSING) is not None]

    def _most_prominent(self, picture: Picture) -> tuple[Sighting | None, list[Sighting]]:
        """The most prominent face by dlib's detector, and all faces found before the search ended.

        The search goes from coarse to fine, and ends once no smaller face could be more prominent.
        """
        height, width = picture.grey.shape
        for coarser in range(self._coarsest(min(height, width) / 3), -1, -1):
            found = self._detector.detect_full(picture.grey, coarser)
            best = most_prominent(found, picture.grey)
            bound = self._detector.smallest(coarser) / np.sqrt(height * width)
            if best is not None and prominence(best.box, width, height) >= bound and coarser:
                best = self._detector.refined(picture.grey, best)
                if best is not None:
                    break
        return best, found

    def _coarsest(self, side: float) -> int:
        """The coarsest search that finds faces as small as `side` px."""
        coarser = 0
        while self._detector.smallest(coarser + 1) <= side:
            coarser += 1
        return coarser


def _sighting(seen: Seen) -> Sighting:
    return Sighting(seen.box, seen.score, Source.YUNET)


def _nearest(found: list[F], box: np.ndarray, least: float) -> F | None:
    """The face that overlaps a box most, if by more than `least` (intersection over union)."""
    best = max(found, key=lambda face: shared(face.box, box), default=None)
    return best if best is not None and shared(best.box, box) > least else None
