"""Extraction in memory: the same code and results as the stages of a feature store, without shards."""

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from deepfusion import media
from deepfusion.cache_key import media_files
from deepfusion.config import Extraction, LimitSettings
from deepfusion.corpora.columns import person
from deepfusion.errors import MachineError, UserError
from deepfusion.extract.audio_encoder import positions_of
from deepfusion.extract.batches import Batches
from deepfusion.extract.common import failure, groups, segment
from deepfusion.extract.derived import derived_columns
from deepfusion.extract.faces import Follower, video_facts
from deepfusion.extract.networks import fill, load_network, opened_network
from deepfusion.extract.pictures import pictures_job, received
from deepfusion.extract.prefetch import ahead
from deepfusion.extract.rows import ClipRows
from deepfusion.extract.spectrogram import audio_job
from deepfusion.extract.workers import Work, Workers
from deepfusion.faces.align import Crop, warp
from deepfusion.faces.face_track import FaceTrack, Reason, Row, collect
from deepfusion.faces.sampling import sampled
from deepfusion.networks import catalogue, engines
from deepfusion.networks.audio_encoder import load_encoder
from deepfusion.store.derived import ROWS
from deepfusion.versions import ENCODER

AUDIO = {"spectrogram", ENCODER}
"""Keys of the store that come from the audio; all others come from the video."""
READERS = 2  # clips that are decoded at a time: the next one while the networks work on this one


@dataclass(frozen=True)
class Extracted:
    """The features of one clip, as in a feature store.

    Attributes:
        arrays: Keys as of `FeatureStore`: time, valid, box, landmarks, EF-A, spectrogram, audio_time, AF, AF_time, ...
            and the derived columns of these. A modality without rows is absent. Long columns are memory maps.
        facts: width, height, video_start, audio_note, ... as the store's table of clips has them.
        video: "ok", "absent", "failed" or "unused" (not requested).
        video_reason: Why it is not "ok".
        audio: Likewise.
        audio_reason: Likewise.
    """

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any] = field(default_factory=dict)
    video: str = "unused"
    video_reason: str = ""
    audio: str = "unused"
    audio_reason: str = ""


