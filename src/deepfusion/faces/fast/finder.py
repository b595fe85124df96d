"""Where the followed person's face is in a frame: by dlib's detector, or by YuNet where dlib finds none."""

from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from deepfusion.faces.detect import Detection
from deepfusion.faces.face_track import Source
from deepfusion.faces.fast.local_detector import SAME_FACE, NearDetector, Sighting, shared
from deepfusion.faces.tracker import Person, continuation, most_prominent, overlap, pick, prominence
from deepfusion.faces.yunet import Seen, YuNet, misalignment, roll

F = TypeVar("F", Seen, Sighting)

# Where a face is searched first: since the frame before, it has moved by less than a third of itself, and has grown
# or shrunk by less than 1.2.
CLOSE = {"reach": 3, "levels": 1}
FAR = 0.15  # of its width, by which a face may have moved without a second look
# And where else before it counts as gone: all that could share 0.3 of its area with the face seen last.
WIDE = {"reach": 7, "levels": 3}

PROPOSED = 0.5  # least score of YuNet's in the reduced frame for a second search at a larger scale
CHOOSING = 0.7  # and there, for a person to be chosen; at both scales for others to be counted
SURE = 0.85  # score of YuNet's from which it chooses alone; below, dlib's landmarks must fit its points:
FITTING = 0.2  # misalignment at most
SECOND = 0.5  # least score of YuNet's for a person to be chosen by a weak face of dlib's
AGREEING = 0.3  # least score of YuNet's for a weak face of dlib's
AGREED = -1.0  # least score of dlib's for a box that YuNet agrees with: its landmarks fit better than those in YuNet's
GOOD = 0.25  # misalignment of a frontal face at most
TOUCHING = 0.2  # intersection over union of YuNet's box with the last one's that may be the same person's


class Picture(NamedTuple):
    """A frame: (H, W, 3) uint8 RGB for YuNet, and the grey of it, (H, W) uint8, for dlib's detector."""

    rgb: np.ndarray
    grey: np.ndarray


