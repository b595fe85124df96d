"""The feature store: one self-contained HDF5 file made of the shards of all stages.

The rows are copied, not linked by virtual datasets. Those are as fast to read (measured), but silently return fill
values if a shard is missing or the process runs out of file handles (more shards than `ulimit -n`), and a recomputed
shard would change a store whose attributes still have the old settings.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from deepfusion import costs
from deepfusion.errors import UserError
from deepfusion.store import layout
from deepfusion.store.checksum import check_whole
from deepfusion.store.commit import Disk, committed
from deepfusion.store.derived import Derived, write_derived
from deepfusion.store.shard import read_shard
from deepfusion.versions import ENCODER

FACE = 0  # video/reason of a frame that has a face
# Attributes that a later version may word differently, for the same results.
PROSE = {"description", "source", "data", "licence", "citation"}
PLACE = ["shard", "first", "last", "length"]  # location of the rows of a clip, and number of rows that are kept

Choose = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Times (L,) of a clip's frames, s, and whether they have a face (L,) -> (L,) bool, the frames to keep."""

# Columns of clips/: unit, description. Others are the corpus' or a stage's own.
CLIPS = {
    "id": ("", "name of the clip, unique"),
    "label": ("", "class, one of the root attribute labels; empty if unknown"),
    "speaker": ("", "who speaks, empty if unknown; no speaker may be in training and test at once"),
    "split": ("", "the corpus' own partition, empty if it has none"),
    "fold": ("", "the corpus' published fold, empty if it has none"),
    "path": ("", "media file, relative to the folder that all clips of the corpus share"),
    "start": ("s", "start of the clip in its file, NaN if the file's"),
    "end": ("s", "end of the clip in its file, NaN if the file's"),
    "audio": ("", "file with the audio, relative like path; empty if it is path"),
    "person": ("", "whom to follow: largest, left, right or a box in px; empty: the default rule"),
    "sha256": ("", "SHA-256 of the media file"),
    "video_status": ("", "ok, absent (no video in the file) or failed; no rows in video/ unless ok"),
    "video_reason": ("", "why video_status is not ok"),
    "audio_status": ("", "ok, absent (no audio in the file) or failed; no rows in audio/ unless ok"),
    "audio_reason": ("", "why audio_status is not ok"),
    "audio_note": ("", "what is unusual about the audio, such as channels that cancel each other out"),
    "audio_sha256": ("", "SHA-256 of the file with the audio, if it is another one"),
    "frames": ("frame", "rows of the clip in video/"),
    "faces": ("frame", "rows of the clip in video/ that are valid"),
    "video_start": ("s", "presentation time at which the video starts"),
    "video_duration": ("s", "duration of the video"),
    "audio_start": ("s", "presentation time at which the audio starts, on the same clock"),
    "audio_duration": ("s", "duration of the audio"),
}

LEDGER = {"shard": ("", "number of the shard in its stage, from 0, in the order of the clips"), **costs.COLUMNS}


