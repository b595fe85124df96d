"""The streams of a feature store, reduced for each fold; memory does not grow with the width of the face features."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from deepfusion.corpora.needs import labelled, need, need_classes
from deepfusion.fusion.batched_training import Columns, Reduced
from deepfusion.fusion.finite import ENCODED, HEARD, check_clip
from deepfusion.fusion.preprocessing import Normalisation, Reduction, fit, speaker_statistics
from deepfusion.fusion.side_by_side import side_by_side
from deepfusion.fusion.streams import ClipStreams, Modality, Spectrogram, clip_streams, is_per_clip, is_video, keys
from deepfusion.store import FeatureStore
from deepfusion.store.reader import Clip

# Maximum rows of a stream, over all clips, that standardisation and PCA are fitted on; spread evenly in each clip.
FITTED = 12_000
# Above this size in single precision, in bytes, a fold's reduced rows are kept in half precision, which rounds by 1 /
# 2,000 of the deviation.
LARGE = 600_000_000


@dataclass
class Corpus:
    """The data of a store that networks are trained on.

    Per-frame video streams are large: only a sample of rows is kept, `rows_per_clip` at most, to fit reductions and for
    the statistics of each speaker, and `reduce_folds` reads them again. All other streams are kept whole.
    """

    path: Path
    table: pd.DataFrame
    labels: list[str]
    key: str
    spectrogram: Spectrogram
    streams: list[str]
    sample: dict[str, list[np.ndarray]]  # stream -> rows of each clip, a sample of them if the stream is long
    time: dict[str, list[np.ndarray]]  # attended stream -> times of the rows of each clip, s
    frequency: dict[str, list[np.ndarray]]  # stream of the audio encoder -> Hz
    rows_per_clip: int

    @property
    def speakers(self) -> list[str]:
        """Speaker of each clip; "" where unknown."""
        return self.table["speaker"].tolist()

    @property
    def lengths(self) -> dict[str, list[int]]:
        """Attended stream -> number of reduced rows of each clip, one if it has no rows."""
        return {name: [max(1, len(time)) for time in of] for name, of in self.time.items()}

    def fold_type(self, axes: int) -> tuple[torch.dtype, int]:
        """Precision of a fold's reduced rows, and their size in bytes."""
        numbers = axes * sum(sum(of) for of in self.lengths.values())
        return (torch.float16, 2 * numbers) if 4 * numbers > LARGE else (torch.float32, 4 * numbers)

    @property
    def label(self) -> Tensor:
        """(clips,) int64."""
        return torch.tensor([self.labels.index(name) for name in self.table["label"]])

    def has(self, modality: Modality) -> np.ndarray:
        """(clips,) bool: which clips have rows of a modality."""
        some = [self.sample[name] for name in self.streams if is_video(name) == (modality == "video")]
        return np.array([any(len(of[i]) for of in some) for i in range(len(self.table))])


def is_long(stream: str) -> bool:
    """Whether a stream is read again for each group of folds instead of being kept."""
    return is_video(stream) and not is_per_clip(stream)


