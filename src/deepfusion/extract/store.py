"""All shards of a corpus -> its feature store."""

from pathlib import Path

from deepfusion import __version__, stages
from deepfusion.config import Extraction
from deepfusion.corpora import read_manifest
from deepfusion.plan import load_corpus
from deepfusion.store.master import build_store


def join(manifest: Path, shards: Path, out: Path, *, config: Extraction) -> None:
    """Join the shards of all stages.

    Args:
        manifest: The resolved manifest.
        shards: Folder of the shards, `<stage>/<shard>.h5`.
        out: The store.
        config: Kept in the store; says which stages and how many clips a shard.
    """
    clips = read_manifest(manifest, labels=None)
    names = [stages.shard_name(i) for i in range(len(stages.blocks(len(clips), config.store.clips_per_shard)))]
    paths = {
        stage: [shards / stage / f"{name}.h5" for name in names] for stage in ("faces", *config.networks, "spectrogram")
    }
    audio = paths.pop("spectrogram")
    corpus = load_corpus(config.corpus, out.parent)
    attrs = {
        "corpus": corpus.name,
        "citation": corpus.citation,
        "licence": corpus.licence,
        "config": config.model_dump_json(by_alias=True),
        "code_version": __version__,
    }
    build_store(out, clips, video=paths, audio=audio, labels=corpus.labels, attrs=attrs)
