"""Nested choices: what they rest on, what they must not see, and what becomes of the networks' predictions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from small_store import LABELS, SETTINGS, make_clips, write_store

from deepfusion.corpora.folds import Fold, folds
from deepfusion.errors import UserError
from deepfusion.fusion import search
from deepfusion.fusion.batched_training import predict
from deepfusion.fusion.corpus import read_corpus, reduce_folds
from deepfusion.fusion.network import Design
from deepfusion.fusion.parts import part
from deepfusion.fusion.search import (
    Bench,
    Candidate,
    Choice,
    Member,
    Place,
    Row,
    calibrate,
    choose,
    inner_scores,
    sweep,
    test,
)

# pytest would collect it.
predict_test = test
del test

BOTH = ("audio", "video")
STREAMS = {"audio": ("speech",), "video": ("EF-A", "EF-B")}
FBP = Row("fbp", Design(BOTH, "fbp"), STREAMS)
VIDEO = Row("video", Design(("video",)), {"video": ("EF-A", "EF-B")})
NAMES = [name for names in STREAMS.values() for name in names]


def bench_of(store, chosen=None, settings=SETTINGS):
    corpus = read_corpus(store, NAMES, purpose="test")
    chosen = chosen or folds(corpus.table["speaker"], protocol="loso")
    parts = [part(corpus.table, fold, inner_folds=settings.inner_folds) for fold in chosen]
    data = reduce_folds(corpus, [p.train for p in parts], axes=max(settings.axes), by=settings.normalisation)
    return Bench(corpus, parts, data, settings, torch.device("cpu"))


def trained(bench, row, places):
    """Networks of one model, each with its data."""
    return search.train_row(bench, row, places, lambda i, network, data: (network, data))


@pytest.fixture(scope="module")
def bench(store):
    return bench_of(store)


@pytest.fixture(scope="module")
def choice(bench):
    return choose(bench, FBP)


@pytest.fixture(scope="module")
def tested(bench, choice):
    return predict_test(bench, FBP, choice, attention=True)


def test_every_candidate_is_tried_and_those_with_the_least_losses_are_the_members(bench, choice):
    tried = [(entry["learning_rate"], entry["axes"]) for entry in choice.curve]
    assert sorted(tried) == sorted((rate, axes) for rate in SETTINGS.learning_rates for axes in SETTINGS.axes)
    for fold, members in enumerate(choice.members):
        best = sorted(choice.curve, key=lambda entry: entry["loss"][fold])[: SETTINGS.members]
        assert [vars(member.candidate) for member in members] == [
            {key: entry[key] for key in ("learning_rate", "axes")} for entry in best
        ]
    assert len(choice.members) == len(bench.parts) == 4


def test_more_members_than_candidates_take_them_in_turn(bench):
    settings = bench.settings.model_copy(update={"learning_rates": (1e-2,), "axes": (2, 4), "members": 3})
    for members in choose(replace(bench, settings=settings), FBP).members:
        assert members[0] == members[2] != members[1]


def test_the_validation_clips_are_those_of_the_inner_folds(bench, choice):
    label = bench.corpus.label.numpy()
    candidates = [Candidate(entry["learning_rate"], entry["axes"]) for entry in choice.curve]
    found = search.validate(bench, FBP, candidates)
    for fold, p in enumerate(bench.parts):
        assert choice.held[fold].tolist() == [i for _, held in p.inner for i in held]
        assert not set(choice.held[fold]) & set(p.test)
        best = choice.members[fold][0]
        held, logits = found[candidates.index(best.candidate)][fold]
        chosen = choice.curve[candidates.index(best.candidate)]
        logits = logits / best.temperature
        whole = bench.corpus.has("audio") & bench.corpus.has("video")  # only these count
        assert 0 < whole[held].sum() < len(held)
        scored = [(log_softmax(row), label[i]) for i, row in zip(held, logits, strict=True) if whole[i]]
        assert chosen["loss"][fold] == pytest.approx(-np.mean([row[y] for row, y in scored]))
        assert chosen["accuracy"][fold] == pytest.approx(np.mean([row.argmax() == y for row, y in scored]))


def test_the_inner_probabilities_are_means_over_the_members(bench, choice):
    for fold, members in enumerate(choice.members):
        found = search.validate(bench, FBP, [member.candidate for member in members])
        each = [softmax(of[fold][1] / member.temperature, axis=1) for of, member in zip(found, members, strict=True)]
        np.testing.assert_allclose(choice.probabilities[fold], np.mean(each, axis=0), atol=1e-3)


def test_choices_and_networks_never_look_at_test_clips(tmp_path):
    """The labels and features of the tested speaker are replaced: all that its fold chose and trained stays."""
    found = []
    for name in ("same", "other"):
        clips = make_clips()
        if name == "other":
            rng = np.random.default_rng(7)
            clips = [
                replace(
                    clip, label=LABELS[int(rng.integers(2))], faces=clip.faces[::-1] * 5, audio=clip.audio[::2] + 20
                )
                if clip.speaker == "s1"
                else clip
                for clip in clips
            ]
            clips = [replace(clip, valid=np.ones_like(clip.valid)) if clip.speaker == "s1" else clip for clip in clips]
        (tmp_path / name).mkdir()
        made = bench_of(write_store(tmp_path / name, clips), [Fold("fold02", ("s1",))])
        chosen = choose(made, FBP)
        ((network, data),) = trained(made, FBP, [Place(0, made.parts[0].train, 5, chosen.members[0][0].candidate)])
        logits, _ = predict(network, data, made.parts[0].train)
        found.append((chosen, logits, predict(network, data, made.parts[0].test)[0]))
    (before, logits, of_test), (after, same_logits, other) = found
    assert before.members == after.members
    assert before.curve == after.curve
    assert torch.equal(logits, same_logits)
    assert not torch.allclose(of_test, other, atol=1e-3)


def test_a_fold_does_not_depend_on_the_folds_that_it_is_trained_with(store, bench, choice, tested):
    """Also its number of steps: one speaker has fewer clips."""
    alone = bench_of(store, [Fold("fold02", ("s1",))])
    chosen = choose(alone, FBP)
    for member, other in zip(chosen.members[0], choice.members[1], strict=True):
        assert member.candidate == other.candidate
        assert member.temperature == pytest.approx(other.temperature, rel=1e-2)
    p = predict_test(alone, FBP, chosen).probabilities
    positions = bench.parts[1].test
    np.testing.assert_allclose(p[:, positions], tested.probabilities[:, positions], atol=1e-3)


def test_folds_of_unequal_size_train_with_their_own_numbers_of_steps(bench):
    """A network trained with a larger fold is the one trained alone."""
    candidate, few = Candidate(1e-2, 4), [0, 1, 2, 6, 7, 9]
    whole = bench.parts[3].train
    places = [Place(3, of, seed, candidate) for of, seed in ((whole, 1), (few, 1), (whole, 2))]
    places.append(Place(3, whole, 1, replace(candidate, learning_rate=candidate.learning_rate / 10)))
    together = trained(bench, FBP, places)
    for (network, data), place in zip(together, places, strict=True):
        ((alone, _),) = trained(bench, FBP, [place])
        wanted, found = (predict(of, data, range(24))[0].softmax(1) for of in (alone, network))
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_large_networks_train_few_at_a_time(bench, monkeypatch):
    places = [Place(3, bench.parts[3].train, seed, Candidate(1e-2, 4)) for seed in range(5)]
    expected = [predict(network, data, range(24))[0] for network, data in trained(bench, FBP, places)]
    ((network, _),) = trained(bench, FBP, places[:1])
    monkeypatch.setattr(search, "PARAMETERS", 2 * sum(p.numel() for p in network.parameters()) + 1)
    groups, train_together = [], search.train_together

    def counted(new, tasks, labels, **settings):
        groups.append(len(tasks))
        return train_together(new, tasks, labels, **settings)

    monkeypatch.setattr(search, "train_together", counted)
    found = [predict(network, data, range(24))[0] for network, data in trained(bench, FBP, places)]
    assert groups == [2, 2, 1]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_predictions_are_calibrated_means_of_the_members_and_only_of_test_clips(store):
    settings = SETTINGS.model_copy(update={"members": 2})
    bench = bench_of(store, [Fold("fold01", ("s0",)), Fold("fold02", ("s2",))], settings)
    candidates = [Candidate(1e-2, 4), Candidate(1e-3, 2)]
    chosen = [
        [Member(of, t) for of, t in zip(order, (2.0, 0.5), strict=True)] for order in (candidates, candidates[::-1])
    ]
    tested = predict_test(bench, FBP, Choice(chosen, [], [], []), attention=True)
    p = tested.probabilities
    untested = [i for i in range(24) if bench.corpus.speakers[i] not in ("s0", "s2")]
    assert p.shape == (2, 24, 2) and np.isnan(p[:, untested]).all()
    assert not tested.attention.keys() & set(untested)
    for fold, members in enumerate(chosen):
        positions = bench.parts[fold].test
        np.testing.assert_allclose(p[:, positions].sum(2), 1, atol=1e-12)
        weights = {i: {m: [] for m in BOTH} for i in positions}
        for s, seed in enumerate(settings.seeds):
            of_members = []
            for i, member in enumerate(members):
                place = Place(fold, bench.parts[fold].train, 1000 * seed + i, member.candidate)
                ((network, data),) = trained(bench, FBP, [place])
                logits, alpha = predict(network, data, positions)
                of_members.append(softmax(logits.numpy() / member.temperature, axis=1))
                for m in BOTH:
                    for i, row in zip(positions, alpha[m], strict=True):
                        weights[i][m].append(row.numpy())
            np.testing.assert_allclose(p[s, positions], np.mean(of_members, 0), atol=1e-3)
            assert np.abs(of_members[0] - of_members[1]).max() > 1e-3
        for i in positions:
            for m in BOTH:
                np.testing.assert_allclose(tested.attention[i][m], np.mean(weights[i][m], 0), atol=1e-3)
                assert tested.attention[i][m].sum() == pytest.approx(1, abs=1e-5)


def test_a_fold_without_test_clips_predicts_none(store):
    bench = bench_of(store, [Fold("all", ())])
    tested = predict_test(bench, VIDEO, Choice([[Member(Candidate(1e-2, 2), 1.0)]], [], [], []))
    assert np.isnan(tested.probabilities).all() and tested.attention == {}


def test_every_tested_clip_is_predicted_also_without_a_modality(bench, tested):
    assert np.isfinite(tested.probabilities).all() and tested.attention.keys() == set(range(24))
    for i, weights in tested.attention.items():
        for m, name in (("audio", "speech"), ("video", "EF-A")):
            assert len(weights[m]) == max(1, len(bench.corpus.time[name][i]))
    some = tested.probabilities.copy()
    some[:, ::2] = np.nan
    label = bench.corpus.label.numpy()
    wanted = np.mean([p[1::2].argmax(1) == label[1::2] for p in tested.probabilities])
    assert search.accuracy(some, bench.corpus) == pytest.approx(wanted)


def test_inner_scores_by_loop(bench):
    label = bench.corpus.label.numpy()
    rng = np.random.default_rng(0)
    validation = [(np.array([0, 5, 2, 9]), rng.normal(size=(4, 2))), (np.array([1]), np.array([[0.0, 0]]))]
    found = inner_scores(bench, FBP, validation)
    pairs = [(row, label[i]) for i, row in zip(*validation[0], strict=True)]
    cold = [(row / found.temperature[0], y) for row, y in pairs]
    assert found.loss[0] == pytest.approx(-np.mean([np.log(np.exp(row[y]) / np.exp(row).sum()) for row, y in cold]))
    assert found.accuracy[0] == pytest.approx(np.mean([row.argmax() == y for row, y in pairs]))
    assert found.loss[1] == pytest.approx(np.log(2))


def test_an_overconfident_candidate_is_compared_after_calibration(bench, monkeypatch):
    label, clips = bench.corpus.label.numpy(), np.arange(24)
    right = np.eye(2)[label[clips]]
    wrong = right.copy()
    wrong[:4] = 1 - wrong[:4]
    mild = np.where(np.arange(24)[:, None] % 3 == 0, 1 - right, right)
    logits = {1: 40 * wrong, 2: mild}  # overconfident and right 20 times; moderate and right 16 times
    settings = bench.settings.model_copy(update={"learning_rates": (0.1,), "axes": (1, 2), "members": 1})
    monkeypatch.setattr(
        search, "validate", lambda bench, row, of: [[(clips, logits[c.axes]) for _ in bench.parts] for c in of]
    )
    choice = search.choose(replace(bench, settings=settings), FBP)
    assert {member.candidate.axes for (member,) in choice.members} == {1}


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_a_scale_of_calibrated_logits(true):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 4)) * 2
    label = np.array([rng.choice(4, p=p) for p in softmax(logits, axis=1)])
    assert calibrate(logits * true, label)[0] == pytest.approx(true, rel=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_the_temperature_fits_smoothed_labels(seed):
    rng = np.random.default_rng(seed)
    logits, label = rng.normal(size=(30, 3)) * rng.choice([0.2, 5]), rng.integers(0, 3, 30)

    def loss(t, certainty):
        others = (1 - certainty) / 2
        log_p = log_softmax(logits / t, axis=1)
        return -np.mean(
            [certainty * row[y] + others * (row.sum() - row[y]) for row, y in zip(log_p, label, strict=True)]
        )

    found, reached = calibrate(logits, label)
    assert reached == pytest.approx(loss(found, 1))
    least = min(loss(t, 31 / 33) for t in np.exp(np.linspace(*search.TEMPERATURES, 400)))
    assert loss(found, 31 / 33) <= least + 1e-4


@pytest.mark.parametrize("clips", [2, 24])
def test_clips_that_are_all_predicted_right_make_no_model_certain(clips):
    label = np.arange(clips) % 2
    logits = 9.0 * np.eye(2)[label]
    p = softmax(logits / calibrate(logits, label)[0], axis=1)
    np.testing.assert_allclose(p[range(clips), label], (clips + 1) / (clips + 2), atol=1e-3)


def test_a_sweep_changes_one_setting_and_keeps_the_rest(bench):
    candidate = Candidate(1e-2, 4)
    curve = sweep(bench, FBP, "lambda", (SETTINGS.lam, 1, "learned"), candidate)
    assert [point["value"] for point in curve] == [SETTINGS.lam, 1, "learned"]
    wanted = inner_scores(bench, FBP, search.validate(bench, FBP, [candidate])[0])
    np.testing.assert_allclose(curve[0]["loss"], wanted.loss)
    np.testing.assert_allclose(curve[0]["accuracy"], wanted.accuracy)
    assert curve[1]["loss"] != curve[0]["loss"]


def test_changes_of_a_row_reach_its_network_and_its_training(bench):
    paper = replace(FBP, changes={"bias": False, "signed_sqrt": "mfb", "lambda": "learned"})
    place = [Place(0, bench.parts[0].train, 0, Candidate(1e-2, 2))]
    ((plain, _),), ((other, _),) = (trained(bench, row, place) for row in (FBP, paper))
    assert plain.layer.U.bias is not None and other.layer.U.bias is None
    assert (plain.layer.root, other.layer.root) == ("smooth", "mfb")
    assert isinstance(other.branches["video"].attention.lam, torch.nn.Parameter)


def test_a_training_that_diverges_names_its_model(bench):
    with pytest.raises(UserError, match="fbp: training diverged") as caught:
        trained(bench, FBP, [Place(0, bench.parts[0].train, 0, Candidate(1e35, 2))])
    assert "\n" not in str(caught.value)


def test_choices_of_further_folds_are_appended(choice):
    one, rest = (
        Choice(choice.members[of], choice.held[of], choice.probabilities[of], cut(choice.curve, of))
        for of in (slice(1), slice(1, None))
    )
    joined = one.extended(rest)
    assert joined.members == choice.members and joined.curve == choice.curve
    for own, wanted in ((joined.held, choice.held), (joined.probabilities, choice.probabilities)):
        for a, b in zip(own, wanted, strict=True):
            np.testing.assert_array_equal(a, b)


def cut(curve, folds):
    return [{**entry, "loss": entry["loss"][folds], "accuracy": entry["accuracy"][folds]} for entry in curve]


def test_networks_that_train_side_by_side_are_the_same(bench):
    candidate = Candidate(1e-2, 2)
    places = [Place(i, part.train, seed, candidate) for i, part in enumerate(bench.parts) for seed in (0, 1)]
    positions = list(range(len(bench.corpus.table)))
    found = []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append([predict(n, data, positions)[0] for n, data in trained(bench, FBP, places)])
    torch.set_num_threads(before)
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
