"""A store reduced fold by fold: one read gives what each clip computed by itself would."""

import shutil
from collections import Counter
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from small_store import INCOMPLETE, LABELS, make_clips, write_store

from deepfusion.errors import MachineError, UserError
from deepfusion.fusion import corpus as module
from deepfusion.fusion.corpus import read_corpus, reduce_folds
from deepfusion.fusion.preprocessing import fit, speaker_statistics
from deepfusion.fusion.streams import Spectrogram, clip_streams, is_per_clip, is_video
from deepfusion.store import FeatureStore

STREAMS = ["speech", "speech-clip", "AF", "AF-clip", "EF-A", "EF-B", "landmarks", "landmarks-clip"]
TRAINS = [list(range(6, 24)), list(range(18))]  # without the first and without the last speaker
AXES = 3


@pytest.fixture(scope="module")
def corpus(store):
    return read_corpus(store, STREAMS, purpose="test")


@pytest.fixture(scope="module")
def by_clip(store):
    """Streams of each clip, computed one clip at a time."""
    with FeatureStore(store) as opened:
        settings = Spectrogram.of(opened.attributes("spectrogram"), opened.attributes("AF"))
        return [clip_streams(clip, STREAMS, settings) for clip in opened]


def test_a_corpus_holds_what_each_clip_gives(corpus, by_clip, clips):
    assert corpus.streams == STREAMS and corpus.speakers == [clip.speaker for clip in clips]
    assert corpus.label.tolist() == [LABELS.index(clip.label) for clip in clips]
    for i, clip in enumerate(by_clip):
        for name in STREAMS:
            np.testing.assert_array_equal(corpus.sample[name][i], clip.rows[name])
        for name, time in clip.time.items():
            np.testing.assert_array_equal(corpus.time[name][i], time)
        np.testing.assert_array_equal(corpus.frequency["AF"][i], clip.frequency["AF"])
    assert corpus.has("audio").tolist() == ["audio" not in INCOMPLETE.get(i, "") for i in range(len(clips))]
    assert corpus.has("video").tolist() == ["face" not in INCOMPLETE.get(i, "") for i in range(len(clips))]


def test_a_modality_that_no_stream_has_is_absent(store):
    corpus = read_corpus(store, ["EF-A", "EF-A"], purpose="test")
    assert corpus.streams == ["EF-A"] and not corpus.has("audio").any() and corpus.has("video").any()


def test_one_read_reduces_every_clip_as_it_would_be_alone(corpus, by_clip):
    """Of every fold and stream: fitted on the training clips, applied clip by clip; zeros where there is nothing."""
    for train, data in zip(TRAINS, reduce_folds(corpus, TRAINS, axes=AXES, by="training"), strict=True):
        for name in STREAMS:
            rows = [clip.rows[name] for clip in by_clip]
            reduction = fit([rows[i] for i in train], [None] * len(train), size=AXES)
            parts = [reduction(torch.from_numpy(x)) if len(x) else torch.zeros(1, reduction.size) for x in rows]
            torch.testing.assert_close(data.rows[name], torch.cat(parts), atol=1e-5, rtol=1e-5)
            if is_per_clip(name):
                assert len(data.rows[name]) == len(rows) and name not in data.offsets
            else:
                assert data.offsets[name].diff().tolist() == [max(1, len(x)) for x in rows]


def test_folds_reduced_together_are_those_reduced_alone(corpus):
    together = reduce_folds(corpus, TRAINS, axes=AXES, by="training")
    for train, data in zip(TRAINS, together, strict=True):
        (alone,) = reduce_folds(corpus, [train], axes=AXES, by="training")
        assert all(torch.equal(data.rows[name], alone.rows[name]) for name in STREAMS)


def test_a_modality_concatenates_the_first_axes_of_its_streams(corpus):
    (data,) = reduce_folds(corpus, TRAINS[:1], axes=AXES, by="training")
    made = data.modality(["AF", "speech-clip", "AF-clip"], axes=2)
    torch.testing.assert_close(made.rows[:], data.reductions["AF"].first(data.rows["AF"], 2))
    parts = [data.reductions[name].first(data.rows[name], 2) for name in ("speech-clip", "AF-clip")]
    assert torch.equal(made.clip, torch.cat(parts, 1)) and made.clip.shape == (24, 4)
    assert torch.equal(made.offsets, data.offsets["AF"])
    assert made.present.tolist() == corpus.has("audio").tolist()
    video = data.modality(["EF-A", "EF-B", "landmarks"], axes=AXES)
    assert video.rows.shape[1] == 9 and video.clip.shape == (24, 0)
    speech = data.modality(["speech"], axes=AXES)  # another network's times are not this one's
    assert len(speech.rows) == speech.offsets[-1] == sum(max(1, len(time)) for time in corpus.time["speech"])


