"""A small feature store whose label is carried jointly by audio and video: neither alone has it."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from deepfusion.config import AudioEncoderSettings, FusionSettings, SpectrogramSettings
from deepfusion.faces.face_track import Choice
from deepfusion.store import ShardWriter, build_store

SPECTROGRAM = SpectrogramSettings()
BINS = SPECTROGRAM.bins
LABELS = ["even", "odd"]
SETTINGS = FusionSettings(
    audio=("speech", "speech-clip"),
    video=("EF-A", "EF-B"),
    reduced=4,
    k=2,
    o=5,
    batch=8,
    epochs=3,
    vectors=3,
    learning_rates=(1e-3, 1e-2),
    axes=(2, 4),
    members=2,
    inner_folds=2,
    seeds=(0, 1),
)

INCOMPLETE = {1: "audio", 8: "face", 15: "audio, face"}  # position of a clip -> what it lacks


# 68 points in px, at random; the eyes are in two different places.
FACE = 100 + 40 * np.random.default_rng(2).normal(size=(68, 2))


@dataclass(frozen=True)
class Made:
    """What the store gets of one clip."""

    id: str
    speaker: str
    label: str
    faces: np.ndarray  # (L, 7)
    valid: np.ndarray  # (L,) bool
    audio: np.ndarray  # (T, BINS) dB
    sha256: str
    split: str = ""  # train, val or test
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
            audio = rng.normal(-60, 5, size=(windows, BINS)).astype(np.float32)
            audio[:, :50] += 30 * voice
            valid = rng.random(frames) < 0.8
            valid[0] = True
            id_ = f"s{speaker}-{i}"
            made.append(Made(id_, f"s{speaker}", LABELS[(face + voice) % 2], features, valid, audio, f"{id_:>064}"))
    return made


def write_store(folder, clips, *, dtype=np.float32, encoder=False, labels=LABELS, attrs=None):
    """Through the store's own writers, as the extraction does it.

    Args:
        folder: Of the shards and the store.
        clips: As `make_clips` makes them.
        dtype: Of features and spectrograms.
        encoder: Whether the shipped audio encoder runs, so that the store has `AF`.
        labels: Classes of the store.
        attrs: Root attributes.
    """
    shards = {name: folder / f"{name}.h5" for name in ("faces", "EF-A", "EF-B", "spectrogram", "AF")}
    _write_video(shards, clips, dtype)
    _write_spectrograms(shards["spectrogram"], clips, dtype)
    if encoder:
        from deepfusion.extract.audio_encoder import encoder_shard  # torch: not needed without it

        encoder_shard(shards["spectrogram"], shards["AF"], settings=AudioEncoderSettings())
    manifest = pd.DataFrame(
        [{"id": c.id, "path": f"{c.id}.mp4", "label": c.label, "speaker": c.speaker, "split": c.split} for c in clips]
    ).assign(start=np.nan, end=np.nan)
    path = folder / "features.h5"
    build_store(
        path,
        manifest,
        video={name: [shards[name]] for name in ("faces", "EF-A", "EF-B")},
        audio=[shards["spectrogram"]],
        encoder=[shards["AF"]] if encoder else [],
        labels=labels,
        attrs=attrs or {},
    )
    return path


def _write_video(shards, clips, dtype):
    rng = np.random.default_rng(1)
    with (
        ShardWriter(shards["faces"], stage="faces") as track,
        ShardWriter(shards["EF-A"], stage="EF-A") as first,
        ShardWriter(shards["EF-B"], stage="EF-B") as second,
    ):
        track.column("time", dtype=np.float64)
        track.column("reason", dtype=np.uint8)
        track.column("choice", dtype=np.uint8)
        track.column("box", (4,))
        track.column("landmarks", (68, 2))
        first.column("EF-A", (4,), dtype)
        second.column("EF-B", (3,), dtype)
        for clip in clips:
            features, seen = np.where(clip.valid[:, None], clip.faces, np.nan), clip.valid[:, None, None]
            tracked = {
                "time": np.arange(len(features)) / 25,
                "reason": (~clip.valid).astype(np.uint8),
                "choice": np.where(clip.valid, Choice.CONTINUED, Choice.NONE).astype(np.uint8),
                "box": np.where(clip.valid[:, None], np.array([60.0, 60.0, 140.0, 140.0]), np.nan),
                "landmarks": np.where(seen, FACE + rng.normal(0, 1, (len(features), 68, 2)), np.nan),
            }
            of_shards = {track: tracked, first: {"EF-A": features[:, :4]}, second: {"EF-B": features[:, 4:]}}
            for shard, rows in of_shards.items():
                shard.begin(clip.id)
                if clip.failed:
                    shard.fail(clip.failed)
                    continue
                for name, values in rows.items():
                    shard.append(name, values)
                shard.end(**({"sha256": clip.sha256, "width": 320} if shard is track else {}))


def _write_spectrograms(path, clips, dtype):
    with ShardWriter(path, stage="spectrogram") as shard:
        shard.column("time", dtype=np.float64)
        shard.column("spectrogram", (BINS,), dtype, **SPECTROGRAM.model_dump())
        for clip in clips:
            shard.begin(clip.id)
            if len(clip.audio):
                shard.append("spectrogram", clip.audio)
                shard.append("time", 0.02 + np.arange(len(clip.audio)) / 100)
                shard.end(**({"audio_note": clip.note} if clip.note else {}))
            else:
                shard.end(status="absent", reason="the file has no audio")


def without(clip, what):
    """The same clip without audio, without any face, or without both."""
    if "audio" in what:
        clip = replace(clip, audio=clip.audio[:0])
    if "face" in what:
        clip = replace(clip, valid=np.zeros_like(clip.valid))
    return clip


def with_split(clips, splits):
    """The same clips with a split by speaker and no speakers; `splits`: speaker -> split."""
    return [replace(clip, split=splits[clip.speaker], speaker="") for clip in clips]
