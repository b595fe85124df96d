"""Add features of another tool as a stream of a feature store; `train-fbp` uses them like its own."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deepfusion.cache_key import file_sha256
from deepfusion.errors import UserError
from deepfusion.exchange.read import Found, read
from deepfusion.store import FeatureStore
from deepfusion.store.extend import extend
from deepfusion.store.reader import Clip

log = logging.getLogger(__name__)

NAME = re.compile(r"(EF|AX)-[A-Za-z0-9._]+")
REACH = 1.0  # s between a frame and the nearest row, at most


def add_stream(
    store: Path,
    source: Path,
    out: Path,
    *,
    name: str,
    shift: float | None = None,
    about: Mapping[str, str] | None = None,
) -> None:
    """Write a copy of a store with the features of a file as a further stream.

    A frame gets the row whose interval holds its time, else the nearest; frames without a face get NaN, as in all face
    features. A row of the audio keeps its own time, the middle of its interval.

    Args:
        store: The store.
        source: A .csd file, or a folder of .npy or .npz files, see `exchange.read`.
        out: The new store.
        name: EF-NAME: of the video. AX-NAME: of the audio.
        shift: s between two rows, if the file has neither times nor one row per frame; the first row is at the start.
        about: Further attributes: licence, citation.

    Raises:
        UserError: A name that is taken or not allowed; clips are missing in the file; rows that do not fit the clip.
    """
    if not NAME.fullmatch(name) or name.endswith("-clip"):
        raise UserError(f"--name {name}: write EF-NAME for features of the video, AX-NAME for those of the audio")
    if out.exists() and out.samefile(store):
        raise UserError(f"--out {out} is the store itself: name another file")
    with FeatureStore(store) as opened:
        if name in opened.keys:
            raise UserError(f"--name {name}: {store} has it already; choose another name")
        ids = opened.clips.index.tolist()
        found, video = read(source, ids), name.startswith("EF-")
        rows_there = opened.clips["frames"].gt(0) if video else opened.clips["audio_status"].eq("ok")
        needed = [id_ for id_, there in zip(ids, rows_there, strict=True) if there]
        if missing := [id_ for id_ in needed if id_ not in found]:
            raise UserError(f"{source} lacks {len(missing)} of {len(needed)} clips of the store, first {missing[0]!r}")
        width = {found[id_][0].shape[1] for id_ in needed}
        if len(width) != 1:
            raise UserError(f"{source}: rows have different lengths: {', '.join(map(str, sorted(width)))}")
        nothing = np.zeros((0, *width), np.float32), np.zeros(0)

        def rows(i: int) -> tuple[np.ndarray, np.ndarray]:
            if not rows_there.iloc[i]:
                return nothing
            clip = opened[ids[i]]
            return (_on_frames if video else _with_times)(clip, found[ids[i]], shift, source)

        (size,) = width
        description = f"imported from {source.name}"
        attrs = {"description": description, "network": source.name, "sha256": "", "licence": "", "citation": ""}
        attrs["sha256"] = file_sha256(source) if source.is_file() else ""
        extend(store, out, name=name, width=size, rows=rows, attrs={**attrs, **(about or {})})
    log.info("%s: %s with the stream %s, %d numbers per row", out, store.name, name, size)


def _on_frames(clip: Clip, found: Found, shift: float | None, source: Path) -> tuple[np.ndarray, np.ndarray]:
    """A row per frame of the clip."""
    (values, spans), time = found, clip["time"]
    if spans is None and shift is None and len(values) == len(time):
        place = np.arange(len(time))
    else:
        spans = _spans(clip.id, values, spans, shift, float(time[0]), source)
        order = np.argsort(spans[:, 0], kind="stable")
        starts = spans[order, 0]
        before = np.clip(np.searchsorted(starts, time, side="right") - 1, 0, len(starts) - 1)
        after = np.minimum(before + 1, len(starts) - 1)
        inside = time < spans[order[before], 1]
        gap = [np.maximum(spans[order[at], 0] - time, time - spans[order[at], 1]) for at in (before, after)]
        place = order[np.where(inside | (gap[0] <= gap[1]), before, after)]
        far = np.maximum(spans[place, 0] - time, time - spans[place, 1]).max()
        if far > REACH:
            raise UserError(
                f"{source}: a frame of {clip.id} is {far:.1f} s away from the nearest row: do both use the same clock?"
            )
    made = values[place].astype(np.float32)
    made[~clip["valid"]] = np.nan
    _check_finite(clip.id, made[clip["valid"]], source)
    return made, time


def _with_times(clip: Clip, found: Found, shift: float | None, source: Path) -> tuple[np.ndarray, np.ndarray]:
    values, spans = found
    spans = _spans(clip.id, values, spans, shift, float(clip["audio_time"][0]), source)
    _check_finite(clip.id, values, source)
    return values.astype(np.float32), spans.mean(axis=1)


def _spans(
    id_: str, values: np.ndarray, spans: np.ndarray | None, shift: float | None, start: float, source: Path
) -> np.ndarray:
    if not len(values):
        raise UserError(f"{source} has no row of {id_}")
    if spans is not None:
        if (wrong := np.flatnonzero(~(np.isfinite(spans).all(axis=1) & (spans[:, 0] <= spans[:, 1])))).size:
            first, last = spans[wrong[0]]
            raise UserError(
                f"{source}: interval {wrong[0]} of {id_} is {first:g} to {last:g} s: give two times, the earlier first"
            )
        return spans
    if shift is None:
        raise UserError(f"{source} has {len(values)} rows of {id_} without times: give --shift, s from row to row")
    middle = start + shift * np.arange(len(values))
    return np.stack([middle - shift / 2, middle + shift / 2], axis=1)


def _check_finite(id_: str, values: np.ndarray, source: Path) -> None:
    if not np.isfinite(values).all():
        raise UserError(f"{source}: a row of {id_} holds NaN or infinity, where training needs numbers")