class Extractor:
    """Extracts clips one after another; processes, networks and encoder are started once. Use it in a `with` statement.

    Args:
        config: Settings of faces, networks, spectrogram, audio encoder, limits and dtype, as of a store.
        needs: Requested keys of the store; other networks are not run.
        device: Where the networks run.
        engine: Their inference engine.
        threads: CPU threads of the networks. Networks run in parallel, which is faster than all threads on one network
            after another.

    Raises:
        UserError: Weights are missing or of another network; the encoder does not fit the spectrogram.
    """

    def __init__(
        self,
        config: Extraction,
        *,
        needs: Collection[str],
        device: torch.device,
        engine: engines.Engine = "auto",
        threads: int = 1,
    ):
        self._config, self._device = config, device
        # Networks that are not needed may lack their weights.
        given = {s: of for s, of in config.networks.items() if s in needs or "emotion" in needs}
        columns = {column.name: column for column in derived_columns(given)}
        self._needs = set(needs).union(*(columns[name].needs for name in needs if name in columns))
        self._derived = [column for column in columns.values() if {*column.needs} <= self._needs]
        slots = {slot: settings for slot, settings in config.networks.items() if slot in self._needs}
        crops = [catalogue.find(settings.network).crop for settings in slots.values()]
        # One process more than prefetched clips, so that `pictures` does not wait for them.
        begin = partial(_begin, config=config, crops=crops)
        self._workers = Workers(begin, count=READERS + 1, limits=config.limits)
        at_a_time = min(threads, len(slots)) if device.type == "cpu" and slots else 1
        self._pool = ThreadPoolExecutor(at_a_time)
        self._threads = max(1, threads // at_a_time)  # of each network
        modules = {slot: load_network(settings) for slot, settings in slots.items()}
        with _torch_threads(self._threads):
            self._networks = {
                slot: (
                    opened_network(modules[slot], settings, device, engine),
                    catalogue.find(settings.network).dimension,
                )
                for slot, settings in slots.items()
            }
        self._encoder = None
        if ENCODER in self._needs:
            self._encoder = load_encoder(config.audio_encoder.weights)
            self._encoder.require(config.spectrogram.model_dump())

    def __enter__(self) -> "Extractor":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """End its processes and threads."""
        self._workers.__exit__()
        self._pool.shutdown()

    def clips(self, clips: pd.DataFrame) -> Iterator[Extracted]:
        """Extract clips in their order; the next ones are decoded while the networks work.

        Args:
            clips: Rows of a manifest: id, path, audio, start, end, person.
        """
        with closing(ahead(self._streams(clips), workers=READERS)) as streams:
            for clip in clips.itertuples():
                arrays, known = {}, {}
                if self._needs - AUDIO:
                    rows = self._video(clip.id, next(streams))
                    arrays |= rows.arrays()
                    known |= {"facts": rows.facts, "video": rows.status, "video_reason": rows.reason}
                if self._needs & AUDIO:
                    rows = self._audio(clip.id, next(streams))
                    arrays |= rows.arrays()
                    known |= {"audio": rows.status, "audio_reason": rows.reason}
                    known["facts"] = known.get("facts", {}) | rows.facts
                yield Extracted(arrays, **known)

    def pictures(self, clip: Any, times: Collection[float], size: int) -> dict[float, np.ndarray]:
        """Some frames of a clip, for a person to look at.

        Args:
            clip: A row of a manifest.
            times: Presentation times of the frames, s.
            size: Longest side, px.

        Returns:
            time -> (h, w, 3) uint8 RGB; frames that cannot be read are missing.
        """
        return received(self._workers.stream(("pictures", (clip.path, sorted(times), size))))

    def _streams(self, clips: pd.DataFrame) -> Iterator[Iterator]:
        for clip, audio in zip(clips.itertuples(), media_files("spectrogram", clips), strict=True):
            if self._needs - AUDIO:
                yield self._workers.stream(("video", (clip.path, segment(clip), clip.person)))
            if self._needs & AUDIO:
                yield self._workers.stream(("audio", (audio, segment(clip))))

    def _video(self, clip_id: str, stream: Iterator) -> ClipRows:
        """The face track and the features of a clip."""
        whole, features = ClipRows(), {slot: ClipRows() for slot in self._networks}
        runs = [
            Batches(
                run,
                batch=engines.batch(self._device),
                shard=features[slot],
                column=slot,
                dimension=dimension,
                dtype=self._config.store.dtype,
            )
            for slot, (run, dimension) in self._networks.items()
        ]

        def parts() -> Iterator[tuple[np.ndarray, list[list[np.ndarray]]]]:
            found = next(stream)
            if found is None:
                whole.end(status="absent", reason="the file has no video")
                return
            whole.facts |= found
            for track, crops in stream:
                for name, rows in track.columns().items():
                    whole.append(name, rows)
                whole.append("valid", track.valid)
                yield track.valid, crops

        for run in runs:
            run.begin(clip_id)
        with _torch_threads(self._threads):
            reason = fill(runs, parts(), clip_id, each=self._pool.map)
        if reason:
            whole.fail(reason)
        if whole.status != "ok":
            return whole
        with _torch_threads(self._threads):
            for run in runs:
                run.end()
            for _ in self._pool.map(Batches.finish, runs):
                pass
        for slot, rows in features.items():
            if rows.status != "ok":
                whole.fail(f"{slot}: {rows.reason}")
                return whole
            whole.adopt(rows)
        features = whole.arrays()
        for column in self._derived:
            for first in range(0, len(features["time"]), ROWS):
                whole.append(column.name, column.rows(features, first))
        return whole

    def _audio(self, clip_id: str, stream: Iterator) -> ClipRows:
        """The spectrogram of a clip, and the encoder's positions."""
        rows = ClipRows()
        try:
            found = next(stream)
            if found is None:
                rows.end(status="absent", reason="the file has no audio")
                return rows
            rows.facts |= found
            for part in stream:
                rows.append("spectrogram", part["spectrogram"])
                rows.append("audio_time", part["time"])
        except (UserError, MachineError):
            raise
        except Exception as error:
            rows.fail(failure(error, clip_id))
            return rows
        if self._encoder is not None:
            audio = rows.arrays()
            made = positions_of(
                self._encoder,
                {"spectrogram": audio["spectrogram"], "time": audio["audio_time"]},
                shift_s=self._config.spectrogram.shift_ms / 1000,
            )
            rows.append(ENCODER, made["positions"].astype(self._config.store.dtype))
            rows.append(f"{ENCODER}_time", made["time"])
        return rows


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Set the number of torch's threads temporarily."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _begin(config: Extraction, crops: list[Crop]) -> Work:
    cv2.setNumThreads(1)
    return _Reader(config, crops).work


class _Reader:
    """The work of a process that reads media; the detector is loaded with the first video."""

    def __init__(self, config: Extraction, crops: list[Crop]):
        self._config, self._crops = config, crops
        self._limits = _bounds(config.limits)

    @cached_property
    def _follower(self) -> Follower:
        return Follower(self._config.faces)

    def work(self, job: tuple[str, tuple]) -> Iterator:
        kind, what = job
        match kind:
            case "video":
                path, part, whom = what
                follow = partial(self._follower, person=person(whom))
                rate = self._config.faces.rate
                yield from video_job(path, part, follow, self._crops, rate=rate, limits=self._limits)
            case "audio":
                settings, dtype = self._config.spectrogram, self._config.store.dtype
                yield from audio_job(what, settings=settings, dtype=dtype, limits=self._limits)
            case "pictures":
                yield from pictures_job(what, limits=self._limits)


def _bounds(limits: LimitSettings) -> media.Limits:
    return media.Limits(limits.pixels, limits.silence_s)


def video_job(
    path: str,
    part: dict[str, float | None],
    follow: Any,
    crops: list[Crop],
    *,
    rate: float | None = None,
    limits: media.Limits,
) -> Iterator[dict[str, Any] | tuple[FaceTrack, list[list[np.ndarray]]] | None]:
    """First the facts about a clip's video, or None if it has none; then its face track and its crops, by groups.

    A group of sampled frames has its part of the track and, per kind of crop, the crops of the frames with a face.

    Raises:
        ClipError: The clip cannot be read, as soon as it is noticed.
    """
    yield (facts := video_facts(path, limits))
    if facts is None:
        return
    for group in groups(_cut(media.frames(path, limits=limits, **part), follow, crops, rate)):
        rows, cuts = zip(*group, strict=True)
        kinds = zip(*cuts, strict=True)
        yield collect(rows), [[own for own in kind if own is not None] for kind in kinds]


def _cut(
    frames: Iterator[media.Frame], follow: Any, crops: list[Crop], rate: float | None
) -> Iterator[tuple[Row, list]]:
    """Each sampled row of a face track with the crops of its frame (None without a face), in one decoding.

    Frames are buffered until their row is known, at most twice the tracker's `pause`.
    """
    kept: list[np.ndarray] = []

    def remembered() -> Iterator[media.Frame]:
        for frame in frames:
            kept.append(frame.image)
            yield frame

    rows = ((row, kept.pop(0)) for row in follow(remembered()))
    for row, image in sampled(rows, rate, seen=lambda of: (of[0].time, of[0].reason == Reason.FACE)):
        has_face = row.reason == Reason.FACE
        yield row, [warp(image, row.box, row.landmarks, crop) if has_face else None for crop in crops]
