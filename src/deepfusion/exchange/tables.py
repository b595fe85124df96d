"""Functions that several formats share: tables of clips and frames, file names, intervals, parts."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deepfusion.corpora.folds import SPLITS, folds
from deepfusion.errors import UserError
from deepfusion.prediction.file_names import file_name
from deepfusion.prediction.result import frame_table, landmark_table, write_table
from deepfusion.store import FeatureStore
from deepfusion.store.reader import Clip

log = logging.getLogger(__name__)

PARTS = ("train", "valid", "test")


def rows_of(store: FeatureStore, key: str) -> str:
    """Kind of a key's rows: "video" (frames), "audio" (windows of the spectrogram), or a stream with its own times."""
    return next(group for group, keys in store.groups.items() if key in keys)


def time_of(store: FeatureStore, key: str) -> str:
    """The key that holds the times of another key's rows, s."""
    return {"video": "time", "audio": "audio_time"}.get(rows_of(store, key), f"{key.removesuffix('_time')}_time")


def features(store: FeatureStore, keys: Sequence[str] | None) -> list[str]:
    """The keys that other tools call features: values over time, but not the times themselves."""
    wanted = store.keys if keys is None else keys
    times = {time_of(store, key) for key in store.keys}
    return [key for key in wanted if key not in times and store.dtype(key).kind == "f"]


def frames(store: FeatureStore, clip: Clip) -> pd.DataFrame:
    """A row per frame, with the columns of docs/predict.md."""
    narrow = [key for key in store.groups["video"] if not key.startswith("EF-") and key != "landmarks"]
    return frame_table({key: clip[key] for key in narrow}, None).drop(columns="attention")


def landmarks(store: FeatureStore, clip: Clip) -> pd.DataFrame:
    """x_0..x_67, y_0..y_67 (px), a row per frame; empty cells in a store without them."""
    if "landmarks" in store.keys:
        return landmark_table({"landmarks": clip["landmarks"]})
    return landmark_table({"landmarks": np.full((len(clip["time"]), 68, 2), np.nan)})


def columns(key: str, rows: np.ndarray) -> pd.DataFrame:
    """A key as columns key_0, key_1, ...; a key with one number per row as one column."""
    flat = rows.reshape(len(rows), int(np.prod(rows.shape[1:])))
    names = [key] if rows.ndim == 1 else [f"{key}_{i}" for i in range(flat.shape[1])]
    return pd.DataFrame(flat, columns=names)


def write_clips(store: FeatureStore, out: Path, files: Mapping[str, str]) -> None:
    """Write clips.csv: the store's table, with a column `file`.

    Args:
        store: The store.
        out: Its folder.
        files: Id -> file of the clip, relative to it; clips without rows have none.
    """
    table = store.clips.reset_index()
    write_table(out / "clips.csv", table.assign(file=[files.get(id_, "") for id_ in table["id"]]))


def tables_per_clip(store: FeatureStore, out: Path, table: Callable[[Clip], pd.DataFrame]) -> None:
    """Write frames/<id>.csv of every clip with video, and clips.csv.

    Args:
        store: The store.
        out: Folder of the files.
        table: Clip -> a row per frame.
    """
    files = {}
    for clip in store:
        if len(clip["time"]):
            files[clip.id] = f"frames/{file_name(clip.id)}.csv"
            write_table(out / files[clip.id], table(clip))
    write_clips(store, out, files)


def intervals(time: np.ndarray, *, centred: bool) -> np.ndarray:
    """(L, 2) s: start and end of each row.

    Args:
        time: (L,) s, rising: the start of each row, or its centre.
        centred: Which of the two. Starts are kept as they are; a row lasts until the next.
    """
    if not len(time):
        return np.zeros((0, 2))
    steps = np.diff(time)
    usual = float(np.median(steps)) if len(steps) else 0.04
    if centred:
        return np.stack([time - usual / 2, time + usual / 2], axis=1)
    return np.stack([time, np.append(time[1:], time[-1] + usual)], axis=1)


def parts(store: FeatureStore) -> pd.Series:
    """Id -> train, valid or test, for formats that need it.

    The corpus' split (val is valid); else its folds, of which the first is tested and the second is valid; else five
    folds by speaker, likewise.

    Raises:
        UserError: The clips have no split, fold or speaker.
    """
    clips = store.clips
    if clips["split"].isin(SPLITS).all():
        return clips["split"].replace({"val": "valid"})
    if "fold" in clips and clips["fold"].ne("").all() and clips["fold"].nunique() > 2:
        division, test, valid = clips["fold"], *sorted(clips["fold"].unique())[:2]
        made = division.map({test: "test", valid: "valid"})
    elif clips["speaker"].ne("").all() and clips["speaker"].nunique() > 2:
        k = min(5, clips["speaker"].nunique())
        first, second, *_ = folds(clips["speaker"], protocol="kfold", k=k)
        made = clips["speaker"].map(dict.fromkeys(first.test, "test") | dict.fromkeys(second.test, "valid"))
        log.info("no split in the store: %s tested, %s valid", ", ".join(first.test), ", ".join(second.test))
    else:
        raise UserError(
            f"{store.path}: train, valid and test need a split, folds or three speakers, and there are none"
        )
    return made.fillna("train")
