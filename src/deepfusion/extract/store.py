"""All shards of a corpus -> its feature store, if they match manifest and configuration."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from deepfusion import __version__
from deepfusion.atomic import write_atomically
from deepfusion.cache_key import encoder_key, file_sha256, media_key, network_key, outcome_key
from deepfusion.config import Extraction
from deepfusion.corpora import read_manifest
from deepfusion.errors import MachineError
from deepfusion.extract.common import link
from deepfusion.extract.derived import derived_columns
from deepfusion.faces.sampling import sampled_rows
from deepfusion.networks import catalogue
from deepfusion.networks.encoder_file import encoder_path, unsuited
from deepfusion.plan import load_corpus, stage_names
from deepfusion.progress import track
from deepfusion.sharding import blocks, shard_name
from deepfusion.store import DamagedError, Shard, build_store, read_shard
from deepfusion.versions import ENCODER

log = logging.getLogger(__name__)


def join(manifest: Path, shards: Path, out: Path, *, config: Extraction) -> None:
    """Join the shards of all stages. If one does not match, `out` stays as it was.

    Args:
        manifest: The resolved manifest.
        shards: Folder of the shards, `<stage>/<shard>.h5`.
        out: The store.
        config: Kept in the store; says which stages and how many clips per shard.

    Raises:
        MachineError: A shard is damaged, or made from other clips, segments, settings, weights or code. It is removed,
            so that the next run recomputes it.
    """
    clips = read_manifest(manifest, labels=None)
    rows = blocks(len(clips), config.store.clips_per_shard)
    names = [shard_name(i) for i in range(len(rows))]
    if reason := unsuited(config.audio_encoder.weights, config.spectrogram.model_dump()):
        log.warning("%s", reason)
    paths = {stage: [shards / stage / f"{name}.h5" for name in names] for stage in stage_names(config)}
    corpus = load_corpus(config.corpus, out.parent)
    attrs = {
        "corpus": corpus.name,
        "citation": corpus.citation,
        "licence": corpus.licence,
        "config": config.model_dump_json(by_alias=True),
        "code_version": __version__,
        **({"left_out": corpus.left_out_text} if corpus.left_out else {}),
    }
    try:
        for i, block in enumerate(track(rows, "check", unit="shards")):
            _check({stage: files[i] for stage, files in paths.items()}, clips.iloc[block], config)
        audio, encoder = paths.pop("spectrogram"), paths.pop(ENCODER, [])
        build_store(
            out,
            clips,
            video=paths,
            audio=audio,
            encoder=encoder,
            labels=corpus.labels,
            attrs=attrs,
            choose=partial(sampled_rows, rate=config.faces.rate) if config.faces.rate else None,
            derived=derived_columns(config.networks),
        )
    except DamagedError as error:
        if error.path.is_relative_to(shards):
            error.path.unlink(missing_ok=True)
        raise MachineError(
            f"{error.path} is damaged ({error.reason}): it is removed, and the next run makes it again"
        ) from error


def publish(joined: Path, out: Path) -> None:
    """Hard-link a store to its final name, or copy it if that is impossible."""
    try:
        link(joined, out)
    except OSError:  # the file system knows no hard links, or `out` is on another one
        write_atomically(out, partial(shutil.copyfile, joined))


def _check(paths: Mapping[str, Path], clips: pd.DataFrame, config: Extraction) -> None:
    """Check that the shards of one block match manifest and configuration.

    Raises:
        MachineError: One is not.
    """
    dtype = config.store.dtype
    with read_shard(paths["faces"]) as faces, read_shard(paths["spectrogram"]) as audio:
        _compare(faces, media_key("faces", clips, _hashes(faces, clips), config.faces.tracking))
        hashes = _hashes(audio, clips)
        _compare(audio, media_key("spectrogram", clips, hashes, config.spectrogram.model_dump(), dtype))
        tracks, spectrograms = (outcome_key(shard.key, shard.clips) for shard in (faces, audio))
    for slot, settings in config.networks.items():
        with read_shard(paths[slot]) as features:
            fingerprint = catalogue.fingerprint(settings.network, settings.weights)
            _compare(features, network_key(tracks, fingerprint, dtype, config.faces.rate))
    if ENCODER in paths:
        sha256 = file_sha256(encoder_path(config.audio_encoder.weights))
        with read_shard(paths[ENCODER]) as positions:
            _compare(positions, encoder_key(spectrograms, sha256))


def _hashes(shard: Shard, clips: pd.DataFrame) -> Sequence[str]:
    """SHA-256 of the files that a shard was made from, as it recorded them, in the order of the manifest."""
    known = shard.clips.reindex(clips["id"], fill_value="")
    hashes = known["sha256"] if "sha256" in known else pd.Series("", known.index)
    if "audio_sha256" in known:
        hashes = hashes.where(hashes.ne(""), known["audio_sha256"])
    return hashes.tolist()


def _compare(shard: Shard, key: str) -> None:
    if shard.key != key:
        shard.path.unlink()
        raise MachineError(
            f"{shard.path} was made from other clips, segments, settings, weights or code than manifest and "
            "configuration have now: it is removed, and the next run makes it again"
        )
