"""Tests of whether one model is more accurate than another, on the same clips, folds and seeds.

Two questions are separate: does the difference hold for other clips of these speakers (`mcnemar`), and for other
speakers (`bootstrap_differences`, `sign_flip`)? Clips of one speaker are alike, so the second is harder and decides.

Limitation: models of different folds share most of their training clips, so the results of test speakers are dependent,
and no test on the folds of one corpus accounts for the choice of the training clips (Dietterich 1998, "Approximate
Statistical Tests for Comparing Supervised Classification Learning Algorithms", Neural Computation 10, section 3).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest, permutation_test

from deepfusion.evaluation.metrics import class_names, most_probable

# Significance level of a p that is corrected for the number of comparisons.
LEVEL = 0.05
# The ends of the 95 % interval.
QUANTILES = (0.025, 0.975)
# Up to this many speakers (n) all 2^n patterns of signs are enumerated; for more, 2^16 random patterns.
EXACT_SPEAKERS = 16
# Maximum numbers that the bootstrap draws at a time.
AT_ONCE = 2**22
# Shares are multiples of 1 / (seeds * clips): smaller differences are rounding errors.
DECIMALS = 12


def _rows(predictions: pd.DataFrame) -> pd.DataFrame:
    """A predictions table by clip and seed, sorted; a ValueError unless it holds every clip once with every seed."""
    rows = predictions.set_index(["clip", "seed"]).sort_index()
    if not len(rows):
        raise ValueError("a table without predictions")
    if rows.index.has_duplicates:
        clip, seed = rows.index[rows.index.duplicated()][0]
        raise ValueError(f"clip {clip} is predicted more than once with seed {seed}")
    seeds = rows.groupby(level="clip").size()
    if (lacking := seeds < seeds.max()).any():
        raise ValueError(f"clip {seeds.index[lacking][0]} lacks seeds that others have")
    return rows


def _shares(rows: pd.DataFrame) -> pd.Series:
    """Share of the seeds that are right, per clip."""
    right = pd.Series(most_probable(rows) == rows["label"].to_numpy(), index=rows.index)
    return right.groupby(level="clip").mean()


def least_p(comparisons: int, speakers: int) -> float:
    """The smallest p of the sign-flip test that so many speakers allow, corrected for the comparisons (Holm)."""
    return min(1.0, comparisons * 2.0 ** (1 - speakers))


def _verdicts(rows: pd.DataFrame) -> np.ndarray:
    """(clips,) bool, whether the mean probability over the seeds is right."""
    by_clip = rows.groupby(level="clip")
    means = by_clip[[f"p({label})" for label in class_names(rows)]].mean()
    return most_probable(means) == by_clip["label"].first().to_numpy()


def paired(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Two models' predictions joined by clip.

    Args:
        a: Predictions of a model (columns as in `evaluation.metrics`), each clip once per seed; in any order.
        b: Predictions of another one, of the same clips, folds and seeds.

    Returns:
        One row per clip, index clip, sorted: speaker; share_a and share_b, the share of right seeds (0..1);
        right_a and right_b (bool), whether the mean probability over the seeds is.

    Raises:
        ValueError: one line; the tables differ in clips, seeds, speakers, labels, folds or classes, hold none, or one
            of them lacks or repeats a seed of some clip.
    """
    a, b = _rows(a), _rows(b)
    if len(odd := a.index.symmetric_difference(b.index, sort=False)):
        clip, seed = odd[0]
        raise ValueError(f"{len(odd)} predictions are in one table only, the first: clip {clip} with seed {seed}")
    for column in ("speaker", "label", "fold"):
        if len(odd := a.index[(a[column] != b[column]).to_numpy()]):
            of_a, of_b = a.loc[odd[0], column], b.loc[odd[0], column]
            raise ValueError(f"the {column} of clip {odd[0][0]} is {of_a} in one table and {of_b} in the other")
    if odd := set(class_names(a)) ^ set(class_names(b)):
        raise ValueError(f"one table only has the class {min(odd)}")
    speaker = a["speaker"].groupby(level="clip").first()
    return pd.DataFrame(
        {
            "speaker": speaker,
            "share_a": _shares(a),
            "share_b": _shares(b),
            "right_a": _verdicts(a),
            "right_b": _verdicts(b),
        }
    )


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> tuple[int, int, float]:
    """McNemar's exact test: do a and b err on equally many clips?

    It assumes independent clips. Those of one speaker are not, so its p is usually too small and applies to these
    speakers only.

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12; here with the binomial distribution in place of its chi-squared limit.

    Args:
        right_a: (clips,) bool, whether a is right.
        right_b: (clips,) bool, whether b is right.

    Returns:
        The clips that only b is right on, those that only a is right on, and the two-sided p; 1 if there are neither.
    """
    only_b, only_a = int((right_b & ~right_a).sum()), int((right_a & ~right_b).sum())
    p = float(binomtest(only_b, only_b + only_a).pvalue) if only_b + only_a else 1.0
    return only_b, only_a, p


