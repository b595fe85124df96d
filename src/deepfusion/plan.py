"""What the workflow has to make for a configuration: shards, folds, and where each file goes."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from deepfusion import stages
from deepfusion.config import Config, CorpusSettings
from deepfusion.corpora import Corpus, load
from deepfusion.corpora.folds import Fold, folds
from deepfusion.networks.catalogue import fingerprint

RESULTS = Path("results")


@dataclass(frozen=True)
class Plan:
    """The corpus of a configuration, cut into shards and folds.

    The Snakefile asks it for names and parameters; nothing here reads media or HDF5.
    """

    config: Config

    @property
    def folder(self) -> Path:
        """Where the corpus' results go."""
        return RESULTS / self.config.corpus.name

    @cached_property
    def corpus(self) -> Corpus:
        """The clips; those of the demo corpus are known before they are generated."""
        return load_corpus(self.config.corpus, self.folder)

    @cached_property
    def _blocks(self) -> dict[str, slice]:
        parts = stages.blocks(len(self.corpus.clips), self.config.store.clips_per_shard)
        return {stages.shard_name(i): part for i, part in enumerate(parts)}

    @property
    def shards(self) -> list[str]:
        """Names of the shards, in the order of the manifest."""
        return list(self._blocks)

    def rows(self, shard: str) -> str:
        """The rows of the manifest in a shard, as `first:last`."""
        return f"{self._blocks[shard].start}:{self._blocks[shard].stop}"

    def rows_digest(self, shard: str) -> str:
        """Names what a shard's features depend on in the manifest."""
        return stages.rows_digest(self.corpus.clips.iloc[self._blocks[shard]])

    def media(self, shard: str) -> list[str]:
        """Files of a shard's clips."""
        return sorted(set(self.corpus.clips.iloc[self._blocks[shard]]["path"]))

    @property
    def manifest_digest(self) -> str:
        """Names the resolved manifest."""
        return stages.digest(self.corpus.clips.astype(str).to_numpy().tolist())

    @property
    def networks_json(self) -> str:
        """The slots, as `deepfusion networks` takes them."""
        return json.dumps({slot: settings.model_dump() for slot, settings in self.config.networks.items()})

    @property
    def fingerprints(self) -> list[str]:
        """The weights and definition of each slot's network, in the order of the slots."""
        return [
            fingerprint(slot.network, Path(slot.weights) if slot.weights else None)
            for slot in self.config.networks.values()
        ]

    @cached_property
    def _folds(self) -> dict[str, Fold]:
        protocol = self.config.protocol
        made = folds(self.corpus.clips["speaker"], protocol=protocol.folds, k=protocol.k)
        return {fold.name: fold for fold in made}

    @property
    def folds(self) -> list[str]:
        """Names of the folds."""
        return list(self._folds)

    def test_speakers(self, fold: str) -> list[str]:
        """Who is tested in a fold."""
        return list(self._folds[fold].test)


def load_corpus(settings: CorpusSettings, folder: Path) -> Corpus:
    """The corpus of a configuration; a generated one stands under `folder`/corpus."""
    return load(
        kind=settings.source,
        name=settings.name,
        path=(Path(settings.path) if settings.path else folder / "corpus").absolute(),
        labels=list(settings.labels) if settings.labels else None,
        settings=settings.demo.model_dump(),
    )
