"""Face tracks of a block -> a shard of face features for each network, one decoding for all of them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from deepfusion import media, stages
from deepfusion.config import NetworkSettings
from deepfusion.errors import ClipError
from deepfusion.extract.ahead import ahead
from deepfusion.extract.batches import Batches
from deepfusion.extract.common import groups, kept, report, segment
from deepfusion.faces.track import FaceTrack
from deepfusion.faces.warp import Crop, warp
from deepfusion.ledger import measured
from deepfusion.networks import catalogue, engines
from deepfusion.progress import track
from deepfusion.store.shard import Shard, ShardWriter, read_shard


def network_shards(
    clips: pd.DataFrame,
    tracks: Path,
    outs: Mapping[str, Path],
    *,
    networks: Mapping[str, NetworkSettings],
    dtype: str,
    device: torch.device,
    engine: engines.Engine = "auto",
    workers: int = 0,
) -> None:
    """Run the networks of all slots over the followed faces, one decoding for all of them, a shard for each slot.

    A slot whose shard is up to date is left alone: changing one network's weights recomputes that network alone.

    Args:
        clips: Rows of a manifest.
        tracks: The shard of face tracks of the same clips.
        outs: Slot -> shard.
        networks: Slot -> which network, and the user's weights file if it has one.
        dtype: float32 or float16, of the stored features.
        device: Where the networks run.
        engine: What computes them.
        workers: Threads that decode and cut, each a clip, while the networks run; 0: nothing at the same time, which is
            right where the networks run on the same cores.
    """
    with read_shard(tracks) as faces, ExitStack() as stack:
        stale = {}
        for slot, out in outs.items():
            settings = networks[slot]
            fingerprint = catalogue.fingerprint(settings.network, settings.weights)
            key = stages.digest(stages.VERSIONS["networks"], faces.key, fingerprint, dtype)
            if not kept(out, key):
                shard = stack.enter_context(ShardWriter(out, stage=slot, key=key))
                _declare(shard, slot, catalogue.find(settings.network), fingerprint, dtype)
                stale[slot] = shard
        if not stale:
            return
        cards = {slot: catalogue.find(networks[slot].network) for slot in stale}
        opened = {slot: _opened(networks[slot], device, engine) for slot in stale}
        where = {"device": _name(device), "threads": workers or torch.get_num_threads(), "alone": not workers}
        clock = stack.enter_context(measured(*stale.values(), media_s=faces.seconds(), **where))
        runs = [
            Batches(
                clock.timed(slot, opened[slot]),
                batch=engines.batch(device),
                shard=shard,
                column=slot,
                dimension=cards[slot].dimension,
                dtype=dtype,
            )
            for slot, shard in stale.items()
        ]
        crops = [card.crop for card in cards.values()]
        streams = (_cut(clip, faces, crops) for clip in clips.itertuples())
        parts = stack.enter_context(closing(ahead(streams, workers=workers)))
        for clip in track(list(clips.itertuples()), f"networks {tracks.stem}", unit="clips"):
            for run in runs:
                run.begin(clip.id)
            try:
                for valid, cut in next(parts):
                    for run, own in zip(runs, cut, strict=True):
                        run.rows(valid, own)
            except ClipError as error:
                for run in runs:
                    run.fail(str(error))
            else:
                status, reason = faces.clips.loc[clip.id, ["status", "reason"]]
                for run in runs:
                    run.end(status=status, reason=reason)
        for run in runs:
            run.finish()
        told = faces.clips.index[faces.clips["status"] != "ok"]
    for slot in stale:
        report(outs[slot], told=told)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _opened(settings: NetworkSettings, device: torch.device, engine: engines.Engine) -> engines.Features:
    module = catalogue.load(settings.network, weights=settings.weights, sha256=settings.sha256)
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


def _cut(clip: Any, faces: Shard, crops: list[Crop]) -> Iterator[tuple[np.ndarray, list[list[np.ndarray]]]]:
    """Which of some successive frames of a clip have a face, and for each kind of crop, their crops.

    A clip that the face tracks say nothing about has no frames.

    Raises:
        ClipError: the file cannot be read, or its frames are not those of the face track.
    """
    if faces.clips.loc[clip.id, "status"] != "ok":
        return
    rows = FaceTrack(**faces[clip.id])
    first = 0
    for frames in groups(media.frames(Path(clip.path), **segment(clip))):
        part = FaceTrack(**{name: values[first : first + len(frames)] for name, values in vars(rows).items()})
        if [frame.time for frame in frames] != part.time.tolist():
            raise ClipError("the frames are not those of the face track: was the file changed meanwhile?")
        seen = [(frames[i].image, part.box[i], part.landmarks[i]) for i in np.flatnonzero(part.valid)]
        yield part.valid, [[warp(*face, crop) for face in seen] for crop in crops]
        first += len(frames)
    if first != len(rows.time):
        raise ClipError(f"{first} frames decoded, {len(rows.time)} in the face track: was the file changed meanwhile?")
