"""A small feature store whose label is carried by face and voice together."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from deepfusion.config import AugmentSettings, FusionSettings
from deepfusion.faces.track import Choice
from deepfusion.fusion.data import ClipDataset
from deepfusion.store import FeatureStore, ShardWriter, build_store

BINS = 200
LABELS = ["even", "odd"]
VARIED = AugmentSettings(speed=0.1, crop=0.2, noise=(20, 60), time_mask=0.15, frequency_mask=0.15)
SETTINGS = FusionSettings(
    augment=VARIED,
    features=("EF-A", "EF-B"),
    audio_channels=(4, 4, 4, 4, 4),
    reduced=6,
    k=2,
    o=5,
    batch=8,
    epochs=3,
    patience=2,
)


# 68 points in px, no face to look at, but the eyes are two different places.
FACE = 100 + 40 * np.random.default_rng(2).normal(size=(68, 2))


@dataclass(frozen=True)
class Made:
    """What is to stand in the store for one clip."""

    id: str
    speaker: str
    label: str
    faces: np.ndarray  # (L, 7)
    valid: np.ndarray  # (L,) bool
    sound: np.ndarray  # (T, BINS)
    sha256: str
    split: str = ""
    failed: str = ""  # why the video could not be read; it then has no rows
    note: str = ""  # on the audio


def make_clips(seed=0, speakers=4, clips=6):
    rng = np.random.default_rng(seed)
    made = []
    for speaker in range(speakers):
        for i in range(clips):
            face, voice = i % 2, (i // 2) % 2
            frames, windows = int(rng.integers(3, 9)), int(rng.integers(70, 110))
            features = rng.normal(size=(frames, 7)).astype(np.float32)
            features[:, 0] += 4 * face
            sound = rng.normal(-60, 5, size=(windows, BINS)).astype(np.float32)
            sound[:, :50] += 30 * voice
            valid = rng.random(frames) < 0.8
            valid[0] = True
            id_ = f"s{speaker}-{i}"
            made.append(Made(id_, f"s{speaker}", LABELS[(face + voice) % 2], features, valid, sound, f"{id_:>064}"))
    return made


def write_store(folder, clips):
    """Through the store's own writers, as the extraction does it."""
    faces, a, b, sound = (folder / f"{name}.h5" for name in ("faces", "EF-A", "EF-B", "spectrogram"))
    with (
        ShardWriter(faces, stage="faces") as track,
        ShardWriter(a, stage="EF-A") as first,
        ShardWriter(b, stage="EF-B") as second,
        ShardWriter(sound, stage="spectrogram") as spectrogram,
    ):
        track.column("time", dtype=np.float64)
        track.column("reason", dtype=np.uint8)
        track.column("choice", dtype=np.uint8)
        track.column("landmarks", (68, 2))
        first.column("EF-A", (4,))
        second.column("EF-B", (3,))
        spectrogram.column("time", dtype=np.float64)
        spectrogram.column("spectrogram", (BINS,), floor_db=-100.0, rate=16000, dft=800, shift_ms=10.0)
        rng = np.random.default_rng(1)
        for clip in clips:
            features = np.where(clip.valid[:, None], clip.faces, np.nan)
            tracked = {
                "time": np.arange(len(features)) / 25,
                "reason": (~clip.valid).astype(np.uint8),
                "choice": np.where(clip.valid, Choice.CONTINUED, Choice.NONE).astype(np.uint8),
                "landmarks": np.where(
                    clip.valid[:, None, None], FACE + rng.normal(0, 1, (len(features), 68, 2)), np.nan
                ),
            }
            for shard, rows in (
                (track, tracked),
                (first, {"EF-A": features[:, :4]}),
                (second, {"EF-B": features[:, 4:]}),
            ):
                shard.begin(clip.id)
                if clip.failed:
                    shard.fail(clip.failed)
                    continue
                for name, values in rows.items():
                    shard.append(name, values)
                shard.end(**({"sha256": clip.sha256} if shard is track else {}))
            spectrogram.begin(clip.id)
            if len(clip.sound):
                spectrogram.append("spectrogram", clip.sound)
                spectrogram.append("time", 0.02 + np.arange(len(clip.sound)) / 100)
                spectrogram.end(**({"audio_note": clip.note} if clip.note else {}))
            else:
                spectrogram.end(status="absent", reason="the file has no sound")
    manifest = pd.DataFrame(
        [{"id": c.id, "path": f"{c.id}.mp4", "label": c.label, "speaker": c.speaker, "split": c.split} for c in clips]
    ).assign(start=np.nan, end=np.nan)
    path = folder / "features.h5"
    build_store(
        path, manifest, video={"faces": [faces], "EF-A": [a], "EF-B": [b]}, audio=[sound], labels=LABELS, attrs={}
    )
    return path


def dataset_of(path):
    with FeatureStore(path) as store:
        return ClipDataset(store, features=SETTINGS.features)


def without(clip, what):
    """The same clip without sound, without any face, or without both."""
    if "sound" in what:
        clip = replace(clip, sound=clip.sound[:0])
    if "face" in what:
        clip = replace(clip, valid=np.zeros_like(clip.valid))
    return clip
