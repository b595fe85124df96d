"""Whether one model beats another: each test against its definition or an independent implementation."""

import itertools
import json
import random

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, permutation_test

from deepfusion.evaluation import significance
from deepfusion.evaluation.metrics import evaluate
from deepfusion.evaluation.significance import (
    bootstrap_differences,
    cohens_dz,
    compare,
    holm,
    in_words,
    mcnemar,
    odds_ratio,
    paired,
    sign_flip,
    speaker_differences,
)

DRAWS = 200


def predictions(right, *, clips_of=(3, 4, 5), seeds=2, certainty=0.8):
    """A table whose row of speaker s, clip c and seed k is right where `right(s, c, k)` says so."""
    rows = []
    for seed in range(seeds):
        for s, n in enumerate(clips_of):
            for c in range(n):
                label = ("anger", "joy")[c % 2]
                p_label = certainty if right(s, c, seed) else 1 - certainty
                p_joy = p_label if label == "joy" else 1 - p_label
                rows.append([f"s{s}c{c}", f"s{s}", f"fold{s}", seed, "any", label, True, True, 1 - p_joy, p_joy])
    names = ["clip", "speaker", "fold", "seed", "model", "label", "sound", "face", "p(anger)", "p(joy)"]
    return pd.DataFrame(rows, columns=names)


def chance(seed, share):
    """Right with some probability, whatever is asked."""
    draw = random.Random(seed)
    return lambda s, c, k: draw.random() < share