def test_a_large_corpus_is_held_in_half_precision(corpus, monkeypatch):
    (exact,) = reduce_folds(corpus, TRAINS[:1], axes=AXES, by="training")
    dtype, size = corpus.fold_type(AXES)
    assert dtype == torch.float32
    assert size == sum(4 * AXES * len(rows) for name, rows in exact.rows.items() if not is_per_clip(name))
    monkeypatch.setattr(module, "LARGE", size - 1)
    assert corpus.fold_type(AXES) == (torch.float16, size // 2)
    (half,) = reduce_folds(corpus, TRAINS[:1], axes=AXES, by="training")
    for name, rows in half.rows.items():
        assert rows.dtype == (torch.float32 if is_per_clip(name) else torch.float16)
        torch.testing.assert_close(rows.float(), exact.rows[name], atol=1e-3, rtol=1e-3)
    made = half.modality(["EF-A", "landmarks"], axes=2)
    wanted = exact.modality(["EF-A", "landmarks"], axes=2)
    torch.testing.assert_close(made.rows[:], wanted.rows[:], atol=2e-3, rtol=2e-3)


def test_folds_share_a_table_and_a_modality_copies_no_row(corpus):
    folds = reduce_folds(corpus, TRAINS, axes=AXES, by="training")
    for name in STREAMS:
        assert len({fold.rows[name].untyped_storage().data_ptr() for fold in folds}) == 1
    parts = folds[1].modality(["EF-A", "EF-B"], axes=2).rows.parts
    assert all(
        part.data_ptr() == folds[1].rows[name].data_ptr() for name, part in zip(["EF-A", "EF-B"], parts, strict=True)
    )


@pytest.mark.parametrize("threads", [1, 3])
def test_every_array_is_read_once_and_video_once_more_for_all_folds(store, threads, monkeypatch):
    read = Counter()
    plain = FeatureStore._read
    monkeypatch.setattr(FeatureStore, "_read", lambda self, i, key: read.update([(i, key)]) or plain(self, i, key))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    corpus = read_corpus(store, NO_ENCODER, purpose="test")
    assert set(read.values()) == {1}
    before = read.copy()
    reduce_folds(corpus, TRAINS, axes=AXES, by="training")
    again = read - before
    assert {key for _, key in again} == {"EF-A", "EF-B", "landmarks", "valid", "time", "choice"}
    assert set(again.values()) == {1}


def changed_store(folder, change):
    """A store in which the clips of the first speaker are others."""
    made = make_clips()
    folder.mkdir(exist_ok=True)
    return write_store(folder, [change(clip) if clip.speaker == "s0" else clip for clip in made])


def another(clip):
    return replace(clip, faces=np.abs(clip.faces) ** 1.5 + 7, audio=clip.audio[::-1] + 9)


NO_ENCODER = [name for name in STREAMS if not name.startswith("AF")]


@pytest.mark.parametrize("by", ["training", "speaker"])
def test_a_test_clip_changes_nothing_but_its_own_rows(tmp_path, by):
    data = []
    for name, change in (("same", lambda clip: clip), ("other", another)):
        corpus = read_corpus(changed_store(tmp_path / name, change), NO_ENCODER, purpose="test")
        data += reduce_folds(corpus, TRAINS[:1], axes=AXES, by=by)
    before, after = data
    for name in NO_ENCODER:
        for key, value in before.reductions[name].state_dict().items():
            assert torch.equal(value, after.reductions[name].state_dict()[key]), (name, key)
        first = 6 if is_per_clip(name) else int(before.offsets[name][6])
        assert torch.equal(before.rows[name][first:], after.rows[name][first:]), name
        if not name.startswith("landmarks"):
            assert not torch.allclose(before.rows[name][:first], after.rows[name][:first], atol=1e-2), name


def test_normalised_by_speaker_a_speaker_s_affine_change_disappears(tmp_path):
    data = []
    for name, change in (("same", lambda clip: clip), ("other", lambda clip: replace(clip, faces=clip.faces * 3 + 7))):
        corpus = read_corpus(changed_store(tmp_path / name, change), ["EF-A"], purpose="test")
        data += reduce_folds(corpus, TRAINS[:1], axes=AXES, by="speaker")
    torch.testing.assert_close(data[0].rows["EF-A"], data[1].rows["EF-A"], atol=1e-4, rtol=1e-4)


def test_normalised_by_speaker_every_speaker_has_their_own_statistics(corpus, by_clip):
    (data,) = reduce_folds(corpus, TRAINS[:1], axes=AXES, by="speaker")
    for name in STREAMS:
        rows = [clip.rows[name] for clip in by_clip]
        own = speaker_statistics(rows, corpus.speakers)
        of = [own.get(who) for who in corpus.speakers]
        reduction = fit([rows[i] for i in TRAINS[0]], [of[i] for i in TRAINS[0]], size=AXES)
        parts = [
            reduction(torch.from_numpy(x), statistics) if len(x) else torch.zeros(1, reduction.size)
            for x, statistics in zip(rows, of, strict=True)
        ]
        torch.testing.assert_close(data.rows[name], torch.cat(parts), atol=1e-5, rtol=1e-5)


def test_normalisation_by_speaker_needs_speakers(tmp_path):
    path = write_store(tmp_path, [replace(clip, speaker="") for clip in make_clips()])
    corpus = read_corpus(path, ["EF-A"], purpose="test")
    with pytest.raises(UserError, match="normalisation: speaker needs a speaker for every clip"):
        reduce_folds(corpus, TRAINS[:1], axes=AXES, by="speaker")
    assert reduce_folds(corpus, TRAINS[:1], axes=AXES, by="training")


def test_of_long_streams_a_spread_sample_is_kept_and_all_rows_are_reduced(store, by_clip, monkeypatch):
    monkeypatch.setattr(module, "FITTED", 48)  # two rows a clip
    corpus = read_corpus(store, STREAMS, purpose="test")
    fits = []

    def counted(rows, own, *, size):
        fits.append(sum(map(len, rows)))
        return fit(rows, own, size=size)

    monkeypatch.setattr(module, "fit", counted)
    (data,) = reduce_folds(corpus, TRAINS[:1], axes=AXES, by="training")
    assert max(fits) <= 48 + len(TRAINS[0]) and len(fits) == len(STREAMS)  # a row of each clip, at least
    for name in STREAMS:
        whole = [clip.rows[name] for clip in by_clip]
        if is_video(name) and not is_per_clip(name):
            assert all(len(x) <= 2 for x in corpus.sample[name])
            assert all(np.array_equal(x[:1], y[:1]) for x, y in zip(corpus.sample[name], whole, strict=True))
        else:
            assert all(np.array_equal(x, y) for x, y in zip(corpus.sample[name], whole, strict=True))
        assert len(data.rows[name]) == sum(max(1, len(x)) for x in whole)
        wanted = data.reductions[name](torch.from_numpy(whole[0]))
        torch.testing.assert_close(data.rows[name][: len(wanted)], wanted)


def test_a_store_of_half_precision_gives_the_same_within_its_rounding(tmp_path, clips, corpus):
    half = read_corpus(write_store(tmp_path, clips, dtype=np.float16, encoder=True), STREAMS, purpose="test")
    for name in STREAMS:
        found, wanted = np.concatenate(half.sample[name]), np.concatenate(corpus.sample[name])
        assert found.dtype == np.float32
        near = np.abs(found - wanted).mean(0) <= 0.02 * wanted.std(0) + 1e-4
        assert near.mean() > 0.9, name  # the pitch is one of a few candidates: rounding may decide between two
    (data,) = reduce_folds(half, TRAINS[:1], axes=AXES, by="training")
    assert all(rows.dtype == torch.float32 and rows.isfinite().all() for rows in data.rows.values())


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("dataset", "named"),
    [
        ("video/EF-A", "EF-A, frame"),
        ("video/landmarks", "landmarks, frame"),
        ("video/time", "time, frame"),
        ("audio/spectrogram", "spectrogram, window"),
        ("audio/time", "audio_time, window"),
        ("audio/AF/positions", "AF, position"),
        ("audio/AF/time", "AF_time, position"),
    ],
)
def test_a_number_that_is_none_is_named_with_clip_and_row(store, tmp_path, dataset, named, value):
    path = shutil.copy(store, tmp_path / "spoilt.h5")
    with h5py.File(path, "r+") as file:
        group = file[dataset].parent
        first = int(group["offsets"][2])  # the third clip: it is complete
        row = first + (int(group["valid"][first:].argmax()) if "valid" in group else 1)
        file[dataset][row] = value
    what = "NaN" if np.isnan(value) else "infinity"
    with pytest.raises(MachineError, match=f"clip 's0-2', {named} {row - first}: {what} where a number") as caught:
        read_corpus(path, STREAMS, purpose="test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("label", "message"), [("", "needs a class for every clip"), ("odd", "two classes or more")])
def test_a_store_without_classes_is_refused_in_a_line(tmp_path, label, message):
    path = write_store(tmp_path, [replace(clip, label=label) for clip in make_clips()])
    with pytest.raises(UserError, match=f"train_fbp .*{message}") as caught:
        read_corpus(path, ["EF-A"], purpose="train_fbp")
    assert "\n" not in str(caught.value)
