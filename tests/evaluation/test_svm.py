"""Classical reference models: statistics, mel bands, calibrated SVMs, and no view of the tested speakers."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from deepfusion.evaluation import late_fusion, svm
from deepfusion.evaluation.svm import (
    GRID,
    MODELS,
    calibrate,
    column_weights,
    decision_values,
    per_speaker,
    predict_fold,
    statistics,
    svm_probabilities,
)

CLASSES = 3
TRAIN, TEST = np.arange(60), np.arange(60, 72)


def corpus(seed=0, *, speakers=6, clips=12, columns=8, signal=2.0):
    """Labels in turn, each speaker shifted, the class in the first columns; the last speaker is the tested one."""
    rng = np.random.default_rng(seed)
    y = np.tile(np.arange(clips) % CLASSES, speakers)
    who = np.repeat([f"s{i}" for i in range(speakers)], clips)
    x = rng.normal(size=(len(y), columns)) + np.repeat(rng.normal(size=(speakers, columns)), clips, axis=0)
    x[np.arange(len(y)), y] += signal
    return x, y, who


def even(x):
    """One feature: all columns weigh alike."""
    return np.full(x.shape[1], x.shape[1] ** -0.5)


def both(**changes):
    x, y, who = corpus(**changes)
    rng = np.random.default_rng(9)
    slots = {"EF-A": x[:, ::-1] + rng.normal(size=x.shape), "EF-B": rng.normal(size=x.shape)}
    return {"audio": x, **slots}, y, who


def fold(name, features, y, who):
    """A model's probabilities; the reason if it cannot be trained."""
    models = [of for of in MODELS if set(MODELS[of]) <= {"audio" if key == "audio" else "video" for key in features}]
    found, impossible = predict_fold(features, y, who, TRAIN, TEST, classes=CLASSES, models=models)
    return found.get(name, impossible.get(name))


def test_statistics_are_those_of_every_column():
    rows = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    columns = [[float(value) for value in column] for column in rows.T]
    means = [sum(column) / 7 for column in columns]
    deviations = [(sum((v - m) ** 2 for v in column) / 7) ** 0.5 for column, m in zip(columns, means, strict=True)]
    expected = [*means, *deviations, *map(min, columns), *map(max, columns)]
    assert statistics(rows) == pytest.approx(expected, rel=1e-6)


def test_a_clip_without_a_face_is_a_row_of_nan():
    faces = np.stack([statistics(np.ones((2, 3))), statistics(np.ones((0, 3)))])
    assert faces.shape == (2, 12)
    assert np.isfinite(faces[0]).all() and np.isnan(faces[1]).all()


def test_sound_weighs_as_much_as_all_faces():
    weight = column_weights({"audio": 3, "EF-A": 40, "EF-B": 7})
    sound, a, b = np.split(weight**2, [3, 43])
    assert [sound.sum(), a.sum(), b.sum()] == pytest.approx([1 / 2, 1 / 4, 1 / 4])
    assert column_weights({"audio": 16}) == pytest.approx(np.full(16, 1 / 4))
    assert column_weights({"EF-A": 3, "EF-B": 1}) ** 2 == pytest.approx([1 / 6] * 3 + [1 / 2])


def test_per_speaker_each_has_mean_0_and_deviation_1():
    x, _, who = corpus()
    x[:, 3] = 5.0
    x[who == "s1", 4] = -2.0
    x[0] = np.nan
    x[who == "s2"] = np.nan
    standardised = per_speaker(x, who)
    assert (np.isnan(standardised) == np.isnan(x)).all()
    for speaker in set(who) - {"s2"}:
        rows = standardised[(who == speaker) & ~np.isnan(x[:, 0])]
        assert rows.mean(0) == pytest.approx(0, abs=1e-12)
        constant = {3, 4} if speaker == "s1" else {3}
        assert rows.std(0) == pytest.approx([float(i not in constant) for i in range(x.shape[1])])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("columns", [8, 300])
def test_turning_the_columns_leaves_the_svm_as_it_is(columns, classes):
    x, y, _ = corpus(columns=columns)
    y = y % classes
    plain = make_pipeline(
        StandardScaler(),
        # The reference has the columns' number in C, and an intercept column as long as a row.
        LinearSVC(C=0.1 / columns, intercept_scaling=columns**0.5, dual=False, tol=1e-10, max_iter=10_000),
    ).fit(x[TRAIN], y[TRAIN])
    theirs = plain.decision_function(x[TEST])
    (ours,) = decision_values(x[TRAIN], y[TRAIN], x[TEST], weight=even(x), classes=classes, grid=[0.1])
    assert (ours[:, 1] if classes == 2 else ours) == pytest.approx(theirs, abs=2e-3)


