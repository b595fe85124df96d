"""Shards and stores with known contents."""

import numpy as np
import pandas as pd

from deepfusion.costs import measured
from deepfusion.store import ShardWriter, build_store

LENGTHS = {"anna/ä-1": 5, "anna/ä-2": 0, "bert/1": 130, "bert/2": 7, "cleo 日本": 1, "cleo/2": 40}
FAILED = {"anna/ä-2": "kein Bild — “leer”"}
SILENT = {"bert/2": "no audio stream"}
FREQUENCY = np.array([620.0, 1260.0, 1900.0, 2540.0, 3180.0])  # Hz, of the bands of the audio encoder


def track(rng, length):
    """Columns of the stage faces."""
    reason = (rng.random(length) < 0.2).astype(np.uint8)
    box = rng.random((length, 4), dtype=np.float32)
    box[reason > 0] = np.nan
    landmarks = rng.random((length, 68, 2), dtype=np.float32)
    landmarks[reason > 0] = np.nan
    return {
        "time": np.cumsum(rng.random(length)),
        "box": box,
        "landmarks": landmarks,
        "score": rng.random(length, dtype=np.float32),
        "reason": reason,
        "choice": rng.integers(0, 5, length, dtype=np.uint8),
        "faces": rng.integers(0, 9, length, dtype=np.uint8),
    }


def write(path, stage, clips, *, attrs=None, columns=None):
    """Write a shard; clips: id -> columns, or (status, reason), with an optional dict of fields under "fields"."""
    # Every shard has a key of its own.
    with ShardWriter(path, stage=stage, key=path.name, attrs=attrs) as shard, measured(shard):
        like = columns or next(c for c in clips.values() if isinstance(c, dict))
        for name, values in like.items():
            if name != "fields":
                shard.column(name, values.shape[1:], values.dtype, units="px", axes="frame", description=f"a {name}")
        for clip, content in clips.items():
            shard.begin(clip)
            if isinstance(content, tuple):
                status, reason = content
                if status == "failed":
                    shard.fail(reason)
                else:
                    shard.end(status=status, reason=reason)
                continue
            for name, values in content.items():
                if name != "fields":
                    for part in np.array_split(values, 3):
                        shard.append(name, part)
            shard.end(**content.get("fields", {}))
    return path


class Corpus:
    """Six clips through all stages, in blocks; `expected` holds what a reader must find."""

    def __init__(self, folder, dtype=np.float32, block=2):
        rng = np.random.default_rng(7)
        ids = list(LENGTHS)
        self.folder, self.ids, self.labels = folder, ids, ["sad", "happy", "calm"]
        self.tracks, self.features, self.sounds, self.expected = {}, {"EF-A": {}, "EF-B": {}, "EF-VGG": {}}, {}, {}
        self.positions = {}
        width = {"EF-A": 6, "EF-B": 3, "EF-VGG": 9}
        for i, (clip, length) in enumerate(LENGTHS.items()):
            rows = track(rng, length)
            fields = {"video_start": i / 25, "sha256": f"{i:064x}"}
            self.tracks[clip] = {**rows, "fields": fields} if clip not in FAILED else ("failed", FAILED[clip])
            self.expected[clip] = {**rows, "valid": rows["reason"] == 0}
            for name, clips in self.features.items():
                values = rng.random((length, width[name])).astype(dtype)
                values[rows["reason"] > 0] = np.nan
                self.expected[clip][name] = values
                clips[clip] = {name: values} if clip not in FAILED else ("failed", "no track")
            windows = 3 * i + 1 if clip not in SILENT else 0
            sound = {"time": np.arange(windows) / 100, "spectrogram": rng.random((windows, 200)).astype(dtype)}
            self.expected[clip] |= {"audio_time": sound["time"], "spectrogram": sound["spectrogram"]}
            fields = {"audio_start": -0.02, "sha256": f"{i:064x}"}
            self.sounds[clip] = {**sound, "fields": fields} if clip not in SILENT else ("absent", SILENT[clip])
            rows = windows // 3  # the first clip has one window and no position
            heard = {"time": 0.32 * np.arange(rows), "positions": rng.random((rows, 5, 4)).astype(dtype)}
            self.expected[clip] |= {"AF": heard["positions"], "AF_time": heard["time"]}
            self.positions[clip] = heard if clip not in SILENT else ("absent", SILENT[clip])
        self.blocks = [ids[i : i + block] for i in range(0, len(ids), block)]
        self.manifest = pd.DataFrame(
            {
                "id": ids,
                "path": [f"/media/somebody/corpus/clips/{i}.mp4" for i in range(len(ids))],
                "label": [self.labels[i % 3] for i in range(len(ids))],
                "speaker": [clip.split("/")[0] for clip in ids],
                "split": "",
                "fold": "",
                "audio": "",
                "person": "",
                "start": np.nan,
                "end": np.nan,
            }
        )
        self.video = {"faces": self.shards("faces", self.tracks)}
        for name, clips in self.features.items():
            attrs = {"network": f"net of {name}", "sha256": "ab" * 32, "licence": "MIT", "citation": "Someone, 2018"}
            self.video[name] = self.shards(name, clips, attrs)
        self.audio = self.shards("spectrogram", self.sounds, {"rate": 16000, "bins": 200, "floor_db": -100.0})
        self.encoder = self.shards("AF", self.positions, {"sha256": "cd" * 32, "frequency": FREQUENCY})

    def shards(self, stage, clips, attrs=None):
        columns = next(c for c in clips.values() if isinstance(c, dict))
        return [
            write(self.folder / f"{stage}-{i}.h5", stage, {c: clips[c] for c in block}, attrs=attrs, columns=columns)
            for i, block in enumerate(self.blocks)
        ]

    def build(self, path=None, **changes):
        path = path or self.folder / "features.h5"
        settings = {"video": self.video, "audio": self.audio, "encoder": self.encoder, "labels": self.labels}
        settings |= {"manifest": self.manifest}
        settings |= {"attrs": {"config": "{}", "code_version": "1", "corpus": "six clips"}} | changes
        build_store(path, settings.pop("manifest"), **settings)
        return path