def build_store(
    path: str | os.PathLike,
    manifest: pd.DataFrame,
    *,
    video: Mapping[str, Sequence[str | os.PathLike]],
    audio: Sequence[str | os.PathLike],
    encoder: Sequence[str | os.PathLike] = (),
    labels: Sequence[str],
    attrs: Mapping[str, Any],
    choose: Choose | None = None,
    derived: Sequence[Derived] = (),
) -> None:
    """Build the store atomically from the shards of all stages.

    A clip has rows in video/ only if it is "ok" in every video stage, so that all columns share one set of offsets;
    else the first stage that is not ok gives its status and reason.

    Args:
        path: The store.
        manifest: The clips in the store's order: id, path, label, speaker, split, start, end; further columns are kept.
        video: Stage -> its shards, in the order of the manifest; "faces" and one stage per network.
        audio: Shards of the stage "spectrogram", in the order of the manifest.
        encoder: Shards of the stage "AF", in the order of the manifest; none: the store has no group audio/AF.
        labels: All classes, in the order that gives them their index.
        attrs: Root attributes: config (JSON text), code_version, corpus and the like.
        choose: Frames of the stage "faces" that the networks saw, see `Choose`; None: all.
        derived: Columns of video/ that are computed from others.

    Raises:
        UserError: A shard does not agree with the manifest or with another stage; the line names it.
        DamagedError: A shard is damaged.
        MachineError: A shard cannot be read, or the store cannot be written.
    """
    path, labels = Path(path), list(labels)
    ids = manifest["id"].tolist()
    if unknown := sorted(set(manifest["label"]) - {*labels, ""}):
        raise UserError(f"{path}: the manifest has labels that are not in the list {labels}: {unknown}")
    ledgers: list[pd.DataFrame] = []
    stages = {name: _survey(name, shards, ids, ledgers) for name, shards in video.items()}
    chosen = _choose(stages["faces"], choose) if choose else {}
    found = _found(video["faces"], ids)
    spectra = _survey("spectrogram", audio, ids, ledgers)
    positions = _survey(ENCODER, encoder, ids, ledgers) if encoder else None
    if positions is not None:
        _check_statuses(positions, spectra)
    seen = _first_trouble(stages)
    for name, stage in stages.items():
        _check_lengths(name, stage, next(iter(stages.values())), seen["video_status"].eq("ok"))
    facts = pd.DataFrame(
        {**seen, "audio_status": spectra["status"].to_numpy(), "audio_reason": spectra["reason"].to_numpy()}, index=ids
    )
    fields = _fields({**stages, "spectrogram": spectra}, taken={*facts, "frames", "faces"})

    with committed(path, check=layout.check_store) as (file, disk):
        file.attrs.update(attrs)
        file.attrs.update({"layout": layout.STORE, "layout_version": layout.VERSION})
        layout.write_texts(file.attrs, "labels", labels)
        group = file.create_group("video", track_order=True)
        keep = seen["video_status"].eq("ok").to_numpy()
        for name, stage in stages.items():
            _copy(group, stage, keep, disk, chosen=chosen if name == "faces" else {})
        for column in derived:
            write_derived(group, column, disk)
        if found is not None:
            _copy(group.create_group(layout.FOUND, track_order=True), found, keep, disk, table=layout.FOUND)
        offsets = group["offsets"][:]
        valid = group["reason"][:] == FACE
        _write(group, "valid", valid, axes="frame", units="", description="True where the frame has a face")
        heard = spectra["status"].eq("ok").to_numpy()
        group = file.create_group("audio", track_order=True)
        _copy(group, spectra, heard, disk)
        if positions is not None:
            _copy_positions(group.create_group(ENCODER, track_order=True), positions, heard, disk)

        facts["frames"] = np.diff(offsets)
        facts["faces"] = np.diff(np.concatenate([[0], np.cumsum(valid)])[offsets])
        table = _table(manifest, facts, fields)
        layout.write_table(file.create_group("clips", track_order=True), table)
        for name, data in file["clips"].items():
            units, description = CLIPS.get(name, ("", "column of the manifest, or fact a stage recorded"))
            data.attrs.update({"axes": "clip", "units": units, "description": description})
        if ledgers := [cost for cost in ledgers if len(cost)]:
            _write_ledger(file.create_group("ledger", track_order=True), pd.concat(ledgers, ignore_index=True))
        file.attrs["key"] = store_key(file, table, labels)
        layout.seal_attributes(file)


def _found(shards: Sequence[str | os.PathLike], ids: list[str]) -> pd.DataFrame | None:
    """`_survey` of the table of all faces; None if the shards of face tracks have none."""
    for path in shards:
        with read_shard(path) as shard:
            if layout.FOUND in shard.tables:
                return _survey("faces", shards, ids, [], layout.FOUND)
    return None


def _survey(
    name: str,
    shards: Sequence[str | os.PathLike],
    ids: list[str],
    ledgers: list[pd.DataFrame],
    table: str = "",
) -> pd.DataFrame:
    """Index of the shards of a stage, or of one of their tables: per clip its shard, first and last row.

    Appends to `ledgers`.
    """
    tables, like = [], None
    for i, path in enumerate(shards):
        if not table:
            check_whole(path)
        with read_shard(path, table) as shard:
            if shard.stage != name:
                raise UserError(f"{path} is a shard of stage {shard.stage!r}, given as one of {name!r}")
            natures = {column: _nature(data) for column, data in shard.columns.items()}
            made = _without_prose(shard.attrs), shard.tables, natures
            like = like or made
            if made != like:
                raise UserError(
                    f"{path}: columns or settings differ from {shards[0]}, which is of the same stage {name!r}: "
                    "remove the older of the two and make it again"
                )
            ledgers.append(shard.ledger.assign(shard=i))
            rows = {"first": shard.offsets[:-1], "last": shard.offsets[1:], "length": np.diff(shard.offsets)}
            tables.append(shard.clips.assign(shard=str(path), **rows))
    stage = pd.concat(tables) if tables else pd.DataFrame(columns=["status", "reason", *PLACE])
    for i, (found, wanted) in enumerate(zip(stage.index, ids, strict=False)):
        if found != wanted:
            raise UserError(
                f"{stage['shard'].iloc[i]}: stage {name!r} has clip {found!r} where the manifest has {wanted!r} "
                f"(clip {i + 1}): remove the shard and make it again"
            )
    if len(stage) != len(ids):
        clip = (ids[len(stage) :] or stage.index[len(ids) :].tolist())[0]
        raise UserError(
            f"stage {name!r} has {len(stage)} clips in {len(shards)} shards and the manifest {len(ids)}; "
            f"{clip!r} is the first that only one of them has"
        )
    return stage


