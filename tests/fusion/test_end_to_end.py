"""End-to-end training on generated spectrograms: what it starts from, what it changes, what it must not touch."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_store import SETTINGS as FUSION
from small_store import make_clips, without, write_store

from deepfusion.config import EndToEndSettings, NetworkShape, TrainingSettings
from deepfusion.corpora.folds import folds
from deepfusion.errors import UserError
from deepfusion.fusion import end_to_end, search
from deepfusion.fusion.batched_training import Task, predict, train_together
from deepfusion.fusion.corpus import FoldData, read_corpus, reduce_folds
from deepfusion.fusion.end_to_end import Start, encoder_streams, refiner, train, with_encoder
from deepfusion.fusion.network import Design, Network, Sizes
from deepfusion.fusion.parts import part
from deepfusion.fusion.preprocessing import fit
from deepfusion.fusion.search import Bench, Row
from deepfusion.fusion.streams import Spectrogram, clip_streams
from deepfusion.networks.audio_encoder import Architecture, Layer, SpeechEncoder

SPECTROGRAM = {"rate": 16000, "window_ms": 40, "shift_ms": 10, "dft": 800, "bins": 200}
LAYERS = (Layer(6, (5, 5), (4, 4)), Layer(8, (3, 3), (4, 4)))
AXES = 12
CLIPS, SILENT = 24, 5  # the clip without audio
LABELS = torch.arange(CLIPS) % 2
TRAIN = list(range(18))
STREAMS = ("AF", "AF-clip")
CLEAN = {
    "pace": (1, 1),
    "frequency": (1, 1),
    "equaliser_db": 0,
    "noise_db": (90, 91),
    "time_mask": 0,
    "frequency_mask": 0,
}
SETTINGS = EndToEndSettings(
    epochs=30, batch=6, frames=48, learning_rate=1e-2, network_learning_rate=1e-2, share=1.0, augment=CLEAN
)
TRAINING = TrainingSettings(epochs=20, batch=6, dropout=0.0, smoothing=0)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def spectrograms():
    """The class is how the level changes over time, fast or slowly."""
    rng = np.random.default_rng(0)
    made = []
    for label in LABELS.tolist():
        length = int(rng.integers(40, 90))
        tremor = 12 * np.sin(2 * np.pi * (np.arange(length) / (6 if label else 13) + rng.random()))
        made.append((rng.normal(-50, 4, (length, 200)) + tremor[:, None]).astype(np.float32))
    made[SILENT] = np.zeros((0, 200), np.float32)
    return made


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(1)
    made = SpeechEncoder(Architecture(LAYERS, 16, 70.0, SPECTROGRAM, ("a", "b"))).eval()
    made.front.mean.fill_(-12)
    made.front.deviation.fill_(8)
    return made


@pytest.fixture(scope="module")
def fold(encoder, spectrograms):
    """The frozen encoder's streams and one of the video, which tells nothing."""
    rng = np.random.default_rng(2)
    settings = Spectrogram(20, 0.01, tuple(encoder.bins()))
    rows = {"EF-A": [rng.normal(size=(3, 4)).astype(np.float32) for _ in spectrograms]}
    for levels in spectrograms:
        positions = encoder.positions(levels)
        made = clip_streams({"AF": positions, "AF_time": np.zeros(len(positions))}, STREAMS, settings).rows
        for name in STREAMS:
            rows.setdefault(name, []).append(made[name])
    reductions = {
        name: fit([of[i] for i in TRAIN if len(of[i])], [None for i in TRAIN if len(of[i])], size=AXES)
        for name, of in rows.items()
    }
    kept = {
        name: [reductions[name](torch.from_numpy(x)) if len(x) else torch.zeros(1, reductions[name].size) for x in of]
        for name, of in rows.items()
    }
    offsets = {name: torch.tensor(np.cumsum([0, *map(len, kept[name])])) for name in ("EF-A", "AF")}
    return FoldData(reductions, {name: torch.cat(of).detach() for name, of in kept.items()}, offsets)


def start_of(encoder, fold, streams, seed=0):
    """A network that was trained on the frozen encoder's streams, not to the end."""
    data = {m: fold.modality(names, axes=AXES) for m, names in streams.items()}
    sizes = {m: Sizes(of.rows.shape[1], of.clip.shape[1]) for m, of in data.items()}
    design = Design(tuple(streams), "fbp" if len(streams) > 1 else None)
    speakers = [f"s{i % 3}" for i in range(CLIPS)]
    (network,) = train_together(
        lambda: Network(sizes, 2, design=design, shape=NetworkShape(reduced=4, k=2, o=5)),
        [Task(data, TRAIN, speakers, seed)],
        LABELS,
        settings=TRAINING.model_copy(update={"epochs": 3}),
        learning_rates=[1e-2],
        device=CPU,
    )
    return Start(encoder, network, fold, streams, AXES, TRAIN, speakers, seed)