def picture_of(rgb: np.ndarray) -> Picture:
    """A frame for the search."""
    # The grey of the RGB picture, as `follow` has it, not the file's luma: a grey level more or less, which is all that
    # they differ by, moves the landmarks.
    return Picture(rgb, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


class Finder:
    """Searches frames for faces, by dlib's detector and by YuNet.

    Args:
        detector: dlib's.
        yunet: None: dlib's detector alone.
        min_overlap: As `tracker.follow`.
        weak_threshold: Least score of dlib's for a face next to the last one that YuNet does not see.
        yunet_threshold: Least score of YuNet's for a face next to the last one.
    """

    def __init__(
        self,
        detector: NearDetector,
        yunet: YuNet | None = None,
        *,
        min_overlap: float = 0.3,
        weak_threshold: float = 0.0,
        yunet_threshold: float = 0.4,
    ) -> None:
        self._detector, self._yunet = detector, yunet
        self._min_overlap, self._weak_threshold, self._yunet_threshold = min_overlap, weak_threshold, yunet_threshold
        self._least = min(detector.threshold, weak_threshold if yunet is None else AGREED)

    def around(self, picture: Picture, last: Detection, *, in_view: bool) -> Detection | None:
        """The face that continues the last one, from a search round it.

        dlib's face comes first, at its usual threshold. Where there is none, YuNet is asked, which is cheap on a part
        of the frame; where it sees the face, dlib's box is taken even at a low score. Last comes a weak face of dlib's
        that YuNet does not see: its `alignment` is NaN.

        Args:
            picture: The frame.
            last: The face seen last.
            in_view: It was in the frame before.
        """
        weak: list[Sighting] = []
        if in_view and last.source != Source.YUNET:
            face, weak = self._by_dlib(picture, last.box, last, CLOSE)
            if face is not None:
                return face
        if self._yunet is not None:
            near = [seen for seen in self._yunet.near(picture.rgb, last.box) if seen.score >= AGREEING]
            seen = _nearest(near, last.box, TOUCHING)
            if seen is not None:
                if not weak or np.abs(seen.box - last.box).max() > FAR * (last.box[2] - last.box[0]):
                    face, weak = self._by_dlib(picture, seen.box, last, CLOSE)
                    if face is not None:
                        return self._measured(face, seen)
                if seen.score >= self._yunet_threshold or _nearest(weak, seen.box, SAME_FACE) is not None:
                    face = self._by_both(picture, seen, weak)
                    if overlap(face.landmarks, last.landmarks) >= self._min_overlap:
                        return face
        face, weak = self._by_dlib(picture, last.box, last, WIDE)
        weak = [other for other in weak if other.score >= self._weak_threshold]
        return face or self._continuing(picture, weak, last)

    def person(self, picture: Picture, person: Person) -> tuple[Detection | None, list[Sighting]]:
        """Whom to follow in a frame, and all faces found on the way, by a search of the whole frame.

        YuNet's faces come first: its search is the cheaper one. Where it finds none, dlib's detector is run, and its
        weak faces that YuNet confirms at a larger scale are taken.

        Args:
            picture: The frame.
            person: See `tracker.pick`.
        """
        found = self._seen(picture, PROPOSED)
        while (best := pick(found, person, picture.grey)) is not None:
            face = self._confirmed(picture, best)
            if face is not None:
                others = [other for other in found if other is not best and other.score >= CHOOSING]
                return face, [best, *self._agreed(picture, others)]
            found = [other for other in found if other is not best]
        if person == "":
            best, found, weak = self._most_prominent(picture)
        else:
            found, weak = self._by_dlib_in_full(picture)
            best = pick(found, person, picture.grey)
        if best is not None:
            return self._detector.detection(picture.grey, best), found
        agreed = [(face, seen) for face in weak if (seen := self._near(picture, face.box, SECOND)) is not None]
        best = pick([face for face, _ in agreed], person, picture.grey)
        if best is None:
            return None, found
        seen = next(seen for face, seen in agreed if face is best)
        return self._by_both(picture, seen, [best]), [face for face, _ in agreed]

    def everybody(self, picture: Picture, least: float) -> list[Sighting]:
        """All faces of a frame, those of dlib's from about `least` px of width, those of YuNet's of any."""
        if self._yunet is not None:
            return self._agreed(picture, self._seen(picture, CHOOSING))
        return self._detector.detect_full(picture.grey, self._coarsest(least))

    def _by_dlib(
        self, picture: Picture, box: np.ndarray, last: Detection, where: dict[str, int]
    ) -> tuple[Detection | None, list[Sighting]]:
        """The face round a box that continues the last one, and those that are too weak to do so."""
        found = self._detector.detect_local(picture.grey, box, **where, threshold=self._least)
        face = self._continuing(picture, self._strong(found), last)
        if face is not None and np.abs(face.box - box).max() > FAR * (box[2] - box[0]):
            # Near the rim of the part searched dlib would have seen more, and perhaps preferred another box.
            again = self._detector.detect_local(picture.grey, face.box, **CLOSE)
            face = self._continuing(picture, again, last) or face
        return face, [other for other in found if other.score < self._detector.threshold]

    def _strong(self, found: list[Sighting]) -> list[Sighting]:
        return [face for face in found if face.score >= self._detector.threshold]

    def _continuing(self, picture: Picture, found: list[Sighting], last: Detection) -> Detection | None:
        """The one of these faces that continues the last one. What its box does not touch needs no landmarks."""
        touching = [
            face for face in found if (face.box[:2] < last.box[2:]).all() and (face.box[2:] > last.box[:2]).all()
        ]
        return continuation(
            [self._detector.detection(picture.grey, face) for face in touching], last, self._min_overlap
        )

    def _by_both(self, picture: Picture, seen: Seen, weak: list[Sighting]) -> Detection:
        """The face that YuNet sees, in the weak box of dlib's or in YuNet's: where the landmarks fit better."""
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

    def _seen(self, picture: Picture, least: float) -> list[Sighting]:
        """The faces of the whole frame that YuNet sees."""
        if self._yunet is None:
            return []
        return [_sighting(seen) for seen in self._yunet.in_frame(picture.rgb) if seen.score >= least]

    def _confirmed(self, picture: Picture, face: Sighting) -> Detection | None:
        """A face of the whole frame's search as the search round it finds it; None if it does not."""
        seen = self._near(picture, face.box, CHOOSING)
        found = self._detector.detect_local(picture.grey, (seen or face).box, reach=4, levels=2, threshold=self._least)
        strong = _nearest(self._strong(found), (seen or face).box, SAME_FACE)
        if strong is not None:
            strong = self._detector.detection(picture.grey, strong)
            return strong if seen is None else self._measured(strong, seen)
        if seen is None:
            return None
        face = self._by_both(picture, seen, found)
        return face if seen.score >= SURE or face.alignment <= FITTING else None

    def _near(self, picture: Picture, box: np.ndarray, least: float) -> Seen | None:
        """The face that YuNet sees in a box, searching round it."""
        return _nearest([seen for seen in self._yunet.near(picture.rgb, box) if seen.score >= least], box, SAME_FACE)

    def _agreed(self, picture: Picture, found: list[Sighting]) -> list[Sighting]:
        """Those faces of the reduced frame that YuNet confirms at a larger scale: text and fur are not."""
        return [face for face in found if self._near(picture, face.box, CHOOSING) is not None]

    def _by_dlib_in_full(self, picture: Picture, coarser: int = 0) -> tuple[list[Sighting], list[Sighting]]:
        """The faces of the whole frame, and the weak ones that YuNet may agree with, by dlib's detector."""
        least = None if self._yunet is None else min(self._weak_threshold, self._detector.threshold)
        found = self._detector.detect_full(picture.grey, coarser, least)
        strong = self._strong(found)
        return strong, found[len(strong) :]  # sorted by their scores

    def _most_prominent(self, picture: Picture) -> tuple[Sighting | None, list[Sighting], list[Sighting]]:
        """The most prominent face by dlib's detector, all that were found on the way to it, and the weak ones.

        The search is coarse first: it ends once no face too small for it could be more prominent than what it found.
        """
        height, width = picture.grey.shape
        for coarser in range(self._coarsest(min(height, width) / 3), -1, -1):
            found, weak = self._by_dlib_in_full(picture, coarser)
            best = most_prominent(found, picture.grey)
            bound = self._detector.smallest(coarser) / np.sqrt(height * width)
            if best is not None and prominence(best.box, width, height) >= bound and coarser:
                best = self._detector.refined(picture.grey, best)
                if best is not None:
                    break
        return best, found, weak

    def _coarsest(self, side: float) -> int:
        """The coarsest search that finds faces as small as `side` px."""
        coarser = 0
        while self._detector.smallest(coarser + 1) <= side:
            coarser += 1
        return coarser


def _sighting(seen: Seen) -> Sighting:
    return Sighting(seen.box, seen.score, Source.YUNET)


def _nearest(found: list[F], box: np.ndarray, least: float) -> F | None:
    """The face that shares most with a box, if more than `least` (intersection over union)."""
    best = max(found, key=lambda face: shared(face.box, box), default=None)
    return best if best is not None and shared(best.box, box) > least else None
