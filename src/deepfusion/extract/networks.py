"""Face tracks of a block -> a shard of face features for each network, one decoding for all of them."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from deepfusion import media, stages
from deepfusion.config import NetworkSettings
from deepfusion.errors import ClipError
from deepfusion.extract.common import groups, kept, report, segment
from deepfusion.faces.track import FaceTrack
from deepfusion.faces.warp import warp
from deepfusion.ledger import Clock, measured
from deepfusion.networks import catalogue
from deepfusion.networks.inference import embed
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
    """
    with read_shard(tracks) as faces, ExitStack() as stack:
        runs = []
        for slot, out in outs.items():
            settings = networks[slot]
            fingerprint = catalogue.fingerprint(settings.network, settings.weights)
            key = stages.digest(stages.VERSIONS["networks"], faces.key, fingerprint, dtype)
            if not kept(out, key):
                run = _Run(
                    slot, settings, out, key=key, fingerprint=fingerprint, dtype=dtype, device=device, stack=stack
                )
                runs.append(run)
        if not runs:
            return
        shards, threads = [run.shard for run in runs], torch.get_num_threads()
        clock = stack.enter_context(measured(*shards, media_s=faces.seconds(), threads=threads, device=_name(device)))
        for clip in track(list(clips.itertuples()), f"networks {tracks.stem}", unit="clips"):
            for run in runs:
                run.shard.begin(clip.id)
            status = faces.clips.loc[clip.id]
            if status["status"] == "ok":
                try:
                    _embed_clip(clip, faces, runs, clock)
                    for run in runs:
                        run.shard.end()
                except ClipError as error:
                    for run in runs:
                        run.shard.fail(str(error))
            else:
                for run in runs:
                    run.shard.end(status=status["status"], reason=status["reason"])
        told = faces.clips.index[faces.clips["status"] != "ok"]
    for run in runs:
        report(run.out, told=told)


class _Run:
    """One network at work on one block: its module and the shard that it fills."""

    def __init__(
        self,
        slot: str,
        settings: NetworkSettings,
        out: Path,
        *,
        key: str,
        fingerprint: str,
        dtype: str,
        device: torch.device,
        stack: ExitStack,
    ):
        network = catalogue.find(settings.network)
        self.slot, self.out, self.dtype, self.device = slot, out, dtype, device
        self.crop, self.dimension = network.crop, network.dimension
        self.module = catalogue.load(network.name, weights=settings.weights, sha256=settings.sha256)
        self.shard = stack.enter_context(ShardWriter(out, stage=slot, key=key))
        self.shard.column(
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

    def append(self, images: list[np.ndarray], track: FaceTrack, clock: Clock) -> None:
        """Features of successive frames; a frame without a face keeps its place as a row of NaN."""
        valid = np.flatnonzero(track.valid)
        features = np.full((len(images), self.dimension), np.nan, self.dtype)
        if len(valid):
            crops = [warp(images[i], track.box[i], track.landmarks[i], self.crop) for i in valid]
            embedded = clock.timed(self.slot, embed)
            features[valid] = embedded(self.module, np.stack(crops), device=self.device)
            if not np.isfinite(features[valid]).all():
                raise ClipError(f"{self.slot}: a feature is not a finite {self.dtype}: use float32 (store.dtype)")
        self.shard.append(self.slot, features)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _embed_clip(clip: Any, faces: Shard, runs: list[_Run], clock: Clock) -> None:
    rows = FaceTrack(**faces[clip.id])
    first = 0
    for frames in groups(media.frames(Path(clip.path), **segment(clip))):
        part = FaceTrack(**{name: values[first : first + len(frames)] for name, values in vars(rows).items()})
        if [frame.time for frame in frames] != part.time.tolist():
            raise ClipError("the frames are not those of the face track: was the file changed meanwhile?")
        for run in runs:
            run.append([frame.image for frame in frames], part, clock)
        first += len(frames)
    if first != len(rows.time):
        raise ClipError(f"{first} frames decoded, {len(rows.time)} in the face track: was the file changed meanwhile?")
