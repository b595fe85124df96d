"""Follow one person like `follow`, but search most frames only around the last face."""

from collections.abc import Iterable, Iterator

import numpy as np

from deepfusion.faces.detect import Detection
from deepfusion.faces.face_track import Choice, Found, Reason, Row, Source
from deepfusion.faces.fast.finder import Finder, Picture, picture_of
from deepfusion.faces.fast.local_detector import SAME_FACE, NearDetector, Sighting, shared
from deepfusion.faces.tracker import NO_BOX, NO_LANDMARKS, Person, difference, resized, thumbnail
from deepfusion.faces.yunet import YuNet
from deepfusion.media import Frame


def follow_near(
    frames: Iterable[Frame],
    detector: NearDetector,
    *,
    yunet: YuNet | None = None,
    weak_threshold: float = 0.0,
    yunet_threshold: float = 0.4,
    max_misalignment: float = 0.4,
    max_gap: float = 1.0,
    min_overlap: float = 0.3,
    cut_difference: float = 0.3,
    redetect: float = 3.0,
    pause: float = 0.4,
    person: Person = "",
) -> Iterator[Row]:
    """One row per frame, like `follow`, with few searches of a whole frame.

    The search around the last face covers every position that could be the person's. The whole frame is searched to
    choose a person, when the person is lost, and every `redetect` seconds. The rows therefore differ from those of
    `follow`: `faces` counts the person, if seen, and the others of the latest search of the whole frame; those others
    decide whether a frame without the person has the reason OTHER_PERSON or NO_FACE. Others count if they are at least
    half as wide as the person's face, and a search that chooses a person skips faces too small to be chosen.

    While no face is found, one frame per `pause` seconds is searched. Skipped frames are buffered and searched
    backwards once a face is found, so a row may be emitted up to 2 x `pause` late, but no frame is lost, even of a
    face that is visible in every second frame only.

    Args:
        frames: In presentation order.
        detector: Finds faces in grey images.
        yunet: Second detector, for frames in which the first finds no face; None: not used.
        weak_threshold: As `Finder`; a face that is weak and that YuNet does not see is followed for `max_gap` at most.
        yunet_threshold: As `Finder`.
        max_misalignment: Largest `yunet.misalignment` of a face that is not a strong one of dlib's. Above it, also in
            YuNet's fine search, the frame keeps the face's box, with the reason MISALIGNED.
        max_gap: As `follow`.
        min_overlap: As `follow`.
        cut_difference: As `follow`.
        redetect: Seconds between searches of the whole frame while a person is followed: the greatest age of the
            count of other faces.
        pause: Seconds between unsuccessful searches of the whole frame. The first and last frame of a shot without
            a person are searched as well, so that only a person who comes and goes within this time is missed.
        person: As `follow`.
    """
    finder = Finder(
        detector,
        yunet,
        min_overlap=min_overlap,
        weak_threshold=weak_threshold,
        yunet_threshold=yunet_threshold,
        max_misalignment=max_misalignment,
    )
    follower = _Follower(finder, max_misalignment, max_gap, cut_difference, redetect, pause, person)
    for frame in frames:
        yield from follower.take(frame)
    yield from follower.flush()


