"""What the workflow has to make for a configuration: shards, folds, and where each file goes."""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from deepfusion import stages
from deepfusion.atomic import write_atomically
from deepfusion.cache_key import media_files
from deepfusion.config import Config, CorpusSettings
from deepfusion.corpora import Corpus, load
from deepfusion.corpora.folds import Fold
from deepfusion.corpora.manifest import manifest_text
from deepfusion.corpora.needs import divide, need_classes
from deepfusion.networks.catalogue import find, fingerprint

RESULTS = Path("results")

# What needs labels and speakers, as messages name it.
TRAINING = "training (train_fbp, fusion_study)"

# Columns of the manifest that features depend on: not labels, speakers or splits.
NEEDED = ["id", "path", "start", "end", "audio", "person"]

BRACES = re.compile("[{}]")


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

    def _known(self, paths: Iterable[str]) -> list[str]:
        """Files as Snakemake knows them: relative where they lie below the working folder."""
        here = f"{Path.cwd()}{os.sep}"  # so that a project can be moved
        return [path.removeprefix(here) for path in paths]

    @cached_property
    def _files(self) -> dict[str, list[str]]:
        """The file of each clip that a stage reads."""
        return {stage: self._known(media_files(stage, self.corpus.clips)) for stage in ("faces", "spectrogram")}

    @property
    def shards(self) -> list[str]:
        """Names of the shards, in the order of the manifest."""
        return list(self._blocks)

    @property
    def manifest(self) -> Path:
        """The resolved manifest."""
        return self.folder / "manifest.csv"

    def rows(self, shard: str) -> Path:
        """The part of the manifest that a shard depends on: its clips, and only the columns that features depend on."""
        return self.folder / "plan" / "clips" / f"{shard}.csv"

    def settings(self, stage: str) -> Path:
        """What a stage depends on besides clips: its settings and the version of its code."""
        return self.folder / "plan" / f"{stage}.json"

    def write(self) -> None:
        """Write what the jobs read, each file only where it differs: a newer file makes stale what depends on it.

        So an edited manifest or setting is noticed whether Snakemake has a record of the earlier run or not, and no
        job stands above the shards: Snakemake would skip their own reasons to run again.

        Raises:
            MachineError: The folder cannot be written.
        """
        clips = self.corpus.clips
        texts = {self.manifest: manifest_text(self.manifest, clips)}
        for shard, block in self._blocks.items():
            texts[self.rows(shard)] = manifest_text(self.rows(shard), clips.iloc[block][NEEDED])
        config, dtype = self.config, self.config.store.dtype
        for stage, *depends in (
            ("faces", config.faces, config.limits),
            ("networks", config.networks, config.limits, dtype),
            ("spectrogram", config.spectrogram, config.limits, dtype),
        ):
            texts[self.settings(stage)] = _as_json({"version": stages.VERSIONS[stage], "settings": depends})
        texts[self.settings("store")] = _as_json(json.loads(self.extraction_json))
        for path, text in texts.items():
            if not path.is_file() or path.read_bytes() != text.encode():
                write_atomically(path, partial(Path.write_bytes, data=text.encode()))

    def media(self, stage: str, shard: str) -> list[str]:
        """Files of a shard's clips that a stage reads, those that Snakemake can watch.

        Raises:
            UserError: Files of the corpus are missing, each with its line of the manifest.
        """
        if self.config.corpus.source != "demo":
            self._checked  # noqa: B018  once
        return sorted(file for file in set(self._files[stage][self._blocks[shard]]) if not BRACES.search(file))

    def stamps(self, stage: str, shard: str) -> list[str]:
        """Size and time of the files that Snakemake would take for patterns, {1}.mp4: it cannot watch them itself."""
        files = sorted(file for file in set(self._files[stage][self._blocks[shard]]) if BRACES.search(file))
        stats = [Path(file).stat() if Path(file).exists() else None for file in files]
        return [f"{stat.st_size} {stat.st_mtime_ns}" if stat else "" for stat in stats]

    @cached_property
    def _checked(self) -> None:
        self.corpus.check_files()

    @property
    def generated(self) -> list[str]:
        """Files of one generated speaker, {speaker} standing for the name; all speakers have the same."""
        speakers = self.corpus.clips["speaker"]
        first = speakers.iloc[0]
        mine = [Path(path) for path, speaker in zip(self._files["faces"], speakers, strict=True) if speaker == first]
        return [str(path.with_name(path.name.replace(first, "{speaker}"))) for path in mine]

    @property
    def _not_ours(self) -> set[str]:
        """Settings of another kind of corpus: they must make nothing stale."""
        return set() if self.config.corpus.source == "demo" else {"demo"}

    @property
    def extraction_json(self) -> str:
        """What the store depends on, as `deepfusion store` takes it."""
        groups = ("finetune", "fusion", "study", "protocol", "device", "engine")
        others = {**dict.fromkeys(groups, True), "corpus": self._not_ours}
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


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=1, default=lambda settings: settings.model_dump(mode="json")) + "\n"


def load_corpus(settings: CorpusSettings, folder: Path) -> Corpus:
    """The corpus of a configuration; a generated one stands under `folder`/corpus."""
    return load(
        kind=settings.source,
        name=settings.name,
        path=(Path(settings.path) if settings.path else folder / "corpus").absolute(),
        labels=settings.labels,
        settings=settings.demo.model_dump(),
    )
