"""Recompute only what is damaged or missing in a results folder."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch

from deepfusion.config import Extraction, from_json
from deepfusion.corpora import read_manifest
from deepfusion.corpora.manifest import missing_files
from deepfusion.errors import UserError
from deepfusion.extract.audio_encoder import encoder_shard
from deepfusion.extract.faces import faces_shard
from deepfusion.extract.networks import network_shards
from deepfusion.extract.spectrogram import spectrogram_shard
from deepfusion.extract.store import join, publish
from deepfusion.networks.engines import Engine
from deepfusion.plan import stage_names
from deepfusion.sharding import blocks, shard_name
from deepfusion.store import DamagedError, check_whole
from deepfusion.versions import ENCODER

log = logging.getLogger(__name__)


def repair(folder: Path, *, device: torch.device, engine: Engine = "auto", workers: int = 1) -> list[Path]:
    """Recompute the damaged and missing shards of a corpus, and the store if it or a shard was affected.

    Args:
        folder: Results of a corpus; `plan/` defines the shards.
        device: Where the networks run.
        engine: Their inference engine.
        workers: Processes that follow faces.

    Returns:
        The recomputed files.

    Raises:
        UserError: The folder has no plan, or media files of a damaged shard are missing.
    """
    plan, manifest = folder / "plan" / "store.json", folder / "manifest.csv"
    if not (plan.is_file() and manifest.is_file()):
        raise UserError(f"{folder} holds no results of an extraction: it has no {plan.name} or {manifest.name}")
    config = from_json(Extraction, plan.read_text(encoding="utf-8"))
    made: list[Path] = []
    for name, clips in _blocks(manifest, config):
        paths = {stage: folder / "shards" / stage / f"{name}.h5" for stage in stage_names(config)}
        lost = {stage: path for stage, path in paths.items() if not _is_whole(path)}
        if not lost:
            continue
        from_media = [path for stage, path in lost.items() if stage != ENCODER]
        if from_media and (missing := missing_files(clips, manifest=None)):
            raise UserError(f"{', '.join(map(str, from_media))} cannot be recomputed: {'; '.join(missing[:5])}")
        common = {"dtype": config.store.dtype, "limits": config.limits}
        if "faces" in lost:
            faces_shard(clips, lost["faces"], settings=config.faces, limits=config.limits, workers=workers)
        if features := {slot: path for slot, path in lost.items() if slot in config.networks}:
            network_shards(
                clips,
                paths["faces"],
                features,
                networks=config.networks,
                rate=config.faces.rate,
                device=device,
                engine=engine,
                **common,
            )
        if "spectrogram" in lost:
            spectrogram_shard(clips, lost["spectrogram"], settings=config.spectrogram, **common)
        if ENCODER in lost:
            encoder_shard(paths["spectrogram"], lost[ENCODER], settings=config.audio_encoder)
        made += lost.values()
    store, joined = folder / "features.h5", folder / "shards" / "features.h5"
    if made or not _is_whole(store):
        join(manifest, folder / "shards", joined, config=config)
        publish(joined, store)
        made.append(store)
    return made


def _blocks(manifest: Path, config: Extraction) -> Iterator[tuple[str, pd.DataFrame]]:
    """Name and clips of each shard."""
    clips = read_manifest(manifest, labels=None)
    for i, block in enumerate(blocks(len(clips), config.store.clips_per_shard)):
        yield shard_name(i), clips.iloc[block]


def _is_whole(path: Path) -> bool:
    """Whether a file is there and undamaged; a damaged one is removed."""
    if not path.exists():
        log.info("%s is missing", path)
        return False
    try:
        check_whole(path)
    except DamagedError as error:
        log.warning("%s", error)
        path.unlink()
        return False
    return True