class _Follower:
    """State of `follow_near` between frames."""

    def __init__(self, finder, max_misalignment, max_gap, cut_difference, redetect, pause, person) -> None:
        self._finder: Finder = finder
        self._max_misalignment, self._max_gap, self._cut_difference = max_misalignment, max_gap, cut_difference
        self._redetect, self._pause, self._person = redetect, pause, person
        self._last: Detection | None = None  # None: a person is to be chosen, for the reason `_new`
        self._new = Choice.FIRST
        self._choice = Choice.CONTINUED  # of the next row that is valid
        self._seen = self._looked = -np.inf  # times of the last face and of the last search of a whole frame
        self._missed = -np.inf  # time of the last search for others because of a miss
        self._sure = -np.inf  # time of the last face that was not weak, or that YuNet saw as well
        self._others = 0  # faces other than the person's in that search
        self._found: dict[float, tuple[Found, ...]] = {}  # faces of such searches by frame time, until its row
        self._in_view = False  # the previous frame had the person's face
        self._waiting: list[Frame] = []  # buffered frames of a shot without a face, since the last search but one
        self._thumb = None
        self._shape: tuple[int, ...] | None = None

    def take(self, frame: Frame) -> Iterator[Row]:
        if frame.image.shape != self._shape:
            yield from self.flush()
            if self._last is not None:
                self._last = resized(self._last, self._shape, frame.image.shape)
            self._shape = frame.image.shape
        picture = picture_of(frame.image)
        before, self._thumb = self._thumb, thumbnail(picture.grey)
        cut = before is not None and difference(before, self._thumb) >= self._cut_difference
        if cut:
            yield from self.flush()
            self._looked = -np.inf
        if self._last is not None and (cut or frame.time - self._seen > self._max_gap):
            self._last, self._new = None, Choice.AFTER_CUT if cut else Choice.AFTER_GAP
            self._looked = -np.inf
        if self._last is not None:
            yield self._followed(frame.time, picture)
        else:
            self._waiting.append(frame)
            if frame.time - self._looked >= self._pause:
                yield from self._choose()

    def flush(self) -> Iterator[Row]:
        """Emit all buffered frames: at the end of a shot."""
        if self._waiting and self._waiting[-1].time > self._looked:
            yield from self._choose()
        yield from self._nobody(self._waiting)
        self._waiting = []

    def _choose(self) -> Iterator[Row]:
        """Choose a person in the last buffered frame, and find the same person in the earlier ones."""
        *earlier, frame = self._waiting
        vain, self._looked = self._looked, frame.time
        best, found = self._finder.person(picture_of(frame.image), self._person)
        self._note(frame.time, found, best)
        if best is None:
            yield from self._nobody([old for old in self._waiting if old.time <= vain])
            self._waiting = [new for new in self._waiting if new.time > vain]
            return
        self._waiting = []
        self._last, self._seen, self._in_view = best, frame.time, True
        self._sure = frame.time
        faces, next_one, in_view = [best], best, True
        for _, image in reversed(earlier):
            face = self._finder.around(picture_of(image), next_one, in_view=in_view)
            faces.insert(0, face)
            next_one, in_view = face or next_one, face is not None
        self._choice = self._new
        for (time, _), face in zip([*earlier, frame], faces, strict=True):
            yield self._row(time, face)

    def _nobody(self, frames: list[Frame]) -> Iterator[Row]:
        return (self._row(time, None) for time, _ in frames)

    def _followed(self, time: float, picture: Picture) -> Row:
        """The person's face in a frame, or none."""
        face = self._finder.around(picture, self._last, in_view=self._in_view)
        if face is not None and face.source == Source.DLIB_WEAK and np.isnan(face.alignment):
            # Only dlib, at a low score, takes it for a face.
            face = face if time - self._sure <= self._max_gap else None
        elif face is not None:
            self._sure = time
        lost = face is None and self._in_view
        self._in_view = face is not None
        if face is not None:
            self._last, self._seen = face, time
        if lost and time - self._missed >= self._pause:  # not for each miss of a face seen in every second frame
            self._missed = time
            self._count_others(time, picture)
        elif time - self._looked >= self._redetect:
            self._count_others(time, picture)
        return self._row(time, face)

    def _count_others(self, time: float, picture: Picture) -> None:
        """Search the whole frame for faces other than the person's."""
        self._looked = time
        found = self._finder.everybody(picture, (self._last.box[2] - self._last.box[0] + 1) / 2)
        self._note(time, found, self._last)

    def _note(self, time: float, found: list[Sighting], face: Detection | None) -> None:
        """Keep the faces that a search of the whole frame found."""
        self._others = sum(face is None or shared(other.box, face.box) <= SAME_FACE for other in found)
        self._found[time] = tuple(Found(time, other.box, other.score, other.source) for other in found)

    def _row(self, time: float, face: Detection | None) -> Row:
        faces = min(self._others + (face is not None), 255)
        found = self._found.pop(time, ())
        if face is None:
            reason = Reason.OTHER_PERSON if self._others else Reason.NO_FACE
            return Row(time, NO_BOX, NO_LANDMARKS, np.nan, reason, Choice.NONE, faces, found=found)
        _, score, points, source, alignment = face
        if source != Source.DLIB and alignment > self._max_misalignment:
            reason, choice, points = Reason.MISALIGNED, Choice.NONE, NO_LANDMARKS
        else:
            reason, choice = Reason.FACE, self._choice
            self._choice = Choice.CONTINUED  # only the first valid frame records how the person was chosen
        return Row(time, face.box, points, score, reason, choice, faces, source, alignment, found)