def _choose(stage: pd.DataFrame, choose: Choose) -> dict[str, np.ndarray]:
    """Shard -> (rows,) bool, the frames to keep; sets the column `length` of `stage` to their number."""
    masks = {}
    for path, clips in stage.groupby("shard", sort=False):
        with read_shard(path) as shard:
            time, reason = (shard.rows(name, 0, shard.offsets[-1]) for name in ("time", "reason"))
        rows = [slice(first, last) for first, last in zip(clips["first"], clips["last"], strict=True)]
        parts = [choose(time[of], reason[of] == FACE) for of in rows]
        masks[path] = np.concatenate([*parts, np.zeros(0, bool)])
        stage.loc[clips.index, "length"] = [int(part.sum()) for part in parts]
    return masks


def _nature(data: h5py.Dataset) -> tuple:
    return data.dtype, data.shape[1:], _without_prose(layout.attributes(data))


def _without_prose(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in PROSE}


def _first_trouble(stages: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """video_status and video_reason of every clip: those of the first stage in which it is not ok."""
    first, *networks = stages
    seen = stages[first][["status", "reason"]].copy()
    for name in networks:
        new = seen["status"].eq("ok") & stages[name]["status"].ne("ok")
        seen.loc[new, "status"] = stages[name].loc[new, "status"]
        seen.loc[new, "reason"] = f"{name}: " + stages[name].loc[new, "reason"]
    return seen.rename(columns=lambda name: f"video_{name}")


def _check_lengths(name: str, stage: pd.DataFrame, first: pd.DataFrame, ok: pd.Series) -> None:
    length, expected = stage["length"], first["length"]
    for clip in ok.index[ok & length.ne(expected)]:
        raise UserError(
            f"{stage.at[clip, 'shard']}: stage {name!r} has {length[clip]} frames of clip {clip!r} and "
            f"{first.at[clip, 'shard']} has {expected[clip]}: remove the older of the two and make it again"
        )


def _check_statuses(positions: pd.DataFrame, spectra: pd.DataFrame) -> None:
    """Check that the audio encoder has exactly the clips that have a spectrogram."""
    for clip in positions.index[positions["status"].ne(spectra["status"])]:
        raise UserError(
            f"{positions.at[clip, 'shard']}: clip {clip!r} is {positions.at[clip, 'status']!r} in stage "
            f"{ENCODER!r} and {spectra.at[clip, 'status']!r} in {spectra.at[clip, 'shard']}: remove the former and "
            "make it again"
        )


def _fields(stages: dict[str, pd.DataFrame], *, taken: set[str]) -> pd.DataFrame:
    """The facts that stages recorded with the clips; stages that recorded the same one must agree."""
    fields = pd.DataFrame(index=next(iter(stages.values())).index)
    for name, stage in stages.items():
        for field in stage.columns.drop(["status", "reason", *PLACE]):
            if field in taken:
                raise UserError(f"stage {name!r} records a fact {field!r}, which the store itself writes")
            values = stage[field] if pd.api.types.is_numeric_dtype(stage[field]) else stage[field].replace("", np.nan)
            if field not in fields:
                fields[field] = values
                continue
            differ = fields[field].notna() & values.notna() & fields[field].ne(values)
            for clip in fields.index[differ]:
                raise UserError(
                    f"{stage.at[clip, 'shard']}: {field} of clip {clip!r} is {values[clip]} in stage {name!r} and "
                    f"{fields.at[clip, field]} in an earlier stage: the clip changed in between, make its shards again"
                )
            fields[field] = fields[field].where(fields[field].notna(), values)
    return fields


def _copy(
    group: h5py.Group,
    stage: pd.DataFrame,
    keep: np.ndarray,
    disk: Disk,
    *,
    chosen: Mapping[str, np.ndarray] | None = None,
    table: str = "",
) -> None:
    """Copy the columns of a stage, or of a table of its shards, for the clips in `keep`.

    `chosen`: shard -> (rows,) bool, the rows to copy; default: all. The first stage of a group writes its offsets.
    """
    lengths = stage["length"].to_numpy(dtype=np.int64) * keep
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    if "offsets" not in group:
        _write(
            group, "offsets", offsets, axes="clip", units="row", description="clip i has rows offsets[i]:offsets[i + 1]"
        )
    targets, digests = {}, {}
    rows = stage.assign(to=offsets[:-1], keep=keep)
    for path, clips in rows.groupby("shard", sort=False):
        runs = _runs(clips[clips["keep"]])
        mask = (chosen or {}).get(path)
        with read_shard(path, table) as shard:
            for name, source in shard.columns.items():
                if name not in targets:
                    targets[name] = layout.create(group, name, (offsets[-1], *source.shape[1:]), source.dtype)
                    digests[name] = hashlib.sha256()
                step = max(1, layout.BLOCK_BYTES // max(1, source.dtype.itemsize * int(np.prod(source.shape[1:]))))
                for first, last, to in runs:
                    for at in range(first, last, step):
                        block = shard.rows(name, at, min(at + step, last))
                        block = block if mask is None else block[mask[at : at + len(block)]]
                        digests[name].update(block)
                        targets[name][to : to + len(block)] = block
                        to += len(block)
                        disk.check()
    if not targets:
        return
    with read_shard(max(rows["shard"].unique(), key=os.path.getmtime), table) as newest:  # for the latest `PROSE`
        for name, source in newest.columns.items():
            targets[name].attrs.update({**newest.attrs, "stage": newest.stage, **layout.attributes(source)})
            targets[name].attrs["content_sha256"] = digests[name].hexdigest()


def _copy_positions(group: h5py.Group, stage: pd.DataFrame, keep: np.ndarray, disk: Disk) -> None:
    """Copy the positions of the audio encoder, and write the frequencies of their bands."""
    _copy(group, stage, keep, disk)
    frequency = np.array(group["positions"].attrs["frequency"], dtype=np.float64)
    _write(group, "frequency", frequency, axes="band", units="Hz", description="centre of each band of positions")


def _runs(clips: pd.DataFrame) -> list[list[int]]:
    """Runs of adjacent clips of a shard: first row, row after the last, first row in the store."""
    runs: list[list[int]] = []
    for first, last, to in zip(clips["first"], clips["last"], clips["to"], strict=True):
        if runs and runs[-1][1] == first:
            runs[-1][1] = last
        else:
            runs.append([first, last, to])
    return runs


def _write(group: h5py.Group, name: str, values: np.ndarray, **attrs: str) -> None:
    layout.write(group, name, values).attrs.update({**attrs, "content_sha256": hashlib.sha256(values).hexdigest()})


def _write_ledger(group: h5py.Group, ledgers: pd.DataFrame) -> None:
    layout.write_table(group, ledgers)
    for name, data in group.items():
        units, description = LEDGER.get(name, ("", "what a stage recorded of its cost"))
        data.attrs.update({"axes": "part of the work on a shard", "units": units, "description": description})


def _table(manifest: pd.DataFrame, facts: pd.DataFrame, fields: pd.DataFrame) -> pd.DataFrame:
    """The table clips/: the manifest's columns, then what the stages found."""
    table = manifest.reset_index(drop=True)
    # Without the folders that all clips share, which belong to this machine.
    media = [name for name in ("path", "audio") if name in table]
    paths = {file: Path(file).absolute() for name in media for file in table[name] if file}
    folder = os.path.commonpath([path.parent for path in paths.values()])
    for name in media:
        table[name] = [paths[file].relative_to(folder).as_posix() if file else "" for file in table[name]]
    facts = facts.join(fields).reset_index(drop=True)
    for name in facts.columns.intersection(table.columns):
        found = facts[name].dropna()
        if name not in fields or found.ne(table[name][found.index]).any():
            raise UserError(f"column {name!r} of the manifest is not what the stages found: rename or remove it")
        facts = facts.drop(columns=name)
    table = pd.concat([table, facts], axis=1)
    text = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    return table.assign(**{name: table[name].fillna("") for name in text})


def store_key(file: h5py.File, table: pd.DataFrame, labels: list[str]) -> str:
    """SHA-256 of the contents of the store: it changes with any feature, label or speaker."""
    digest = hashlib.sha256(repr(labels).encode() + table.to_csv().encode())
    for data in (*layout.objects(file["video"]), *layout.objects(file["audio"])):
        if isinstance(data, h5py.Dataset):
            digest.update(f"{data.name} {data.dtype} {data.shape} {data.attrs['content_sha256']}".encode())
    return digest.hexdigest()