def test_clips_are_paired_by_name_in_whatever_order():
    a, b = predictions(chance(0, 0.5)), predictions(chance(1, 0.7))
    clips = paired(a, b.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(clips, paired(a, b))
    assert list(clips.index) == sorted(set(a["clip"]))
    for clip, row in clips.iterrows():
        assert row["speaker"] == clip[:2]
        for side, table in (("a", a), ("b", b)):
            mine = table[table["clip"] == clip]
            right = (mine["p(joy)"] > 0.5) == (mine["label"] == "joy")
            assert row[f"share_{side}"] == sum(right) / 2


def test_a_clips_verdict_is_that_of_the_mean_probability():
    sure_then_slightly_wrong = predictions(lambda s, c, k: k == 0)
    at_seed_1 = sure_then_slightly_wrong["seed"] == 1
    names = ["p(anger)", "p(joy)"]
    sure_then_slightly_wrong.loc[at_seed_1, names] = 0.5 + 0.1 * (sure_then_slightly_wrong.loc[at_seed_1, names] - 0.5)
    clips = paired(predictions(lambda s, c, k: False), sure_then_slightly_wrong)
    assert clips["share_b"].eq(0.5).all()
    assert clips["right_b"].all()
    assert not clips["right_a"].any()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t[t["clip"] != "s1c2"], "2 predictions are in one table only, the first: clip s1c2 with seed 0"),
        (lambda t: t[t["seed"] == 0], "12 predictions are in one table only, the first: clip s0c0 with seed 1"),
        (lambda t: t.assign(seed=t["seed"] + 1), "24 predictions are in one table only"),
        (lambda t: t.assign(label=t["label"].where(t["clip"] != "s1c2", "joy")), "the label of clip s1c2 is anger in"),
        (lambda t: t.assign(speaker=t["speaker"].where(t["clip"] != "s1c2", "x")), "the speaker of clip s1c2 is s1 in"),
        (lambda t: t.assign(fold="fold9"), "the fold of clip s0c0 is fold0 in one table and fold9 in the other"),
        (lambda t: t.rename(columns={"p(joy)": "p(fear)"}), "one table only has the class fear"),
        (lambda t: t[(t["clip"] != "s1c2") | (t["seed"] == 0)], "clip s1c2 lacks seeds that others have"),
        (lambda t: pd.concat([t, t[t["clip"] == "s1c2"]]), "clip s1c2 is predicted more than once with seed 0"),
        (lambda t: t[:0], "a table without predictions"),
    ],
)
def test_tables_that_do_not_match_are_refused_in_one_line(spoil, message):
    table = predictions(chance(0, 0.5))
    with pytest.raises(ValueError) as caught:
        compare({"a": table, "b": spoil(table)}, [("b", "a")], draws=DRAWS)
    assert str(caught.value).startswith(f"b and a cannot be compared: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("only_b", "only_a", "both"), [(9, 2, 3), (2, 9, 0), (4, 4, 1), (1, 0, 2), (7, 0, 0)])
def test_mcnemar_is_the_binomial_test_of_the_discordant_clips(only_b, only_a, both):
    right_a = np.array([False] * only_b + [True] * only_a + [True] * both + [False] * 2)
    right_b = np.array([True] * only_b + [False] * only_a + [True] * both + [False] * 2)
    b, c, p = mcnemar(right_a, right_b)
    assert (b, c) == (only_b, only_a)
    assert p == pytest.approx(binomtest(only_b, only_b + only_a, 0.5).pvalue)
    # The definition: every way of giving the discordant clips to one of the two, as lopsided as what was found.
    ways = list(itertools.product((-1, 1), repeat=only_b + only_a))
    assert p == pytest.approx(sum(abs(sum(way)) >= abs(only_b - only_a) for way in ways) / len(ways))


def test_without_a_discordant_clip_mcnemar_is_1():
    right = np.array([True, False, True])
    assert mcnemar(right, right) == (0, 0, 1.0)


def test_odds_ratio_of_the_discordant_clips():
    assert odds_ratio(9, 2) == 4.5
    assert odds_ratio(0, 2) == 0
    assert odds_ratio(2, 0) is None


# Speakers of unlike size, mean and spread: each wrong law of drawing would have another variance.
CHANGES = {"s0": [1, 1, 0.5], "s1": [0, 0, 0, -1, 1, 0.5], "s2": [-1, 1], "s3": [0.5] * 4 + [-0.5] * 5}
CHANGE = np.concatenate([np.array(clips, dtype=float) for clips in CHANGES.values()])
SPEAKER = np.repeat(list(CHANGES), [len(clips) for clips in CHANGES.values()])


def test_differences_of_speakers():
    expected = [sum(clips) / len(clips) for clips in CHANGES.values()]
    assert speaker_differences(CHANGE, SPEAKER) == pytest.approx(expected)


def test_the_bootstrap_draws_speakers_then_their_clips():
    slow, draw = [], random.Random(0)
    for _ in range(20_000):
        means = []
        for _ in CHANGES:
            clips = CHANGES[draw.choice(list(CHANGES))]
            means.append(sum(draw.choice(clips) for _ in clips) / len(clips))
        slow.append(sum(means) / len(means))
    shuffled = np.random.default_rng(0).permutation(len(CHANGE))
    fast = bootstrap_differences(CHANGE[shuffled], SPEAKER[shuffled], draws=20_000)
    assert fast.shape == (20_000,)
    # Of the same law in closed form: variance between the speakers' means, and that of each mean, over the speakers.
    means = [np.mean(clips) for clips in CHANGES.values()]
    std = np.sqrt((np.var(means) + np.mean([np.var(clips) / len(clips) for clips in CHANGES.values()])) / len(means))
    for found in (fast, slow):
        assert np.mean(found) == pytest.approx(np.mean(means), abs=0.01)
        assert np.std(found) == pytest.approx(std, rel=0.02)
    ends = [0.025, 0.25, 0.75, 0.975]
    assert np.quantile(fast, ends) == pytest.approx(np.quantile(slow, ends), abs=0.02)


def test_the_bootstrap_repeats_itself_with_its_seed_only():
    first = bootstrap_differences(CHANGE, SPEAKER, draws=DRAWS, seed=3)
    assert np.array_equal(first, bootstrap_differences(CHANGE, SPEAKER, draws=DRAWS, seed=3))
    assert not np.array_equal(first, bootstrap_differences(CHANGE, SPEAKER, draws=DRAWS, seed=4))


def test_draws_in_parts_are_the_same(monkeypatch):
    whole = bootstrap_differences(CHANGE, SPEAKER, draws=DRAWS)
    monkeypatch.setattr(significance, "AT_ONCE", 7)
    assert np.array_equal(bootstrap_differences(CHANGE, SPEAKER, draws=DRAWS), whole)


def test_of_one_speaker_only_the_clips_vary():
    drawn = bootstrap_differences(np.array([0.0, 1.0]), np.array(["s0", "s0"]), draws=DRAWS)
    assert set(drawn) == {0, 0.5, 1}


@pytest.mark.parametrize(
    "differences",
    [
        [0.1, 0.2, -0.05, 0.3, 0.1, 0.0, 0.15, -0.1, 0.2, 0.1],
        [0.1, 0.1, 0.1, -0.1, 0.3, -0.3],
        [-0.2, -0.1, -0.3, -0.4, -0.1, -0.2, -0.3],
        [0.1, -0.1],
        [0.0, 0.0, 0.0],
    ],
)
def test_sign_flips_as_in_scipy(differences):
    reference = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(np.array(differences)) == pytest.approx(reference.pvalue)


def flips_by_counting(whole):
    """Exact p of whole differences of any number: how many patterns give each sum."""
    ways = {0: 1}
    for difference in whole:
        step = {}
        for total, count in ways.items():
            for moved in (total + difference, total - difference):
                step[moved] = step.get(moved, 0) + count
        ways = step
    return sum(count for total, count in ways.items() if abs(total) >= abs(sum(whole))) / 2 ** len(whole)


def test_sixteen_speakers_are_exact_and_more_are_close():
    whole = [3, -1, 2, 4, -2, 1, 1, 5, -3, 2, 2, 0, 1, -4, 3, 2]
    assert sign_flip(np.array(whole) / 24) == pytest.approx(flips_by_counting(whole), abs=1e-15)
    whole = [*whole, 1, -2, 3, -5, 2]
    found = sign_flip(np.array(whole) / 24, seed=0)
    assert found == pytest.approx(flips_by_counting(whole), abs=0.006)  # three standard deviations of 2^16 patterns
    assert found != sign_flip(np.array(whole) / 24, seed=1)
    assert sign_flip(np.array([0.4])) == 1  # a single speaker says nothing
    assert sign_flip(np.ones(40)) == pytest.approx(2 / (2**16 + 1))  # as rare as can be seen, but never 0


def test_effect_size_over_speakers():
    assert cohens_dz(np.array([0.1, 0.3, 0.2])) == pytest.approx(2)
    assert cohens_dz(np.array([-0.1, -0.3, -0.2])) == pytest.approx(-2)
    assert cohens_dz(np.full(10, 0.1)) is None  # numpy's standard deviation is 1e-17 here
    assert cohens_dz(np.array([0.1])) is None


def test_holm_by_hand():
    # 0.005 * 4, 0.01 * 3, 0.03 * 2, then 0.04 * 1 raised to what went before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.02, 0.7]) == pytest.approx([1, 0.06, 1])
    assert holm([0.3]) == pytest.approx([0.3])
    assert holm([]).size == 0


def test_holm_rejects_what_its_steps_reject():
    draw = np.random.default_rng(0)
    for _ in range(50):
        p = draw.random(7) ** 4
        corrected = holm(p)
        assert (corrected >= p).all()
        assert corrected.max() <= 1
        assert (np.diff(corrected[p.argsort()]) >= 0).all()
        # The procedure: from the smallest p on, against level / (comparisons left), until one fails.
        rejected = set()
        for left, i in zip(range(7, 0, -1), p.argsort(), strict=True):
            if p[i] > 0.05 / left:
                break
            rejected.add(i)
        assert set(np.flatnonzero(corrected <= 0.05)) == rejected


def test_a_model_against_itself():
    table = predictions(chance(0, 0.5))
    (found,) = compare({"a": table, "b": table.sample(frac=1, random_state=0)}, [("b", "a")], draws=DRAWS)
    expected = {"difference": 0, "interval": [0, 0], "sign_flip_p": 1, "mcnemar_p": 1, "mcnemar_b": 0, "mcnemar_c": 0}
    expected |= {"speakers_up": 0, "speakers_down": 0, "speakers_equal": 3, "d_z": None, "odds_ratio": None}
    assert {name: found[name] for name in expected} == expected
    assert in_words(found) == "b is right as often as a for every speaker: no difference is seen"


def test_thirds_that_cancel_are_no_difference():
    """Of three seeds: 1 - 2/3 and 1/3 - 2/3 do not cancel to the last bit."""
    than = predictions(lambda s, c, k: k < 2, clips_of=(2, 2), seeds=3)
    model = predictions(lambda s, c, k: c == 0 or k < 1, clips_of=(2, 2), seeds=3)
    for seed in range(20):
        (found,) = compare({"than": than, "model": model}, [("model", "than")], draws=1, seed=seed)
        assert (found["difference"], found["speakers_equal"], found["d_z"]) == (0, 2, None)
        assert found["interval"][0] == 0 or abs(found["interval"][0]) > 0.1


def test_a_comparison_is_that_of_its_parts():
    tables = {name: predictions(chance(i, share)) for i, (name, share) in enumerate([("a", 0.4), ("b", 0.7), ("c", 1)])}
    pairs = [("b", "a"), ("c", "a"), ("a", "c")]
    found = compare(tables, pairs, draws=DRAWS, seed=5)
    assert found == json.loads(json.dumps(found))
    assert [(one["model"], one["than"]) for one in found] == pairs
    for one in found:
        model, than = evaluate(tables[one["model"]]), evaluate(tables[one["than"]])
        assert one["difference"] == pytest.approx(model["accuracy_mean"] - than["accuracy_mean"])
        ups = [model["per_speaker"][s]["accuracy"] - than["per_speaker"][s]["accuracy"] for s in ("s0", "s1", "s2")]
        counts = [sum(up > 1e-9 for up in ups), sum(up < -1e-9 for up in ups), sum(abs(up) < 1e-9 for up in ups)]
        assert [one[f"speakers_{way}"] for way in ("up", "down", "equal")] == counts
        assert one["d_z"] == pytest.approx(np.mean(ups) / np.std(ups, ddof=1))
        clips = paired(tables[one["than"]], tables[one["model"]])
        drawn = bootstrap_differences((clips["share_b"] - clips["share_a"]).to_numpy(), clips["speaker"], DRAWS, 5)
        assert one["interval"] == pytest.approx(np.percentile(drawn, [2.5, 97.5]))
        assert one["interval"][0] <= one["difference"] <= one["interval"][1]
        b, c = (clips["right_b"] & ~clips["right_a"]).sum(), (clips["right_a"] & ~clips["right_b"]).sum()
        assert (one["mcnemar_b"], one["mcnemar_c"]) == (b, c)
        assert (one["clips"], one["comparisons"]) == (12, 3)
    for name in ("sign_flip_p", "mcnemar_p"):
        assert [one[f"{name}_holm"] for one in found] == pytest.approx(holm([one[name] for one in found]))
    assert found[1]["difference"] == -found[2]["difference"]
    assert found[1]["odds_ratio"] is None  # c is never wrong
    assert found[2]["odds_ratio"] == 0


def test_a_model_that_helps_every_speaker_is_supported_and_one_that_helps_a_single_speaker_is_not():
    sizes = (8,) * 10
    base = predictions(lambda s, c, k: c < 4, clips_of=sizes)
    every = predictions(lambda s, c, k: c < 6 + s % 2, clips_of=sizes)
    single = predictions(lambda s, c, k: c < 4 or s == 0, clips_of=sizes)
    good, poor = compare({"base": base, "every": every, "single": single}, [("every", "base"), ("single", "base")])
    assert good["sign_flip_p"] == 2 / 2**10
    assert "the difference is supported over speakers and over clips" in in_words(good)
    assert poor["sign_flip_p"] == 1
    assert "not supported" in in_words(poor)


def comparison(**changes):
    plain = {"model": "fbp", "than": "concat", "difference": 0.032, "interval": [-0.01, 0.075], "comparisons": 12}
    plain |= {"sign_flip_p_holm": 0.31, "mcnemar_p_holm": 0.28, "mcnemar_b": 40, "mcnemar_c": 30}
    return plain | changes


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "the difference is not supported beyond chance"),
        ({"interval": [0.01, 0.07]}, "the difference is not supported, only suggested by the interval"),
        ({"sign_flip_p_holm": 0.049}, "the difference is not supported, only suggested by the test over speakers"),
        ({"mcnemar_p_holm": 0.01}, "the difference is not supported, only suggested by the test over clips"),
        (
            {"interval": [0.01, 0.07], "mcnemar_p_holm": 0.01},
            "the difference is not supported, only suggested by the interval and the test over clips",
        ),
        (
            {"interval": [0.01, 0.07], "sign_flip_p_holm": 0.01},
            "the difference is supported over speakers, not over clips",
        ),
        (
            {"interval": [0.01, 0.07], "sign_flip_p_holm": 0.01, "mcnemar_p_holm": 0.01},
            "the difference is supported over speakers and over clips",
        ),
        (
            {"mcnemar_p_holm": 0.01, "mcnemar_b": 30, "mcnemar_c": 40},
            "the difference is not supported beyond chance; the test over clips favours concat",
        ),
        (
            {"interval": [0.01, 0.07], "sign_flip_p_holm": 0.05, "mcnemar_p_holm": 0.05},
            "the difference is not supported, only suggested by the interval",
        ),
        (
            {"interval": [0.0, 0.07], "sign_flip_p_holm": 0.01},
            "the difference is not supported, only suggested by the test over",
        ),
    ],
)
def test_what_is_called_supported(changes, verdict):
    assert f"; {verdict}" in in_words(comparison(**changes))


def test_a_comparison_in_words():
    assert in_words(comparison()) == (
        "fbp is right more often than concat by 3.2 points (95 % interval -1.0 to 7.5 over speakers); the difference "
        "is not supported beyond chance: p = 0.31 over speakers, p = 0.28 over clips, each corrected for 12 comparisons"
    )
    worse = comparison(difference=-0.05, interval=[-0.09, -0.0001], sign_flip_p_holm=0.0498, mcnemar_p_holm=1e-7)
    assert in_words(worse | {"mcnemar_b": 5, "mcnemar_c": 50, "comparisons": 1}) == (
        "fbp is right less often than concat by 5.0 points (95 % interval of fbp minus concat -9.0 to -0.01 over "
        "speakers); the difference is supported over speakers and over clips: p = 0.0498 over speakers, p < 0.0001 "
        "over clips, the only comparison"
    )
    assert "(95 % interval of fbp minus concat -9.0 to 0.0 over speakers)" in in_words(
        worse | {"interval": [-0.09, 0.0]}
    )