def odds_ratio(only_b: int, only_a: int) -> float | None:
    """Clips that only b is right on divided by those that only a is right on; None if the latter are 0.

    That is the conditional maximum-likelihood estimate of the odds ratio of matched pairs, the effect size that goes
    with McNemar's test. Source: Agresti 2013, "Categorical Data Analysis", 3rd edition, chapter 11.
    """
    return only_b / only_a if only_a else None


def _by_speaker(change: np.ndarray, speaker: np.ndarray):
    """The clips' changes grouped by speaker."""
    # As arrays, because pandas would align indices and silently leave gaps.
    return pd.Series(np.asarray(change)).groupby(np.asarray(speaker))


def speaker_differences(change: np.ndarray, speaker: np.ndarray) -> np.ndarray:
    """(speakers,) mean change of each speaker's clips, by the speaker's name.

    Args:
        change: (clips,) share of the seeds for which b is right, minus that of a.
        speaker: (clips,) speaker of each clip.
    """
    # Rounded, so that a speaker without a change counts as such.
    return _by_speaker(change, speaker).mean().to_numpy().round(DECIMALS)


def bootstrap_differences(change: np.ndarray, speaker: np.ndarray, draws: int = 10_000, seed: int = 0) -> np.ndarray:
    """Two-stage bootstrap of the difference of the accuracies (means over the speakers).

    Speakers are resampled with replacement, then the clips of each drawn speaker. It assumes independent speakers, and
    independent clips within a speaker. Resampling clips as well overstates the variance slightly; few speakers
    understate it by (speakers - 1) / speakers. With one speaker only the clips vary. Source: Davison and Hinkley 1997,
    "Bootstrap Methods and their Application", section 3.8, strategy 2.

    Args:
        change: (clips,) share of the seeds for which b is right, minus that of a.
        speaker: (clips,) speaker of each clip.
        draws: Number of resamples.
        seed: Of the draws.

    Returns:
        (draws,) differences; their `QUANTILES` are the percentile interval.
    """
    by_speaker = [clips.to_numpy() for _, clips in _by_speaker(change, speaker)]
    random = np.random.default_rng(seed)
    drawn = random.integers(len(by_speaker), size=(draws, len(by_speaker)))
    means = np.empty(drawn.shape)
    for i, clips in enumerate(by_speaker):
        here = np.flatnonzero(drawn == i)
        for some in np.split(here, range(0, len(here), max(1, AT_ONCE // len(clips)))[1:]):
            means.flat[some] = clips[random.integers(len(clips), size=(len(some), len(clips)))].mean(1)
    return means.mean(1)


def _interval(change: np.ndarray, speaker: np.ndarray, draws: int, seed: int) -> list[float]:
    """The ends of the 95 % interval of `bootstrap_differences`."""
    drawn = bootstrap_differences(change, speaker, draws, seed)
    # Rounded, so that an end that is 0 does not seem to exclude it.
    return np.quantile(drawn, QUANTILES).round(DECIMALS).tolist()


def accuracy_interval(predictions: pd.DataFrame, draws: int = 10_000, seed: int = 0) -> list[float]:
    """The 95 % interval [low, high] of a model's accuracy (mean over the speakers), drawn as for differences.

    Args:
        predictions: Of one model, columns as in `evaluation.metrics`, each clip once per seed.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """
    rows = _rows(predictions)
    speaker = rows["speaker"].groupby(level="clip").first()
    return _interval(_shares(rows).to_numpy(), speaker.to_numpy(), draws, seed)


def sign_flip(differences: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of the speakers' mean difference, if the sign of each difference is random.

    Exact for up to `EXACT_SPEAKERS` speakers: the share of all 2^n patterns of signs whose mean is at least as far
    from 0. For more, of 2^16 random patterns and the observed one. It assumes independent speakers. No p is below
    2 / 2^n: five speakers or fewer cannot reach 0.05, however large the difference.

    Sources: Fisher 1935, "The Design of Experiments", section 21; for the random patterns Phipson and Smyth 2010,
    "Permutation P-values Should Never Be Zero", Statistical Applications in Genetics and Molecular Biology 9.

    Args:
        differences: (speakers,) as of `speaker_differences`.
        seed: Of the random patterns.
    """
    if len(differences) < 2:
        return 1.0  # both signs are as far from 0
    exact = len(differences) <= EXACT_SPEAKERS
    flipped = permutation_test(
        (differences,),
        lambda signed, axis: signed.mean(axis),
        permutation_type="samples",  # of one sample: its signs
        n_resamples=np.inf if exact else 2**EXACT_SPEAKERS,
        vectorized=True,
        batch=2**12,
        rng=seed,
    )
    return float(flipped.pvalue)


def cohens_dz(differences: np.ndarray) -> float | None:
    """Mean of the speakers' differences in units of their standard deviation (ddof 1); None where that is 0.

    Source: Lakens 2013, "Calculating and reporting effect sizes to facilitate cumulative science", Frontiers in
    Psychology 4, equation 6.

    Args:
        differences: (speakers,) as of `speaker_differences`.
    """
    # The range is exactly 0 where the standard deviation may be a rounding error.
    return float(differences.mean() / differences.std(ddof=1)) if np.ptp(differences) else None


def holm(p: Sequence[float]) -> np.ndarray:
    """(comparisons,) p corrected for the number of comparisons: at most 1, order preserved.

    Under any dependence, the probability of one or more false claims stays below the level.

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6.
    """
    p = np.asarray(p, dtype=float)
    order = p.argsort(kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected


def _compare_two(model: str, than: str, clips: pd.DataFrame, draws: int, seed: int) -> dict:
    """One comparison without the correction; `clips` as `paired(<predictions of than>, <those of model>)`."""
    change, speaker = (clips["share_b"] - clips["share_a"]).to_numpy(), clips["speaker"].to_numpy()
    differences = speaker_differences(change, speaker)
    only_model, only_than, mcnemar_p = mcnemar(clips["right_a"].to_numpy(), clips["right_b"].to_numpy())
    return {
        "model": model,
        "than": than,
        "clips": len(clips),
        "difference": float(differences.mean().round(DECIMALS)),
        "interval": _interval(change, speaker, draws, seed),
        "speakers_up": int((differences > 0).sum()),
        "speakers_down": int((differences < 0).sum()),
        "speakers_equal": int((differences == 0).sum()),
        "sign_flip_p": sign_flip(differences, seed),
        "d_z": cohens_dz(differences),
        "mcnemar_b": only_model,
        "mcnemar_c": only_than,
        "mcnemar_p": mcnemar_p,
        "odds_ratio": odds_ratio(only_model, only_than),
    }


def compare(
    predictions: dict[str, pd.DataFrame], pairs: Sequence[tuple[str, str]], draws: int = 10_000, seed: int = 0
) -> list[dict]:
    """Compare the accuracy of the first model of each pair with that of the second.

    Args:
        predictions: Name of a model -> its predictions (columns as in `evaluation.metrics`), each clip once per seed.
        pairs: (better?, than): all comparisons that are made, since each p is corrected for their number.
        draws: Of the bootstrap.
        seed: Of the bootstrap, and of the signs where there are more than `EXACT_SPEAKERS` speakers.

    Returns:
        One comparison per pair, plain values: the names `model` and `than`; `clips`, their number; `difference` of the
        accuracies (shares, means over the speakers, model minus than) and its 95 % `interval` [low, high]; in how many
        speakers it goes up, down or stays equal; `sign_flip_p` and `d_z` over speakers; `mcnemar_b` (clips that only
        `model` is right on), `mcnemar_c` (only `than`), `mcnemar_p` and `odds_ratio` over clips; `sign_flip_p_holm`
        and `mcnemar_p_holm`, each test's p corrected for the number of `comparisons`; `supported`, whether the interval
        excludes 0 and the corrected p over speakers is below `LEVEL`.

    Raises:
        ValueError: as `paired`, with the names of the pair.
    """
    found = []
    for model, than in pairs:
        try:
            clips = paired(predictions[than], predictions[model])
        except ValueError as error:
            raise ValueError(f"{model} and {than} cannot be compared: {error}") from error
        found.append(_compare_two(model, than, clips, draws, seed))
    for name in ("sign_flip_p", "mcnemar_p"):
        for comparison, p in zip(found, holm([comparison[name] for comparison in found]), strict=True):
            comparison[f"{name}_holm"] = float(p)
    return [{**of, "comparisons": len(found), "supported": _excludes_0(of) and _significant(of)} for of in found]


def _excludes_0(comparison: dict) -> bool:
    low, high = comparison["interval"]
    return low > 0 or high < 0


def _significant(comparison: dict) -> bool:
    return comparison["sign_flip_p_holm"] < LEVEL


def _points(share: float) -> str:
    """A share in per cent, one decimal; more where it would look like 0 and is not."""
    points = 100 * share + 0.0  # no negative zero
    return f"{points:.1g}" if 0 < abs(points) < 0.1 else f"{points:.1f}"


def _p(p: float) -> str:
    """Such as `p = 0.31`; three digits below 0.1, so that rounding does not hide a p below a level."""
    if p < 0.0001:
        return "p < 0.0001"
    return f"p = {p:.2f}" if p >= 0.1 else f"p = {p:.3g}"


def _verdict(comparison: dict) -> str:
    """The conclusion: a difference is supported only if the interval and the test over speakers agree."""
    only_model, only_than = comparison["mcnemar_b"], comparison["mcnemar_c"]
    interval, speakers = _excludes_0(comparison), _significant(comparison)
    clips = comparison["mcnemar_p_holm"] < LEVEL
    # McNemar weights all clips alike and uses the mean over seeds: with unequal speakers it may favour the other model.
    agrees = np.sign(only_model - only_than) == np.sign(comparison["difference"])
    favoured = comparison["model"] if only_model > only_than else comparison["than"]
    against = f"; the test over clips favours {favoured}" if clips and not agrees else ""
    if interval and speakers:
        more = " and over clips" if clips and agrees else ", not over clips"
        return f"the difference is supported over speakers{more}{against}"
    signs = {"the interval": interval, "the test over speakers": speakers, "the test over clips": clips and agrees}
    if seen := [name for name, speaks in signs.items() if speaks]:
        return f"the difference is not supported, only suggested by {' and '.join(seen)}{against}"
    return f"the difference is not supported beyond chance{against}"


def in_words(comparison: dict) -> str:
    """One sentence: the difference, its interval, and whether it is supported.

    Args:
        comparison: As of `compare`.
    """
    model, than, difference = comparison["model"], comparison["than"], comparison["difference"]
    low, high = comparison["interval"]
    of_what = f" of {model} minus {than}" if difference < 0 else ""
    if difference:
        way = "more" if difference > 0 else "less"
        claim = f"{model} is right {way} often than {than} by {_points(abs(difference))} points"
    elif low == high == 0:
        return f"{model} is right as often as {than} for every speaker: no difference is seen"
    else:
        claim = f"{model} is right as often as {than}"
    over_speakers, over_clips = _p(comparison["sign_flip_p_holm"]), _p(comparison["mcnemar_p_holm"])
    n = comparison["comparisons"]
    corrected = f"each corrected for {n} comparisons" if n > 1 else "the only comparison"
    return (
        f"{claim} (95 % interval{of_what} {_points(low)} to {_points(high)} over speakers); {_verdict(comparison)}: "
        f"{over_speakers} over speakers, {over_clips} over clips, {corrected}"
    )