@pytest.fixture(scope="module", params=["audio", "both"])
def start(request, encoder, fold):
    streams = {"audio": STREAMS} if request.param == "audio" else {"audio": STREAMS, "video": ("EF-A",)}
    return start_of(encoder, fold, streams)


def loss(start, network, fold, clips=TRAIN):
    data = {m: fold.modality(names, axes=AXES) for m, names in start.streams.items()}
    logits, _ = predict(network, data, clips)
    return torch.nn.functional.cross_entropy(logits, LABELS[clips]).item()


def test_streams_are_those_of_a_store(encoder, spectrograms):
    positions = encoder.positions(spectrograms[0])
    settings = Spectrogram(20, 0.01, tuple(encoder.bins()))
    wanted = clip_streams({"AF": positions, "AF_time": np.zeros(len(positions))}, STREAMS, settings).rows
    made = encoder_streams(torch.from_numpy(positions)[None])
    np.testing.assert_allclose(made["AF"][0], wanted["AF"])
    np.testing.assert_allclose(made["AF-clip"], wanted["AF-clip"], atol=1e-5)


def test_a_fold_with_its_own_encoder_stays_as_it_is(fold, encoder, spectrograms):
    again = with_encoder(fold, encoder, STREAMS, range(CLIPS), spectrograms.__getitem__)
    for name in fold.rows:
        torch.testing.assert_close(again.rows[name], fold.rows[name], atol=1e-4, rtol=1e-4)


def test_only_the_named_clips_change(fold, encoder, spectrograms):
    other = copy.deepcopy(encoder)
    torch.nn.init.normal_(other.convolutions[0].bias)
    changed = with_encoder(fold, other, STREAMS, [3], spectrograms.__getitem__)
    different = (changed.rows["AF-clip"] != fold.rows["AF-clip"]).any(1)
    assert different.nonzero().tolist() == [[3]]
    first, last = fold.offsets["AF"][3:5].tolist()
    rows = (changed.rows["AF"] != fold.rows["AF"]).any(1).nonzero()[:, 0]
    assert rows.min() >= first and rows.max() < last


def test_training_changes_every_layer_and_lowers_the_loss(start, spectrograms):
    before = {name: value.clone() for name, value in (start.encoder.state_dict() | start.network.state_dict()).items()}
    encoder, network = train(start, spectrograms.__getitem__, LABELS, settings=SETTINGS, training=TRAINING, device=CPU)
    tuned = with_encoder(start.fold, encoder, STREAMS, TRAIN, spectrograms.__getitem__)
    assert loss(start, network, tuned) < 0.8 * loss(start, start.network, start.fold)
    assert all(
        (a != b).any()
        for a, b in zip(encoder.convolutions.parameters(), start.encoder.convolutions.parameters(), strict=True)
    )
    for name, value in (start.encoder.state_dict() | start.network.state_dict()).items():
        assert torch.equal(value, before[name]), name  # where it started from is left as it was


def test_a_seed_fixes_the_result_and_test_clips_have_no_part(start, spectrograms):
    short = SETTINGS.model_copy(update={"epochs": 1})
    others = [*spectrograms[: len(TRAIN)], *(x + 7 for x in spectrograms[len(TRAIN) :])]
    labels = torch.cat([LABELS[: len(TRAIN)], 1 - LABELS[len(TRAIN) :]])
    first, second, third = (
        train(replace(start, seed=seed), x.__getitem__, y, settings=short, training=TRAINING, device=CPU)[
            0
        ].state_dict()
        for seed, x, y in ((0, spectrograms, LABELS), (0, others, labels), (1, spectrograms, LABELS))
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], third[name]) for name in first)


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_what_is_kept_lies_between_before_and_after(start, spectrograms, share):
    short = SETTINGS.model_copy(update={"epochs": 1})
    (whole, _), (part, network) = (
        train(
            start,
            spectrograms.__getitem__,
            LABELS,
            settings=short.model_copy(update={"share": some}),
            training=TRAINING,
            device=CPU,
        )
        for some in (1.0, share)
    )
    for before, after, kept in zip(start.encoder.parameters(), whole.parameters(), part.parameters(), strict=True):
        torch.testing.assert_close(kept, share * after + (1 - share) * before)
    if share == 0:
        for before, kept in zip(start.network.parameters(), network.parameters(), strict=True):
            assert torch.equal(before, kept)