def test_a_class_that_was_not_learned_gets_minus_1():
    x, y, _ = corpus()
    seen = TRAIN[y[TRAIN] != 1]
    (values,) = decision_values(x[seen], y[seen], x[TEST], weight=even(x), classes=CLASSES, grid=[1.0])
    assert (values[:, 1] == -1).all()
    assert values[:, 0] == pytest.approx(-values[:, 2])


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_sum_to_1_and_know_the_classes(name):
    features, y, who = both(signal=4.0)
    probabilities = fold(name, features, y, who)
    assert probabilities.shape == (len(TEST), CLASSES)
    assert probabilities.sum(1) == pytest.approx(1) and (probabilities >= 0).all()
    assert (probabilities.argmax(1) == y[TEST]).mean() > 0.75


@pytest.mark.parametrize("name", MODELS)
def test_nothing_of_the_tested_speaker_reaches_the_model(name):
    """With other features and labels for all tested clips but one, what is said of that one stays."""
    features, y, who = both()
    plain = fold(name, features, y, who)
    others = TEST[1:]
    changed = {key: x.copy() for key, x in features.items()}
    for x in changed.values():
        x[others] = x[others] * 50 + 7
    strange = y.copy()
    strange[TEST] = (strange[TEST] + 1) % CLASSES
    again = fold(name, changed, strange, who)
    assert again[0] == pytest.approx(plain[0], abs=1e-12)
    assert not np.allclose(again[1:], plain[1:])


@pytest.mark.parametrize("name", MODELS)
def test_a_training_label_does_reach_the_model(name):
    features, y, who = both()
    plain = fold(name, features, y, who)
    y[0] = (y[0] + 1) % CLASSES
    assert not np.allclose(fold(name, features, y, who), plain, atol=1e-6)


def test_no_svm_judges_a_speaker_that_it_learned_from(monkeypatch):
    """The first column tells the speaker, so what each fit sees can be read from it."""
    x, y, who = corpus()
    x[:, 0] = [int(speaker[1:]) for speaker in who]
    seen = []

    def spy(x, y, other, **options):
        seen.append((set(x[:, 0]), set(other[:, 0])))
        return decision_values(x, y, other, **options)

    monkeypatch.setattr(svm, "decision_values", spy)
    fold("svm_audio", {"audio": x}, y, who)
    assert all(not learned & judged for learned, judged in seen)
    assert [5.0 in learned | judged for learned, judged in seen] == [False] * 5 + [True]
    assert set.union(*(judged for _, judged in seen[:-1])) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("signal", [0.0, 3.0])
def test_calibration_tempers_noise_and_trusts_a_clear_signal(signal):
    """Many columns: decision values of clips that were learned from look certain whatever they are worth."""
    x, y, who = corpus(speakers=12, clips=24, columns=300, signal=signal)
    train, test = np.flatnonzero(who < "s6"), np.flatnonzero(who >= "s6")
    said = svm_probabilities(x[train], y[train], who[train], x[test], weight=even(x), classes=CLASSES)
    raw = decision_values(x[train], y[train], x[test], weight=even(x), classes=CLASSES, grid=GRID)
    plain = [log_loss(y[test], softmax(values, axis=1)) for values in raw]
    assert log_loss(y[test], said) < (np.log(CLASSES) + 0.02 if signal == 0 else min(plain))
    assert log_loss(y[test], said) < np.mean(plain)


def test_calibration_finds_the_slope_and_the_intercepts_that_made_the_labels():
    rng = np.random.default_rng(0)
    values = rng.normal(-0.5, 0.2, size=(20_000, 4))
    made = softmax(6 * values + [0.0, 1.0, -1.0, -np.inf], axis=1)
    y = (rng.random((len(made), 1)) > made.cumsum(1)).sum(1)
    slope, intercepts = calibrate(values, y)
    assert slope == pytest.approx(6, rel=0.05)
    assert intercepts[:3] - intercepts[0] == pytest.approx([0, 1, -1], abs=0.1)
    assert intercepts[3] == -np.inf


def test_calibration_of_classes_that_do_not_overlap_gives_platts_targets():
    y = np.repeat([0, 1], 10)
    slope, intercepts = calibrate(np.stack([1.0 - 2 * y, 2.0 * y - 1], axis=1), y)
    assert softmax(slope * np.array([1, -1]) + intercepts) == pytest.approx([11 / 12, 1 / 12], abs=1e-4)


def test_calibration_of_values_that_say_nothing_gives_the_shares():
    y = np.repeat([0, 1, 2], [60, 30, 10])
    _, intercepts = calibrate(np.zeros((100, 3)), y)
    assert softmax(intercepts) == pytest.approx([0.6, 0.3, 0.1], abs=0.03)
    worse = -np.eye(3)[y] + np.random.default_rng(0).normal(size=(100, 3))
    assert calibrate(worse, y)[0] == 0


