"""What the workflow has to make for a configuration: shards, folds, and where each file goes."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from deepfusion import stages
from deepfusion.config import Config, CorpusSettings
from deepfusion.corpora import Corpus, load
from deepfusion.corpora.folds import Fold
from deepfusion.corpora.needs import divide, need_classes
from deepfusion.networks.catalogue import find, fingerprint

RESULTS = Path("results")

# What needs labels and speakers, as messages name it.
TRAINING = "training (train_fbp, fusion_study)"

# Columns of the manifest that features depend on.
DEPENDS_ON = ["id", "path", "start", "end"]


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

    @cached_property
    def _paths(self) -> list[str]:
        """Files of the clips as Snakemake knows them: relative where they lie below the working folder."""
        here = f"{Path.cwd()}{os.sep}"  # so that a project can be moved
        return [path.removeprefix(here) for path in self.corpus.clips["path"]]

    @cached_property
    def _needed(self) -> list[list[str]]:
        """What features depend on in the manifest, a row a clip: not labels, speakers or splits."""
        return self._texts(self.corpus.clips[DEPENDS_ON])

    @property
    def shards(self) -> list[str]:
        """Names of the shards, in the order of the manifest."""
        return list(self._blocks)

    def rows(self, shard: str) -> str:
        """The rows of the manifest in a shard, as `first:last`."""
        return f"{self._blocks[shard].start}:{self._blocks[shard].stop}"

    def rows_digest(self, shard: str) -> str:
        """Names what a shard's features depend on in the manifest."""
        return stages.digest(DEPENDS_ON, self._needed[self._blocks[shard]])

    def media(self, shard: str) -> list[str]:
        """Files of a shard's clips."""
        return sorted(set(self._paths[self._blocks[shard]]))

    @property
    def generated(self) -> list[str]:
        """Files of one generated speaker, {speaker} standing for the name; all speakers have the same."""
        speakers = self.corpus.clips["speaker"]
        first = speakers.iloc[0]
        mine = [Path(path) for path, speaker in zip(self._paths, speakers, strict=True) if speaker == first]
        return [str(path.with_name(path.name.replace(first, "{speaker}"))) for path in mine]

    @property
    def manifest_digest(self) -> str:
        """Names the resolved manifest."""
        clips = self.corpus.clips
        return stages.digest(list(clips), self._texts(clips))

    def _texts(self, clips: pd.DataFrame) -> list[list[str]]:
        return clips.assign(path=self._paths).astype(str).to_numpy().tolist()

    @property
    def _not_ours(self) -> set[str]:
        """Settings of another kind of corpus: they must make nothing stale."""
        return set() if self.config.corpus.source == "demo" else {"demo"}

    @property
    def corpus_json(self) -> str:
        """What the manifest depends on, as `deepfusion manifest` takes it."""
        return self.config.corpus.model_dump_json(exclude=self._not_ours)

    @property
    def extraction_json(self) -> str:
        """What the store depends on, as `deepfusion store` takes it."""
        rooms = ("finetune", "fusion", "study", "protocol", "device", "engine")
        others = {**dict.fromkeys(rooms, True), "corpus": self._not_ours}
        return self.config.model_dump_json(exclude={name: part for name, part in others.items() if part})

    @property
    def networks_json(self) -> str:
        """The slots, as `deepfusion networks` takes them."""
        return json.dumps({slot: settings.model_dump(mode="json") for slot, settings in self.config.networks.items()})

    @property
    def fetched(self) -> set[str]:
        """The networks of the slots whose weights anybody may download, and that no file of the user's replaces."""
        networks = self.config.networks.values()
        return {slot.network for slot in networks if slot.weights is None and find(slot.network).address}

    @cached_property
    def fingerprints(self) -> list[str]:
        """The weights and definition of each slot's network, in the order of the slots."""
        return [fingerprint(slot.network, slot.weights) for slot in self.config.networks.values()]

    @cached_property
    def _folds(self) -> dict[str, Fold]:
        protocol, corpus = self.config.protocol, self.corpus
        made = divide(corpus.clips, protocol=protocol.folds, k=protocol.k, purpose=TRAINING, origin=corpus.origin)
        return {fold.name: fold for fold in made}

    @property
    def folds(self) -> list[str]:
        """Names of the folds."""
        return list(self._folds)

    def fold(self, name: str) -> Fold:
        """A fold by its name."""
        return self._folds[name]

    @property
    def folds_json(self) -> str:
        """All folds, as `deepfusion study` takes them."""
        return json.dumps([vars(fold) for fold in self._folds.values()])

    @property
    def everyone(self) -> Fold:
        """The fold in which nobody is tested; the corpus' own held-out clips choose the epoch, if it is split."""
        need_classes(self.corpus.clips, purpose=TRAINING, origin=self.corpus.origin)
        if self.config.protocol.folds != "split":
            return Fold("everyone", test=())
        (fold,) = self._folds.values()
        return Fold("everyone", test=(), choose=fold.choose or fold.test, by=fold.by)


def load_corpus(settings: CorpusSettings, folder: Path) -> Corpus:
    """The corpus of a configuration; a generated one stands under `folder`/corpus."""
    return load(
        kind=settings.source,
        name=settings.name,
        path=(Path(settings.path) if settings.path else folder / "corpus").absolute(),
        labels=settings.labels,
        settings=settings.demo.model_dump(),
    )