def sampled(rows: np.ndarray, at_most: int) -> np.ndarray:
    """At most so many rows, evenly spread; a copy, because a slice keeps all rows in memory."""
    return rows[:: -(-len(rows) // at_most) or 1].copy()


class ReadOnce(dict):
    """A clip of a store that reads each array once."""

    def __init__(self, clip: Clip):
        super().__init__()
        self.id, self._clip = clip.id, clip

    def __missing__(self, key: str) -> np.ndarray:
        self[key] = self._clip[key]
        return self[key]


def read_corpus(path: Path, streams: Iterable[str], *, purpose: str) -> Corpus:
    """Read a feature store.

    Args:
        path: The store.
        streams: Of all networks to be trained.
        purpose: The command, for messages.

    Raises:
        UserError: Clips lack a label, or the labels are not classes.
        MachineError: A feature that is used is NaN or infinite.
    """
    streams = list(dict.fromkeys(streams))
    with FeatureStore(path) as store:
        table = labelled(store.clips)
        need_classes(table.reset_index(), purpose=purpose, origin=f"the store {path}")
        encoder = store.attributes("AF") if "AF" in store.keys else None
        spectrogram = Spectrogram.of(store.attributes("spectrogram"), encoder)
        checked = dict.fromkeys((*keys(streams), "time", *HEARD, *(ENCODED if "AF" in keys(streams) else ())))
        rows_per_clip = max(1, FITTED // max(1, len(table)))

        def read(id_: str) -> ClipStreams:
            clip = ReadOnce(store[id_])
            check_clip(path, clip, {name: clip[name] for name in checked})
            made = clip_streams(clip, streams, spectrogram)
            for name in filter(is_long, streams):
                made.rows[name] = sampled(made.rows[name], rows_per_clip)
            return made

        clips = side_by_side(read, [(id_,) for id_ in table.index])
        sample = {name: [clip.rows[name] for clip in clips] for name in streams}
        time = {name: [clip.time[name] for clip in clips] for name in streams if not is_per_clip(name)}
        frequency = {name: [clip.frequency[name] for clip in clips] for name in clips[0].frequency}
        labels, key = list(store.labels), store.attrs["key"]
        return Corpus(path, table, labels, key, spectrogram, streams, sample, time, frequency, rows_per_clip)


@dataclass
class FoldData:
    """The reduced streams of all clips, as one fold sees them."""

    reductions: dict[str, Reduction]
    rows: dict[str, Tensor]  # stream -> (L, p) of all clips, in a large corpus float16; (clips, p) of a stream per clip
    offsets: dict[str, Tensor]  # of the streams that are not per clip

    def modality(self, streams: Sequence[str], *, axes: int) -> Reduced:
        """The streams of a modality concatenated, each on its first `axes` axes; rows are not copied."""
        rows, whole = ([n for n in streams if is_per_clip(n) == per_clip] for per_clip in (False, True))
        offsets = self.offsets[rows[0]]
        scales = [self.reductions[name].scale(axes) for name in rows]
        parts = [self.reductions[name].first(self.rows[name], axes) for name in whole]
        clip = torch.cat(parts, 1) if parts else torch.zeros(len(offsets) - 1, 0)
        return Reduced(Columns(tuple(self.rows[name][:, :axes] for name in rows), tuple(scales)), offsets, clip)


Own = Mapping[str, Mapping[str, tuple[Tensor, Tensor]]]
"""Stream -> speaker -> mean and deviation to standardise by; without an entry, those of the training clips."""


def fit_fold(corpus: Corpus, train: Sequence[int], *, axes: int, own: Own) -> dict[str, Reduction]:
    """Reductions of all streams, from training clips alone."""
    speakers, reductions = corpus.speakers, {}
    for name in corpus.streams:
        rows = corpus.sample[name]
        step = -(-sum(len(rows[i]) for i in train) // FITTED) or 1
        of = [own[name].get(speakers[i]) for i in train]
        reductions[name] = fit([rows[i][::step] for i in train], of, size=axes)
    return reductions


def reduce_folds(corpus: Corpus, trains: Sequence[Sequence[int]], *, axes: int, by: Normalisation) -> list[FoldData]:
    """Reduce all clips for several folds, reading the store once.

    Args:
        corpus: The store.
        trains: Positions of the training clips of each fold.
        axes: Principal axes of each stream, at most.
        by: "training": standardised by the training clips. "speaker": by each speaker's own clips (transductive).

    Raises:
        UserError: Speakers are unknown, and `by` is "speaker".
    """
    if by == "speaker":
        origin = f"the store {corpus.path}"
        need(corpus.table.reset_index(), "speaker", purpose="fusion.normalisation: speaker", origin=origin)
    speakers = corpus.speakers
    own = {name: speaker_statistics(of, speakers) if by == "speaker" else {} for name, of in corpus.sample.items()}
    # Each fit is single-threaded, so that the axes are the same on any machine.
    fits = side_by_side(partial(fit_fold, corpus, axes=axes, own=own), [(train,) for train in trains])
    dtype, _ = corpus.fold_type(axes)
    made, offsets = {}, {name: np.cumsum([0, *of]) for name, of in corpus.lengths.items()}
    for name in corpus.streams:
        rows = int(offsets[name][-1]) if name in offsets else len(corpus.table)
        size = max(reductions[name].size for reductions in fits)
        # All folds in one tensor: networks of several folds take rows from it without a copy.
        made[name] = torch.zeros(len(fits), rows, size, dtype=dtype if name in offsets else torch.float32)
    long = [name for name in corpus.streams if is_long(name)]

    @torch.inference_mode()
    def fill(i: int, id_: str, speaker: str) -> None:
        read = clip_streams(store[id_], long, corpus.spectrogram).rows if long else {}
        for name in corpus.streams:
            rows = torch.from_numpy(np.ascontiguousarray(read[name] if name in read else corpus.sample[name][i]))
            first, last = offsets[name][i : i + 2].tolist() if name in offsets else (i, i + 1)
            for reductions, table in zip(fits, made[name], strict=True):
                reduction = reductions[name]
                table[first:last, : reduction.size] = reduced(reduction, rows, own[name].get(speaker))

    with FeatureStore(corpus.path) as store:
        side_by_side(fill, zip(range(len(corpus.table)), corpus.table.index, speakers, strict=True))
    return [
        FoldData(
            reductions,
            {name: table[fold, :, : reductions[name].size] for name, table in made.items()},
            {name: torch.from_numpy(of) for name, of in offsets.items()},
        )
        for fold, reductions in enumerate(fits)
    ]


def reduced(reduction: Reduction, rows: Tensor, own: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Reduced rows of one clip; a clip without any gets one row of zeros, the mean of the training clips."""
    return reduction(rows, own) if len(rows) else torch.zeros(1, reduction.size)