def test_a_step_sees_what_prediction_sees(start, spectrograms):
    """Without augmentation and transposition, on a clip as long as the stretch; silence is never transposed."""
    work = end_to_end._Batches(start, LABELS, TrainingSettings(transposed=0), steps=len(TRAIN), batch=1, device=CPU)
    for step, (i,) in enumerate(work.draws.clips.tolist()):
        heard = torch.tensor([float(i != SILENT)])
        positions = start.encoder.positions(spectrograms[0 if i == SILENT else i])
        seen = work.rows(step, torch.from_numpy(positions)[None], heard)["audio"]
        wanted = start.fold.modality(STREAMS, axes=AXES)
        torch.testing.assert_close(seen.clip[0], wanted.clip[i], atol=1e-3, rtol=1e-3)
        own = wanted.rows[wanted.offsets[i] : wanted.offsets[i + 1]]
        if i == SILENT:
            assert not own.any() and not seen.values.any()
            moved = end_to_end._Batches(
                start, LABELS, TrainingSettings(transposed=1), steps=len(TRAIN), batch=1, device=CPU
            )
            step = moved.draws.clips[:, 0].tolist().index(SILENT)
            assert not moved.rows(step, torch.from_numpy(positions)[None], heard)["audio"].values.any()
        else:
            torch.testing.assert_close(seen.values[0], own, atol=1e-4, rtol=1e-4)


def test_divergence_ends_in_one_line(start, spectrograms):
    wild = SETTINGS.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(UserError, match=r"end to end.*lower study\.end_to_end\.learning_rate"):
        train(start, spectrograms.__getitem__, LABELS, settings=wild, training=TRAINING, device=CPU)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Two folds of a store with positions of the shipped encoder; a clip is without audio."""
    clips = make_clips()
    clips[1] = without(clips[1], "sound")
    path = write_store(tmp_path_factory.mktemp("encoded"), clips, encoder=True)
    corpus = read_corpus(path, ["AF", "AF-clip", "EF-A"], purpose="test")
    settings = FUSION.model_copy(update={"seeds": (0,), "learning_rates": (1e-2,), "axes": (8,)})
    parts = [part(corpus.table, fold, inner_folds=2) for fold in folds(corpus.speakers, protocol="loso")[:2]]
    data = reduce_folds(corpus, [p.train for p in parts], axes=8, by="training")
    return Bench(corpus, parts, data, settings, CPU)


BOTH = Row("fbp_end_to_end", Design(("audio", "video"), "fbp"), {"audio": ("AF", "AF-clip"), "video": ("EF-A",)})


def test_a_row_of_the_study_is_refined_in_every_fold(bench):
    choice = search.choose(bench, BOTH)
    frozen = search.test(bench, BOTH, choice).probabilities
    short = EndToEndSettings(epochs=1, batch=6, frames=48)
    still, tuned = (
        search.test(bench, BOTH, choice, refiner(bench, BOTH, short.model_copy(update={"share": share}))).probabilities
        for share in (0.0, 1.0)
    )
    np.testing.assert_allclose(still, frozen, atol=1e-4)
    tested = [i for p in bench.parts for i in p.test]
    assert np.isfinite(tuned[:, tested]).all() and np.abs(tuned - frozen)[:, tested].max() > 1e-3
    np.testing.assert_allclose(tuned[0, tested].sum(1), 1)


def test_what_cannot_be_trained_end_to_end_is_refused(bench, monkeypatch):
    settings = EndToEndSettings()
    with pytest.raises(UserError, match="needs the stream AF or AF-clip"):
        refiner(bench, replace(BOTH, streams={"audio": ("speech",)}), settings)
    by_speaker = replace(bench, settings=bench.settings.model_copy(update={"normalisation": "speaker"}))
    with pytest.raises(UserError, match=r"needs fusion\.normalisation: training"):
        refiner(by_speaker, BOTH, settings)
    other = SpeechEncoder(Architecture(LAYERS, 16, 70.0, SPECTROGRAM, ("a", "b")), sha256="another")
    monkeypatch.setattr(end_to_end, "load_encoder", lambda path: other)
    with pytest.raises(UserError, match="holds AF of another audio encoder"):
        refiner(bench, BOTH, settings)
