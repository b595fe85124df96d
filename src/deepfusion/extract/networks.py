"""Face tracks of a block -> one shard of face features per network, in a single decoding."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from deepfusion import media
from deepfusion.cache_key import network_key, outcome_key
from deepfusion.config import DEFAULT_LIMITS, LimitSettings, NetworkSettings
from deepfusion.costs import measured
from deepfusion.errors import ClipError, MachineError, UserError
from deepfusion.extract.batches import Batches
from deepfusion.extract.common import (
    check_hash,
    failure,
    finish,
    groups,
    hash_of,
    is_up_to_date,
    report,
    segment,
)
from deepfusion.extract.prefetch import ahead
from deepfusion.extract.workers import Work, Workers
from deepfusion.faces.align import Crop, warp
from deepfusion.faces.face_track import FaceTrack
from deepfusion.faces.sampling import sampled_rows
from deepfusion.networks import catalogue, engines
from deepfusion.progress import track
from deepfusion.store import Shard, ShardWriter, check_whole, read_shard


def network_shards(
    clips: pd.DataFrame,
    tracks: Path,
    outs: Mapping[str, Path],
    *,
    networks: Mapping[str, NetworkSettings],
    dtype: str,
    device: torch.device,
    rate: float | None = None,
    engine: engines.Engine = "auto",
    limits: LimitSettings = DEFAULT_LIMITS,
    workers: int = 0,
) -> None:
    """Run the networks of all slots over the followed faces in a single decoding; write one shard per slot.

    Shards that are up to date are kept: new weights of one network recompute only that network.

    Args:
        clips: Rows of a manifest.
        tracks: The shard of face tracks of the same clips.
        outs: Slot -> shard.
        networks: Slot -> network, and the user's weights file if any.
        dtype: float32 or float16, of the stored features.
        device: Where the networks run.
        rate: Frames per second that they see, see `faces.sampling`; None: all.
        engine: Their inference engine.
        limits: Limits per clip.
        workers: Processes that decode clips and cut faces while the networks run; 0: one process that alternates with
            the networks, which is best if they share the cores.
    """
    check_whole(tracks)
    with read_shard(tracks) as faces, ExitStack() as stack:
        stale: dict[str, tuple[catalogue.Network, str, str]] = {}  # slot -> network, its fingerprint, the shard's key
        for slot, out in outs.items():
            settings = networks[slot]
            fingerprint = catalogue.fingerprint(settings.network, settings.weights)
            key = network_key(outcome_key(faces.key, faces.clips), fingerprint, dtype, rate)
            if not is_up_to_date(out, key, limits):
                stale[slot] = catalogue.find(settings.network), fingerprint, key
        if not stale:
            return
        crops = [network.crop for network, *_ in stale.values()]
        reading = Workers(partial(_begin, crops, limits), count=max(workers, 1), limits=limits)
        shards = {}
        for slot, (network, fingerprint, key) in stale.items():
            shards[slot] = stack.enter_context(ShardWriter(outs[slot], stage=slot, key=key))
            _declare(shards[slot], slot, network, fingerprint, dtype)
        modules = {slot: load_network(networks[slot]) for slot in stale}
        if faces.clips["status"].eq("ok").any():
            opened = {slot: opened_network(module, networks[slot], device, engine) for slot, module in modules.items()}
        else:
            opened = modules  # never called: opening takes seconds, and these clips, such as audio files, have no video
        where = {"device": _name(device), "threads": workers or torch.get_num_threads(), "alone": not workers}
        clock = stack.enter_context(measured(*shards.values(), media_s=faces.seconds(), **where))
        runs = [
            Batches(
                clock.timed(slot, opened[slot]),
                batch=engines.batch(device),
                shard=shard,
                column=slot,
                dimension=stale[slot][0].dimension,
                dtype=dtype,
            )
            for slot, shard in shards.items()
        ]
        processes = stack.enter_context(reading)
        streams = (_cut(clip, faces, processes, rate) for clip in clips.itertuples())
        parts = stack.enter_context(closing(ahead(streams, workers=workers)))
        for clip in track(list(clips.itertuples()), f"networks {tracks.stem}", unit="clips"):
            for run in runs:
                run.begin(clip.id)
            reason = fill(runs, next(parts), clip.id)
            for run in runs:
                if reason:
                    run.fail(reason)
                else:
                    run.end(**faces.clips.loc[clip.id, ["status", "reason"]])
        for run in runs:
            run.finish()
        known = faces.clips.index[faces.clips["status"] != "ok"]
    for slot in stale:
        finish(outs[slot])
        report(outs[slot], known=known)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def load_network(settings: NetworkSettings) -> torch.nn.Module:
    """The network of a slot, checked against the hash that the settings state.

    Raises:
        UserError: There are no such weights, or they are not the expected ones.
    """
    return catalogue.load(settings.network, weights=settings.weights, sha256=settings.sha256)


def opened_network(
    module: torch.nn.Module, settings: NetworkSettings, device: torch.device, engine: engines.Engine
) -> engines.Features:
    """The inference function of a loaded network."""
    size = catalogue.find(settings.network).crop.size
    return engines.opened(module, size, name=settings.network, engine=engine, device=device)


def _declare(shard: ShardWriter, slot: str, network: catalogue.Network, fingerprint: str, dtype: str) -> None:
    shard.column(
        slot,
        (network.dimension,),
        dtype,
        units="1",
        axes="frame, feature",
        description=f"output of {network.name}, {network.output}; NaN: no face",
        network=network.name,
        fingerprint=fingerprint,
        crop=json.dumps(vars(network.crop)),
        normalisation=network.normalisation,
        source=network.source,
        licence=network.licence,
        citation=network.citation,
    )


Part = tuple[np.ndarray, list[list[np.ndarray]]]


def fill(runs: list[Batches], parts: Iterator[Part], clip_id: str, *, each: Callable[..., Iterable] = map) -> str:
    """Pass the parts of a clip to the networks; returns why reading failed, or "".

    Args:
        runs: The networks.
        parts: Of the clip.
        clip_id: For the log.
        each: Like `map`; that of a thread pool runs several networks in parallel.
    """
    while True:
        # The networks are outside of `try`: their errors are not failures of the clip.
        try:
            part = next(parts, None)
        except (UserError, MachineError):
            raise
        except Exception as error:
            return failure(error, clip_id)
        if part is None:
            return ""
        valid, cut = part
        for _ in each(Batches.rows, runs, [valid] * len(runs), cut):
            pass


def _cut(clip: Any, faces: Shard, processes: Workers, rate: float | None) -> Iterator[Part]:
    """Groups of sampled frames of a clip: which have a face, and per kind of crop their crops.

    A clip without a face track has no groups.
    """
    known = faces.clips.loc[clip.id]
    if known["status"] == "ok":
        yield from processes.stream((clip.path, segment(clip), known["sha256"], FaceTrack(**faces[clip.id]), rate))


def _begin(crops: list[Crop], limits: LimitSettings) -> Work:
    cv2.setNumThreads(1)
    return partial(_cut_job, crops=crops, limits=media.Limits(limits.pixels, limits.silence_s))


def _cut_job(
    job: tuple[str, dict[str, float | None], str, FaceTrack, float | None], *, crops: list[Crop], limits: media.Limits
) -> Iterator[Part]:
    """`_cut` in a process that reads media.

    Raises:
        ClipError: The file cannot be read, or is not the one of the face track.
    """
    path, part, sha256, rows, rate = job
    check_hash(now := hash_of(path), path)
    if sha256 != now:
        raise ClipError("the file was replaced after its faces were followed: run the extraction again")
    kept = sampled_rows(rows.time, rows.valid, rate)
    count = 0

    def frames() -> Iterator[tuple[int, media.Frame]]:
        nonlocal count
        for i, frame in enumerate(media.frames(path, limits=limits, **part)):
            if i >= len(rows.time) or frame.time != rows.time[i]:
                raise ClipError(f"the frame at {frame.time:.3f} s is not in the face track: run the extraction again")
            count += 1
            if kept[i]:
                yield i, frame

    # Cut frame by frame, so that only crops stay in memory.
    for group in groups((rows.valid[i], _cut_frame(frame, rows, i, crops)) for i, frame in frames()):
        valid, cuts = zip(*group, strict=True)
        kinds = zip(*cuts, strict=True)
        yield np.array(valid), [[own for own in kind if own is not None] for kind in kinds]
    if count != len(rows.time):
        raise ClipError(f"{count} frames decoded, {len(rows.time)} in the face track: run the extraction again")


def _cut_frame(frame: media.Frame, rows: FaceTrack, i: int, crops: list[Crop]) -> list[np.ndarray | None]:
    """The crops of frame i of a clip, None where it has no face."""
    if not rows.valid[i]:
        return [None] * len(crops)
    return [warp(frame.image, rows.box[i], rows.landmarks[i], crop) for crop in crops]