def test_a_missing_modality_gets_the_class_shares_of_the_training_clips():
    features, y, who = both()
    y[:10] = 0
    shares = np.bincount(y[TRAIN]) / len(TRAIN)
    features["audio"][[3, TEST[0], TEST[1]]] = np.nan
    features["EF-A"][TEST[1:]] = features["EF-B"][TEST[1:]] = np.nan
    said = {name: fold(name, features, y, who) for name in MODELS}
    assert said["svm_audio"][0] == pytest.approx(shares)
    assert said["svm_video"][1:] == pytest.approx(np.tile(shares, (11, 1)))
    assert said["svm_late_product"][0] == pytest.approx(said["svm_video"][0])
    assert said["svm_late_product"][2:] == pytest.approx(said["svm_audio"][2:])
    for name in ("svm_concat", "svm_late_mean", "svm_late_product"):
        assert said[name][1] == pytest.approx(shares)
        assert not np.allclose(said[name][0], shares)


def test_a_missing_modality_of_a_training_clip_leaves_its_label_in_the_shares_alone():
    x, y, who = corpus()
    x[0], x[TEST[0]] = np.nan, np.nan
    plain = fold("svm_audio", {"audio": x}, y, who)
    y[0] = 2
    again = fold("svm_audio", {"audio": x}, y, who)
    assert (again[1:] == plain[1:]).all()
    assert again[0] - plain[0] == pytest.approx([-1 / 60, 0, 1 / 60])


def test_joined_columns_that_are_missing_are_filled_with_the_mean_of_the_clips_learned_from():
    x, y, _ = corpus()
    x[[0, TEST[0]], 4:] = np.nan
    mean, deviation = np.nanmean(x[TRAIN], axis=0), np.nanstd(x[TRAIN], axis=0)
    (ours,) = decision_values(x[TRAIN], y[TRAIN], x[TEST], weight=even(x), classes=CLASSES, grid=[1.0])
    filled = (np.where(np.isnan(x), mean, x) - mean) / deviation / np.sqrt(x.shape[1])
    plain = LinearSVC(C=1.0, dual=False, tol=1e-10, max_iter=10_000).fit(filled[TRAIN], y[TRAIN])
    assert ours == pytest.approx(plain.decision_function(filled[TEST]), abs=2e-3)


def test_fusions_are_their_formulas():
    features, y, who = both()
    y[:10] = 0
    a, v = fold("svm_audio", features, y, who), fold("svm_video", features, y, who)
    shares = np.bincount(y[TRAIN]) / len(TRAIN)
    assert fold("svm_late_mean", features, y, who) == pytest.approx((a + v) / 2)
    product = a * v / shares
    assert fold("svm_late_product", features, y, who) == pytest.approx(product / product.sum(1, keepdims=True))
    joined, n = np.concatenate(list(features.values()), axis=1), features["audio"].shape[1]
    weight = np.sqrt(np.array([1 / 2] * n + [1 / 4] * 2 * n) / n)
    expected = svm_probabilities(joined[TRAIN], y[TRAIN], who[TRAIN], joined[TEST], weight=weight, classes=CLASSES)
    assert fold("svm_concat", features, y, who) == pytest.approx(expected)
    assert fold("svm_video", {"EF-A": features["EF-A"]}, y, who) == pytest.approx(
        fold("svm_audio", {"audio": features["EF-A"]}, y, who)
    )


def test_a_class_that_no_training_clip_has_stays_at_0():
    features, y, who = both()
    y[y == 1] = 2
    for name in MODELS:
        probabilities = fold(name, features, y, who)
        assert (probabilities[:, 1] == 0).all() and probabilities.sum(1) == pytest.approx(1)


def test_two_fusions_by_hand():
    a, v = np.array([[0.6, 0.4, 0.0]]), np.array([[0.2, 0.8, 0.0]])
    assert late_fusion.mean(a, v) == pytest.approx(np.array([[0.4, 0.6, 0]]))
    # 0.12 / 0.75 = 0.16 and 0.32 / 0.25 = 1.28
    assert late_fusion.product(a, v, np.array([0.75, 0.25, 0])) == pytest.approx(np.array([[1 / 9, 8 / 9, 0]]))


def test_what_cannot_be_learned_is_left_out_with_its_reason():
    features, y, who = both()
    few = np.append(TRAIN[:12], TEST[:0])
    found, impossible = predict_fold(features, y, who, few, TEST, classes=CLASSES)
    assert not found and set(impossible) == set(MODELS)
    assert all("of two speakers at least" in why for why in impossible.values())
    assert "two classes at least" in fold("svm_audio", features, np.zeros_like(y), who)
    features["audio"][TRAIN] = np.nan  # no training clip has audio
    found, impossible = predict_fold(features, y, who, TRAIN, TEST, classes=CLASSES)
    assert set(found) == {"svm_video", "svm_concat"} and set(impossible) == {
        "svm_audio",
        "svm_late_mean",
        "svm_late_product",
    }


def test_only_the_models_asked_for_are_trained():
    features, y, who = both()
    found, _ = predict_fold(features, y, who, TRAIN, TEST, classes=CLASSES, models=["svm_concat"])
    assert set(found) == {"svm_concat"}
