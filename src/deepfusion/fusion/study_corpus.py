"""The features of a store as the fusion study needs them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from deepfusion.config import StudySettings
from deepfusion.corpora.needs import need, need_classes
from deepfusion.fusion import classical
from deepfusion.fusion.finite import HEARD, check_clip
from deepfusion.fusion.landmarks import COURSE, MOVEMENT, course, longest_shot, movement, shapes
from deepfusion.fusion.speech import RHYTHM, WINDOW_SIZE, Speech, descriptors, whole, windows
from deepfusion.store import FeatureStore

LANDMARKS = "landmarks"  # the face's shape and the head's movement


@dataclass
class Corpus:
    """The features of a store as the study needs them."""

    table: pd.DataFrame
    labels: list[str]
    key: str
    slots: list[str]
    faces: dict[str, list[np.ndarray]]  # slot -> (L, C') of the frames with a face, a clip each
    face_time: list[np.ndarray]  # (L,) s
    shape: list[np.ndarray]  # (L, SHAPE) of the landmarks
    course: list[np.ndarray]  # (1, COURSE) of each whole clip's shapes; (0, ...) without a face
    movement: list[np.ndarray]  # (1, MOVEMENT) of the head in each clip's longest shot; (0, ...) without a face
    sound: dict[float, list[np.ndarray]]  # s of a window -> (L, WINDOW_SIZE) functionals, a clip each
    sound_time: dict[float, list[np.ndarray]]  # s, the middle of each window
    voice: list[np.ndarray]  # (1, WINDOW_SIZE + RHYTHM) functionals of each whole clip; (0, ...) without sound
    classical: dict[str, np.ndarray]  # statistics over time, for the SVMs

    @property
    def speakers(self) -> list[str]:
        """Speaker of each clip."""
        return self.table["speaker"].tolist()

    @property
    def label(self) -> Tensor:
        """(clips,) int64."""
        return torch.tensor([self.labels.index(name) for name in self.table["label"]])


def read_corpus(path: Path, settings: StudySettings) -> Corpus:
    """Read a feature store.

    Raises:
        UserError: Clips lack a class or a speaker, or the classes are none.
        MachineError: A feature that is used is NaN or infinite.
    """
    with FeatureStore(path) as store:
        slots, table = list(store.networks), store.clips
        need_classes(table.reset_index(), purpose="the study", origin=f"the store {path}")
        need(table.reset_index(), "speaker", purpose="the study", origin=f"the store {path}")
        sound = store.attributes("spectrogram")
        spacing, shift = float(sound["rate"]) / float(sound["dft"]), float(sound["shift_ms"]) / 1000
        features = [store[id_] for id_ in table.index]
        for clip in features:  # first, and a clip at a time: nothing holds the whole store
            check_clip(path, clip, {name: clip[name] for name in (*slots, "time", "landmarks", *HEARD)})
        faces = {slot: [clip[slot][clip["valid"]].astype(np.float32) for clip in features] for slot in slots}
        landmarks, face_time, choice = (
            [clip[name][clip["valid"]] for clip in features] for name in ("landmarks", "time", "choice")
        )
        shape = [shapes(x) for x in landmarks]
        courses = [course(x)[None] if len(x) else np.zeros((0, COURSE)) for x in shape]
        moved = [_movement(*clip) for clip in zip(landmarks, face_time, choice, strict=True)]
        speech = [descriptors(x, spacing=spacing) if len(x := clip["spectrogram"]) else None for clip in features]
        made = {seconds: [_windows(each, round(seconds / shift)) for each in speech] for seconds in settings.windows}
        starts = [clip["audio_time"][:1].sum() for clip in features]  # s, of the first frame; 0 without sound
        voice = [whole(each)[None] if each else np.zeros((0, WINDOW_SIZE + RHYTHM)) for each in speech]
        return Corpus(
            table=table,
            labels=list(store.labels),
            key=store.attrs["key"],
            slots=slots,
            faces=faces,
            face_time=face_time,
            shape=shape,
            course=courses,
            movement=moved,
            sound={seconds: [values for values, _ in clips] for seconds, clips in made.items()},
            sound_time={
                seconds: [start + middle * shift for start, (_, middle) in zip(starts, clips, strict=True)]
                for seconds, clips in made.items()
            },
            voice=voice,
            classical={
                classical.AUDIO: _rows(voice),
                **{slot: classical.face_features(rows) for slot, rows in faces.items()},
                LANDMARKS: np.concatenate([_rows(courses), _rows(moved)], axis=1),
            },
        )


def _movement(landmarks: np.ndarray, time: np.ndarray, choice: np.ndarray) -> np.ndarray:
    if not len(time):
        return np.zeros((0, MOVEMENT))
    shot = longest_shot(choice)
    return movement(landmarks[shot], time[shot])[None]


def _rows(clips: Sequence[np.ndarray]) -> np.ndarray:
    """(1, n) or (0, n) of each clip -> (clips, n); NaN where there is none."""
    return np.stack([x[0] if len(x) else np.full(x.shape[1], np.nan) for x in clips])


def _windows(speech: Speech | None, length: int) -> tuple[np.ndarray, np.ndarray]:
    return windows(speech, length=max(1, length)) if speech else (np.zeros((0, WINDOW_SIZE)), np.zeros(0))
