"""Follow one person as `follow` does, searching most frames only where the face was."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from deepfusion.faces.detect import Detection
from deepfusion.faces.face_track import Choice, Reason, Row
from deepfusion.faces.fast.local_detector import SAME_FACE, NearDetector, Sighting, shared
from deepfusion.faces.tracker import (
    NO_BOX,
    NO_LANDMARKS,
    Person,
    continuation,
    difference,
    most_prominent,
    pick,
    prominence,
    resized,
    thumbnail,
)
from deepfusion.media import Frame

# Where a face is searched first: since the frame before, it has moved by less than a third of itself, and has grown
# or shrunk by less than 1.2.
CLOSE = {"reach": 3, "levels": 1}
FAR = 0.15  # of its width, by which a face may have moved without a second look
# And where else before it counts as gone: all that could share 0.3 of its area with the face seen last.
WIDE = {"reach": 7, "levels": 3}


def follow_near(
    frames: Iterable[Frame],
    detector: NearDetector,
    *,
    max_gap: float = 1.0,
    min_overlap: float = 0.3,
    cut_difference: float = 0.3,
    redetect: float = 3.0,
    pause: float = 0.4,
    person: Person = "",
) -> Iterator[Row]:
    """One row a frame, as `follow` gives them, from few searches of a whole frame.

    A person is followed by the faces round the last one: that search covers all that could be the person. The whole
    frame is searched where a person is to be chosen, where the person is lost from view, and every `redetect` seconds.
    So the rows differ from those of `follow` in this: `faces` counts the person, where seen, and the others of the
    latest search of the whole frame; and by those others it is told whether a frame without the person shows somebody
    else or nobody. Others are counted if they are at least half as wide as the person's face, and a search that
    chooses a person stops before the faces that are too small to be chosen.

    As long as nobody is found at all, one frame in `pause` seconds is searched. Those since the search before are kept,
    and gone through backwards from the first face that is found: a row may come twice `pause` late, but no frame is
    lost, even of a face that is seen in every second frame.

    Args:
        frames: In presentation order.
        detector: Finds faces in grey pictures.
        max_gap: As `follow`.
        min_overlap: As `follow`.
        cut_difference: As `follow`.
        redetect: Seconds between searches of the whole frame while a person is followed: how old the count of the
            other faces may be.
        pause: Seconds between searches of the whole frame in vain. Of a shot without a person the first and the last
            frame are searched besides, so that only who comes and goes within this time is missed.
        person: As `follow`.
    """
    follower = _Follower(detector, max_gap, min_overlap, cut_difference, redetect, pause, person)
    for frame in frames:
        # The grey of the RGB picture, as `follow` has it, not the file's luma: a grey level more or less, which is all
        # that they differ by, moves the landmarks.
        yield from follower.take(Frame(frame.time, cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)))
    yield from follower.settle()


class _Follower:
    """What `follow_near` remembers from frame to frame."""

    def __init__(self, detector, max_gap, min_overlap, cut_difference, redetect, pause, person) -> None:
        self._detector: NearDetector = detector
        self._max_gap, self._min_overlap, self._cut_difference = max_gap, min_overlap, cut_difference
        self._redetect, self._pause, self._person = redetect, pause, person
        self._last: Detection | None = None  # None: a person is to be chosen, and `_new` says why
        self._new = Choice.FIRST
        self._seen = self._looked = -np.inf  # times of the last face and of the last search of a whole frame
        self._missed = -np.inf  # time of the last search for others because of a miss
        self._others = 0  # faces beside the person's in that search
        self._in_view = False  # the frame before had the person's face
        self._waiting: list[Frame] = []  # of one shot, nobody found: since the last search but one
        self._thumb = None
        self._shape: tuple[int, ...] | None = None

    def take(self, frame: Frame) -> Iterator[Row]:
        if frame.image.shape != self._shape:
            yield from self.settle()
            if self._last is not None:
                self._last = resized(self._last, self._shape, frame.image.shape)
            self._shape = frame.image.shape
        before, self._thumb = self._thumb, thumbnail(frame.image)
        cut = before is not None and difference(before, self._thumb) >= self._cut_difference
        if cut:
            yield from self.settle()
            self._looked = -np.inf
        if self._last is not None and (cut or frame.time - self._seen > self._max_gap):
            self._last, self._new = None, Choice.AFTER_CUT if cut else Choice.AFTER_GAP
            self._looked = -np.inf
        if self._last is not None:
            yield self._followed(frame)
        else:
            self._waiting.append(frame)
            if frame.time - self._looked >= self._pause:
                yield from self._choose()

    def settle(self) -> Iterator[Row]:
        """Decide about all frames that wait: at the end of a shot."""
        if self._waiting and self._waiting[-1].time > self._looked:
            yield from self._choose()
        yield from self._nobody(self._waiting)
        self._waiting = []

    def _choose(self) -> Iterator[Row]:
        """Choose a person in the last frame that waits, and find the same in those before it."""
        *earlier, frame = self._waiting
        vain, self._looked = self._looked, frame.time
        best, self._others = self._to_follow(frame.image)
        if best is None:
            yield from self._nobody([old for old in self._waiting if old.time <= vain])
            self._waiting = [new for new in self._waiting if new.time > vain]
            return
        self._waiting = []
        self._last, self._seen, self._in_view = self._detector.detection(frame.image, best), frame.time, True
        faces, next_one = [self._last], self._last
        for _, image in reversed(earlier):
            face = self._around(image, next_one)
            faces.insert(0, face)
            next_one = face or next_one
        choice = self._new
        for (time, _), face in zip([*earlier, frame], faces, strict=True):
            yield self._row(time, face, choice)
            choice = choice if face is None else Choice.CONTINUED

    def _nobody(self, frames: list[Frame]) -> Iterator[Row]:
        return (self._row(time, None) for time, _ in frames)

    def _followed(self, frame: Frame) -> Row:
        """The person's face in a frame, or none."""
        face = self._around(frame.image, self._last)
        lost = face is None and self._in_view
        self._in_view = face is not None
        if face is not None:
            self._last, self._seen = face, frame.time
        if lost and frame.time - self._missed >= self._pause:  # not for each miss of a face seen in every second frame
            self._missed = frame.time
            self._count_others(frame)
        elif frame.time - self._looked >= self._redetect:
            self._count_others(frame)
        return self._row(frame.time, face)

    def _to_follow(self, image: np.ndarray) -> tuple[Sighting | None, int]:
        """The face to follow, and how many others were found."""
        if self._person == "":
            return self._most_prominent(image)
        found = self._detector.everywhere(image)
        best = pick(found, self._person, image)
        return best, len(found) - (best is not None)

    def _most_prominent(self, image: np.ndarray) -> tuple[Sighting | None, int]:
        """The most prominent face, and how many others were found on the way to it.

        The search is coarse first: it ends once no face too small for it could be more prominent than what it found.
        """
        height, width = image.shape
        for coarser in range(self._coarsest(min(height, width) / 3), -1, -1):
            found = self._detector.everywhere(image, coarser)
            best = most_prominent(found, image)
            bound = self._detector.smallest(coarser) / np.sqrt(height * width)
            if best is not None and prominence(best.box, width, height) >= bound and coarser:
                best = self._detector.refined(image, best)
                if best is not None:
                    break
        return best, len(found) - (best is not None)

    def _count_others(self, frame: Frame) -> None:
        """Search the whole frame for faces beside the person's, at least half as wide."""
        self._looked = frame.time
        place = self._last.box
        found = self._detector.everywhere(frame.image, self._coarsest((place[2] - place[0] + 1) / 2))
        self._others = sum(shared(face.box, place) <= SAME_FACE for face in found)

    def _coarsest(self, side: float) -> int:
        """The coarsest search that finds faces as small as `side` px."""
        coarser = 0
        while self._detector.smallest(coarser + 1) <= side:
            coarser += 1
        return coarser

    def _around(self, image: np.ndarray, last: Detection) -> Detection | None:
        """The face that continues the last one, from a search round it."""
        for where in (CLOSE, WIDE) if self._in_view else (WIDE,):
            face = self._agreeing(image, self._detector.near(image, last.box, **where), last)
            if face is not None:
                break
        else:
            return None
        if np.abs(face.box - last.box).max() > FAR * (last.box[2] - last.box[0]):
            # Near the rim of the part searched dlib would have seen more, and perhaps preferred another box.
            face = self._agreeing(image, self._detector.near(image, face.box, **CLOSE), last) or face
        return face

    def _agreeing(self, image: np.ndarray, found: list[Sighting], last: Detection) -> Detection | None:
        """The one of these faces that continues the last one. What its box does not touch needs no landmarks."""
        touching = [
            face for face in found if (face.box[:2] < last.box[2:]).all() and (face.box[2:] > last.box[:2]).all()
        ]
        faces = [self._detector.detection(image, face) for face in touching]
        return continuation(faces, last, self._min_overlap)

    def _row(self, time: float, face: Detection | None, choice: Choice = Choice.CONTINUED) -> Row:
        faces = min(self._others + (face is not None), 255)
        if face is None:
            reason = Reason.OTHER_PERSON if self._others else Reason.NO_FACE
            return Row(time, NO_BOX, NO_LANDMARKS, np.nan, reason, Choice.NONE, faces)
        return Row(time, face.box, face.landmarks, face.score, Reason.FACE, choice, faces)
