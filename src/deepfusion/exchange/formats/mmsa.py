"""MMSA's pickle: features.pkl with train, valid and test, each with padded `vision` and `audio` and their lengths.

Frames without a face are left out, since MMSA's models have no mask: `vision_lengths` counts the others, and
`vision_time` and `audio_time` hold their times. There is no text: `text` is a single row of zeros, `raw_text` is empty.
`regression_labels` and `classification_labels` are the index of the class, or -1; `annotations` is its name.
"""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepfusion.atomic import write_atomically
from deepfusion.errors import UserError
from deepfusion.exchange.tables import PARTS, features, parts, rows_of, time_of
from deepfusion.store import FeatureStore


def export(store: FeatureStore, out: Path, keys: Sequence[str] | None) -> None:
    """Write features.pkl. `keys`: one or more per modality, concatenated; None: all face features, the spectrogram."""
    wanted = features(store, keys or [*store.networks, "spectrogram"])
    video = [key for key in wanted if rows_of(store, key) == "video"]
    audio = [key for key in wanted if key not in video]
    if len({rows_of(store, key) for key in audio}) != 1 or not video:
        raise UserError(
            "--to mmsa takes keys of the video and keys of one kind of audio rows, such as EF-A spectrogram"
        )
    of = parts(store)
    made = {name: _part(store, of.index[of.eq(name)].tolist(), video, audio) for name in PARTS}
    write_atomically(out / "features.pkl", lambda part: part.write_bytes(pickle.dumps(made, protocol=4)))


def _part(store: FeatureStore, ids: list[str], video: Sequence[str], audio: Sequence[str]) -> dict:
    clips = [store[id_] for id_ in ids]
    valid = [clip["valid"] for clip in clips]
    seen = [_side_by_side([clip[key][mask] for key in video]) for clip, mask in zip(clips, valid, strict=True)]
    heard = [_side_by_side([clip[key] for key in audio]) for clip in clips]
    labels = store.clips.loc[ids, "label"]
    numbers = np.array([store.labels.index(label) if label else -1 for label in labels], np.float32)
    return {
        "id": ids,
        "raw_text": [""] * len(ids),
        "text": np.zeros((len(ids), 1, 1), np.float32),
        "vision": _padded(seen),
        "audio": _padded(heard),
        "vision_lengths": [len(rows) for rows in seen],
        "audio_lengths": [len(rows) for rows in heard],
        "vision_time": [clip["time"][mask] for clip, mask in zip(clips, valid, strict=True)],
        "audio_time": [clip[time_of(store, audio[0])] for clip in clips],
        "annotations": labels.tolist(),
        "regression_labels": numbers,
        "classification_labels": numbers,
    }


def _side_by_side(arrays: Sequence[np.ndarray]) -> np.ndarray:
    flat = [rows.reshape(len(rows), int(np.prod(rows.shape[1:]))) for rows in arrays]
    return np.concatenate(flat, axis=1).astype(np.float32)


def _padded(clips: Sequence[np.ndarray]) -> np.ndarray:
    """(clips, T, D) with zeros after the rows of each clip; at least one row, as MMSA requires."""
    length = max([1, *map(len, clips)])
    found = np.zeros((len(clips), length, clips[0].shape[1] if clips else 0), np.float32)
    for row, clip in zip(found, clips, strict=True):
        row[: len(clip)] = clip
    return found
