"""The workflow's plan for a configuration: shards, folds, and the path of each file."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from deepfusion.atomic import write_atomically
from deepfusion.cache_key import digest, file_sha256, media_files
from deepfusion.config import Config, CorpusSettings, Extraction
from deepfusion.corpora import Corpus, load
from deepfusion.corpora.folds import Fold
from deepfusion.corpora.manifest import manifest_text, read_manifest
from deepfusion.corpora.needs import divide, labelled, need_classes
from deepfusion.errors import UserError
from deepfusion.networks.catalogue import find, fingerprint
from deepfusion.networks.encoder_file import encoder_path, unsuited
from deepfusion.sharding import blocks, shard_name
from deepfusion.versions import ENCODER, VERSIONS

RESULTS = Path("results")

# Stages that need labels and speakers, for messages.
TRAINING = "training (train_fbp, fusion_study)"

# Columns of the manifest that features depend on: not labels, speakers or splits.
NEEDED = ["id", "path", "start", "end", "audio", "person"]


@dataclass(frozen=True)
class Plan:
    """The corpus of a configuration, cut into shards and folds.

    The Snakefile asks it for names and parameters; nothing here reads media, or HDF5 except a store without media.
    """

    config: Config

    @property
    def folder(self) -> Path:
        """Folder of the corpus' results."""
        return RESULTS / self.config.corpus.name

    @cached_property
    def corpus(self) -> Corpus:
        """The clips; those of the demo corpus are known before they are generated."""
        return load_corpus(self.config.corpus, self.folder)

    @cached_property
    def _blocks(self) -> dict[str, slice]:
        parts = blocks(len(self.corpus.clips), self.config.store.clips_per_shard)
        return {shard_name(i): part for i, part in enumerate(parts)}

    def _known(self, paths: Iterable[str]) -> list[str]:
        """Paths as Snakemake knows them: relative if below the working folder."""
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

    def clips_of(self, shard: str) -> int:
        """Number of clips of a shard."""
        return len(range(*self._blocks[shard].indices(len(self.corpus.clips))))

    @property
    def manifest(self) -> Path:
        """The resolved manifest."""
        return self.folder / "manifest.csv"

    def rows(self, shard: str) -> Path:
        """The part of the manifest that a shard depends on: its clips, and only the columns that features depend on."""
        return self.folder / "plan" / "clips" / f"{shard}.csv"

    @property
    def left_out(self) -> Path:
        """Text file of the clips that an adapter leaves out, by reason; written only if there are any."""
        return self.folder / "left_out.txt"

    def settings(self, stage: str) -> Path:
        """Settings and code version of a stage: everything it depends on apart from clips."""
        return self.folder / "plan" / f"{stage}.json"

    @property
    def store(self) -> Path:
        """The feature store."""
        return self.folder / "features.h5"

    @cached_property
    def is_frozen(self) -> bool:
        """Whether the store is used as it is, because no media file of the corpus is there.

        A changed label or speaker needs no media: while all shards are there, the store is joined again.

        Raises:
            UserError: See `FeatureStore`.
            MachineError: See `FeatureStore`.
        """
        if self.config.corpus.source == "demo" or not self.store.exists():
            return False
        if any(map(os.path.exists, self._media)):  # pathlib raises in a folder that cannot be searched
            return False
        changed, _ = self._compared
        return not (changed and self._can_join)

    @property
    def as_it_is(self) -> str:
        """One line on a frozen store, with the settings that have no effect on it.

        Raises:
            UserError: Its clips are not those of the manifest.
        """
        clips, settings = self._compared
        if clips:
            more = f" (and {len(clips) - 1} more differences)" if len(clips) > 1 else ""
            raise UserError(
                f"{self.store} is not of {self.corpus.origin} as it is now: {clips[0]}{more}; it cannot be made again, "
                "because no media file is there: restore the media, or undo the change"
            )
        line = f"no media file is there: {self.store} is used as it is"
        if settings:
            line += f"; WARNING: it was made with other settings, and a change has no effect: {', '.join(settings)}"
        return line

    @cached_property
    def _compared(self) -> tuple[list[str], list[str]]:
        """In which clips and settings the store differs from manifest and configuration."""
        from deepfusion.store import FeatureStore
        from deepfusion.without_media import changed_clips, changed_settings

        with FeatureStore(self.store) as store:
            return changed_clips(store, self.corpus.clips), changed_settings(store, self.config)

    @property
    def _can_join(self) -> bool:
        """Whether all shards that are made from media are there, and of the present clips, settings and code."""
        try:
            texts = self._texts
        except UserError:  # clips that were never extracted
            return False
        plans = [*map(self.rows, self.shards), *map(self.settings, ("faces", "networks", "spectrogram"))]
        stages = ("faces", *self.config.networks, "spectrogram")
        shards = [self.folder / "shards" / stage / f"{shard}.h5" for stage in stages for shard in self.shards]
        return all(path.is_file() for path in shards) and all(_is_written(path, texts[path]) for path in plans)

    @property
    def vanished(self) -> str:
        """Warning of the clips of the last run whose media are gone from a listed corpus; "" if there are none."""
        if self.config.corpus.source in ("demo", "manifest") or not self.manifest.is_file():
            return ""
        try:
            before = read_manifest(self.manifest, labels=None)
        except UserError:  # not as this version writes it
            return ""
        left = before[~before["id"].isin(self.corpus.clips["id"])]
        gone = [clip.id for clip in left[["id", "path"]].itertuples() if not os.path.exists(clip.path)]  # noqa: PTH110
        if not gone:
            return ""
        return (
            f"WARNING: the media of {len(gone)} clips of the last run are gone from {self.config.corpus.path}, first "
            f"{gone[0]!r}: these clips leave the store, and the shards from the first of them on are computed again. "
            "To keep their features, stop here and restore the media"
        )

    @cached_property
    def _media(self) -> list[str]:
        return sorted({file for files in self._files.values() for file in files})

    @property
    def _seen(self) -> Path:
        return self.folder / "plan" / "media.json"

    @cached_property
    def _stamps(self) -> dict[str, str]:
        """Size and modification time of each media file; of a deleted file, its last known ones.

        Raises:
            UserError: Files cannot be read, or are missing that were never present; each with its line of the manifest.
        """
        if self.config.corpus.source == "demo":
            return dict.fromkeys(self._media, "")  # generated by the workflow itself
        before = json.loads(self._seen.read_text(encoding="utf-8")) if self._seen.is_file() else {}
        stamps = {}
        for file in self._media:
            try:
                found = os.stat(file)  # noqa: PTH116  there may be 100,000
            except PermissionError:
                stamps[file] = ""
            except OSError:
                stamps[file] = before.get(file, "")
            else:
                stamps[file] = f"{found.st_size} {found.st_mtime_ns}" if os.access(file, os.R_OK) else ""
        if "" in stamps.values():
            self.corpus.check_files()
        return stamps

    @cached_property
    def _texts(self) -> dict[Path, str]:
        """Path -> text of the files that `write` writes."""
        clips = self.corpus.clips
        stamps = {name: [self._stamps[file] for file in files] for name, files in self._files.items()}
        needed = clips[NEEDED].assign(stamp=stamps["faces"], audio_stamp=stamps["spectrogram"])
        texts = {self.manifest: manifest_text(self.manifest, clips), self._seen: _as_json(self._stamps)}
        for shard, block in self._blocks.items():
            texts[self.rows(shard)] = manifest_text(self.rows(shard), needed.iloc[block])
        config, dtype = self.config, self.config.store.dtype
        sampling = [] if config.faces.rate is None else [config.faces.rate]
        # Changed limits start every job, and each keeps its shard unless a clip of it exceeded one.
        for stage, *depends in (
            ("faces", config.faces.tracking, config.limits),
            ("networks", config.networks, config.limits, dtype, *sampling),
            ("spectrogram", config.spectrogram, config.limits, dtype),
        ):
            texts[self.settings(stage)] = _as_json({"version": VERSIONS[stage], "settings": depends})
        if self.corpus.left_out or self.left_out.exists():
            texts[self.left_out] = f"{self.corpus.left_out_text}\n"
        if not self.no_encoder:
            weights = {"version": VERSIONS["audio_encoder"], "sha256": self._encoder["sha256"]}
            texts[self.settings("audio_encoder")] = _as_json(weights)
        texts[self.settings("derived")] = _as_json({"version": VERSIONS["derived"]})
        return texts | {self.settings("store"): _as_json(json.loads(self.extraction_json))}

    @cached_property
    def digest(self) -> str:
        """Hash of everything that the store depends on, except weights that are changed in place.

        Snakemake records a failed job like a successful one, and ignores a missing shard as long as the store exists.
        With this hash, the store's own record differs until the store has been built.
        """
        if self.is_frozen:
            return ""
        return digest([[str(path), text] for path, text in self._texts.items()])

    def write(self) -> None:
        """Write the files that the jobs read, each only if it differs: a newer file makes its dependents stale.

        An edited manifest, clip or setting is thus noticed even if Snakemake has no record of the earlier run. No job
        writes them, because with a job upstream of the shards Snakemake would skip the shards' own reasons to rerun.

        Raises:
            UserError: Media files are missing.
            MachineError: The folder cannot be written.
        """
        for path, text in self._texts.items():
            if not _is_written(path, text):
                write_atomically(path, partial(Path.write_bytes, data=text.encode()))

    def media(self, stage: str, shard: str) -> list[str]:
        """Files of a shard's clips that a job generates; existing files are tracked by their stamps instead."""
        if self.config.corpus.source != "demo":
            return []
        return sorted(set(self._files[stage][self._blocks[shard]]))

    @property
    def generated(self) -> list[str]:
        """Files of one generated speaker, with {speaker} for the name; the same for all speakers."""
        speakers = self.corpus.clips["speaker"]
        first = speakers.iloc[0]
        mine = [Path(path) for path, speaker in zip(self._files["faces"], speakers, strict=True) if speaker == first]
        return [str(path.with_name(path.name.replace(first, "{speaker}"))) for path in mine]

    @property
    def _not_ours(self) -> set[str]:
        """Settings of other kinds of corpora: they must not make anything stale."""
        return set() if self.config.corpus.source == "demo" else {"demo"}

    @property
    def extraction_json(self) -> str:
        """Settings that the store depends on, as `deepfusion store` takes them."""
        groups = ("finetune", "pretrain_audio", "fusion", "study", "protocol", "device", "engine")
        others = {**dict.fromkeys(groups, True), "corpus": self._not_ours}
        return self.config.model_dump_json(exclude={name: part for name, part in others.items() if part})

    @property
    def tracking_json(self) -> str:
        """Settings of face tracking, as `deepfusion faces` takes them."""
        return json.dumps(self.config.faces.tracking, separators=(",", ":"))

    @property
    def networks_json(self) -> str:
        """The slots, as `deepfusion networks` takes them."""
        return json.dumps({slot: settings.model_dump(mode="json") for slot, settings in self.config.networks.items()})

    @property
    def fetched(self) -> set[str]:
        """The slots' networks with downloadable weights that are not replaced by a file of the user's."""
        networks = self.config.networks.values()
        return {slot.network for slot in networks if slot.weights is None and find(slot.network).address}

    @cached_property
    def fingerprints(self) -> list[str]:
        """Fingerprint of each slot's network (weights and definition), in the order of the slots."""
        return [fingerprint(slot.network, slot.weights) for slot in self.config.networks.values()]

    @cached_property
    def _encoder(self) -> dict[str, str]:
        """Hash of the audio encoder, and why it does not fit; both "" if its file cannot be read."""
        weights = self.config.audio_encoder.weights
        try:
            reason = unsuited(weights, self.config.spectrogram.model_dump())
            return {"sha256": file_sha256(encoder_path(weights)), "reason": reason}
        except UserError:  # targets that do not need the file must not fail; `encoder_sha256` raises it
            return {"sha256": "", "reason": ""}

    @property
    def no_encoder(self) -> str:
        """Why the store gets no positions of the audio encoder, in one line; "" if it gets them."""
        return self._encoder["reason"]

    @property
    def encoder_sha256(self) -> str:
        """SHA-256 of the audio encoder's file.

        Raises:
            UserError: The file is missing or not an audio encoder.
        """
        unsuited(self.config.audio_encoder.weights, self.config.spectrogram.model_dump())
        return self._encoder["sha256"]

    @cached_property
    def folds(self) -> list[Fold]:
        """The folds of the protocol."""
        protocol, corpus = self.config.protocol, self.corpus
        shared = protocol.shared_speakers == "declared"
        named = {"purpose": TRAINING, "origin": corpus.origin}
        return divide(corpus.clips, protocol=protocol.folds, k=protocol.k, shared_speakers=shared, **named)

    @property
    def folds_json(self) -> str:
        """All folds, as `deepfusion train-fbp` takes them."""
        return json.dumps([vars(fold) for fold in self.folds])

    @property
    def everyone(self) -> Fold:
        """The fold without test clips; if the corpus has a split, its validation clips select hyperparameters."""
        need_classes(labelled(self.corpus.clips), purpose=TRAINING, origin=self.corpus.origin)
        if self.config.protocol.folds != "split":
            nobody = self.config.protocol.folds == "published" and self.corpus.clips["speaker"].eq("").all()
            return Fold("everyone", test=(), by="fold", shared_speakers=True) if nobody else Fold("everyone", test=())
        (fold,) = self.folds
        return Fold("everyone", test=(), choose=fold.choose or fold.test, by=fold.by)

    @property
    def everyone_json(self) -> str:
        """The same, as `deepfusion train-fbp` takes it."""
        return json.dumps(vars(self.everyone))


def _is_written(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=1, default=lambda settings: settings.model_dump(mode="json")) + "\n"


def stage_names(config: Extraction) -> list[str]:
    """Stages whose shards make the store: the names of the folders of the shards.

    Raises:
        UserError: The audio encoder's file is missing or not an audio encoder.
    """
    no_encoder = unsuited(config.audio_encoder.weights, config.spectrogram.model_dump())
    return ["faces", *config.networks, "spectrogram", *([] if no_encoder else [ENCODER])]


def load_corpus(settings: CorpusSettings, folder: Path) -> Corpus:
    """The corpus of a configuration; a generated one is in `folder`/corpus."""
    return load(
        kind=settings.source,
        name=settings.name,
        path=(Path(settings.path) if settings.path else folder / "corpus").absolute(),
        labels=settings.labels,
        settings=settings.demo.model_dump(),
        options=settings.options,
    )
