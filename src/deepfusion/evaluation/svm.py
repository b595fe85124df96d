"""The classical reference models of a fusion study: statistics over time, linear SVMs, early and late fusion.

A fold's scaling, C and calibration come from its training clips alone, inner folds are parted by speaker, and nothing
is drawn at random.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from deepfusion.corpora.inner_folds import inner_folds
from deepfusion.errors import UserError
from deepfusion.evaluation.late_fusion import mean, product

AUDIO = "audio"  # the key of the features of the audio; every other key is a stream of the video
# Name of each model -> which modalities it needs.
BOTH = ("audio", "video")
MODELS = {
    "svm_audio": ("audio",),
    "svm_video": ("video",),
    "svm_concat": BOTH,
    "svm_late_mean": BOTH,
    "svm_late_product": BOTH,
}
INNER_FOLDS = 5
# Of rows of length about 1 (see `decision_values`): from nearly the class means' direction to nearly a hard margin.
GRID = (0.01, 0.1, 1.0, 10.0, 100.0)
LONGEST_FIT = 10_000  # passes at most


class TooFewClipsError(UserError):
    """The training clips with the modality do not suffice for an SVM: this model is left out, others go on."""


def statistics(rows: np.ndarray) -> np.ndarray:
    """(L, D) rows -> (4 D,) float64 mean, standard deviation, least and greatest of every column; NaN if L = 0."""
    if len(rows) == 0:
        return np.full(4 * rows.shape[1], np.nan)
    rows = rows.astype(np.float64)
    return np.concatenate([rows.mean(0), rows.std(0), rows.min(0), rows.max(0)])


def _scaler(x: np.ndarray) -> StandardScaler:
    """Mean and standard deviation of every column; NaN is passed over."""
    # A column of NaN alone, as of a speaker without a face, has neither and stays NaN: nothing to warn of.
    with np.errstate(invalid="ignore"):
        return StandardScaler().fit(x)


def per_speaker(x: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """Standardise every speaker's clips by that speaker's own mean and standard deviation.

    TRANSDUCTIVE: a held-out speaker is standardised by all of their own clips, which a system that meets a stranger
    does not have. No label is looked at and no other speaker's clip, but figures from such features must say so.

    Args:
        x: (clips, columns); NaN where a modality is missing.
        speakers: (clips,).

    Returns:
        (clips, columns); 0 where a speaker's column is constant, NaN where it was NaN.
    """
    standardised = np.empty_like(x, dtype=np.float64)
    for speaker in np.unique(speakers):
        rows = speakers == speaker
        standardised[rows] = _scaler(x[rows]).transform(x[rows])
    return standardised


def decision_values(
    x: np.ndarray, y: np.ndarray, other: np.ndarray, *, weight: np.ndarray, classes: int, grid: Iterable[float]
) -> np.ndarray:
    """What linear SVMs, one class against the rest, learn from some clips and say of others.

    Columns are standardised by the clips learned from, whose mean fills in for NaN, and weighted.

    Args:
        x: (clips, columns) to learn from.
        y: (clips,) their classes, two different ones at least.
        other: (others, columns) to decide on.
        weight: (columns,), see `column_weights`.
        classes: Number of classes.
        grid: C.

    Returns:
        (len(grid), others, classes); -1 for a class that is not among `y`.
    """
    scaler = _scaler(x)
    x, other = (np.nan_to_num(scaler.transform(some), nan=0.0) * weight for some in (x, other))
    # The weights lie in the span of the rows: rotated into it, the problem is the same with no more columns than rows.
    basis = np.linalg.qr(x.T).Q
    x, other = x @ basis, other @ basis
    values = []
    for C in grid:
        # dual=False: Newton's method, which draws nothing at random.
        svm = LinearSVC(C=C, dual=False, max_iter=LONGEST_FIT).fit(x, y)
        decisions = svm.decision_function(other)
        values.append(np.full((len(other), classes), -1.0))
        values[-1][:, svm.classes_] = decisions if decisions.ndim == 2 else np.stack([-decisions, decisions], axis=1)
    return np.stack(values)


def calibrate(values: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Fit softmax(slope * values + intercepts) to the classes: multinomial logistic regression with one slope.

    Platt (1999) fits such a sigmoid to the decision values of held-out clips of two classes; Zadrozny and Elkan (2002)
    carry calibration to more. A slope for every pair of classes, scikit-learn's multinomial form, overfits some hundred
    clips (Guo et al. 2017 call it matrix scaling and find the same); intercepts alone still give the class shares.

    Args:
        values: (clips, classes) decision values of clips that the SVM had not learned.
        y: (clips,) their classes, two different ones at least.

    Returns:
        The slope, 0 or more, and (classes,) intercepts, -inf for a class that is not among `y`.
    """
    known, position, counts = np.unique(y, return_inverse=True, return_counts=True)
    # Platt's targets instead of 1 and 0: they keep the slope finite where the classes do not overlap.
    right = ((counts + 1) / (counts + 2))[position, None]
    target = np.where(np.arange(len(known)) == position[:, None], right, (1 - right) / (len(known) - 1))
    unit = values[:, known].std() or 1.0
    x = values[:, known] / unit

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = weights[0] * x + weights[1:]
        excess = softmax(logits, axis=1) - target
        return -(target * log_softmax(logits, axis=1)).sum(), np.append((excess * x).sum(), excess.sum(axis=0))

    start, bounds = np.append(1.0, np.zeros(len(known))), [(0, None)] + [(None, None)] * len(known)
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    intercepts = np.full(values.shape[1], -np.inf)
    intercepts[known] = fitted[1:]
    return fitted[0] / unit, intercepts


def class_shares(y: np.ndarray, classes: int) -> np.ndarray:
    """(classes,) share of every class among some clips."""
    return np.bincount(y, minlength=classes) / len(y)


def column_weights(columns: Mapping[str, int]) -> np.ndarray:
    """Weight of each standardised column, for features of so many columns by name.

    Audio weighs as much as all slots of faces together, and these alike, however many columns each has: else the few
    columns of audio drown in the thousands of faces. Rows have a length of about 1, so that one grid of C suits all.
    """
    slots = max(1, len(columns) - (AUDIO in columns))
    share = {name: 1.0 if name == AUDIO else 1 / slots for name in columns}
    total = sum(share.values())
    return np.concatenate([np.full(n, np.sqrt(share[name] / total / n)) for name, n in columns.items()])


def svm_probabilities(
    x: np.ndarray, y: np.ndarray, speakers: np.ndarray, other: np.ndarray, *, weight: np.ndarray, classes: int
) -> np.ndarray:
    """Class probabilities of clips by a linear SVM of other speakers' clips.

    Every training clip is judged once by SVMs that have not seen its speaker. The C that is right most often there
    (the smallest of several) is used, these same decision values of it are what `calibrate` is fitted to, and the SVM
    that speaks is fitted to all training clips.

    Args:
        x: (clips, columns) to learn from; a row that is NaN throughout lacks the modality and is left out.
        y: (clips,) their classes.
        speakers: (clips,) their speakers.
        other: (others, columns) to judge.
        weight: (columns,), see `column_weights`.
        classes: Number of classes.

    Returns:
        (others, classes); for a row that is NaN throughout the shares of the classes in `y`.

    Raises:
        TooFewClipsError: The clips with the modality are not of two speakers and two classes at least, or the inner
            folds leave a single class to learn from.
    """
    probabilities = np.tile(class_shares(y, classes), (len(other), 1))
    has, asked = ~np.isnan(x).all(axis=1), ~np.isnan(other).all(axis=1)
    x, y, speakers = x[has], y[has], speakers[has]
    parts = inner_folds(speakers, y, INNER_FOLDS)[0] if len(x) > 1 else []
    if not parts:
        raise TooFewClipsError("an SVM needs training clips with audio or a face of two speakers at least")
    if any(len(np.unique(y[learning])) < 2 for learning, _ in parts):
        raise TooFewClipsError(
            "an SVM needs two classes at least among the training clips, whichever speakers are left out"
        )
    if not asked.any():
        return probabilities
    held_out = np.empty((len(GRID), len(x), classes))
    for learning, choosing in parts:
        held_out[:, choosing] = decision_values(
            x[learning], y[learning], x[choosing], weight=weight, classes=classes, grid=GRID
        )
    best = (held_out.argmax(axis=2) == y).mean(axis=1).argmax()
    slope, intercepts = calibrate(held_out[best], y)
    (decisions,) = decision_values(x, y, other[asked], weight=weight, classes=classes, grid=[GRID[best]])
    probabilities[asked] = softmax(slope * decisions + intercepts, axis=1)
    return probabilities


def predict_fold(
    name: str,
    features: Mapping[str, np.ndarray],
    labels: np.ndarray,
    speakers: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    *,
    classes: int,
) -> np.ndarray:
    """What a model says of the test clips of one fold, learned from the training clips.

    Args:
        name: One of `MODELS`. svm_concat joins all columns, the late fusions join what svm_audio and svm_video say.
        features: "audio" and slots of faces -> (clips, columns), NaN rows where missing. All slots given are joined, so
            a slot alone is had by giving it alone.
        labels: (clips,) integer classes.
        speakers: (clips,).
        train: Positions of the training clips.
        test: Positions of the test clips, of other speakers.
        classes: Number of classes.

    Returns:
        (len(test), classes) probabilities.

    Raises:
        UserError: An unknown model, a speaker on both sides, or training clips that do not suffice.
    """
    if name not in MODELS:
        raise UserError(f"no model {name!r}: there are {', '.join(MODELS)}")
    if both := sorted((set(speakers[train]) & set(speakers[test])) - {""}):
        raise UserError(f"leakage: speakers both trained and tested on: {', '.join(both)}")
    slots = [key for key in features if key != AUDIO]

    def predicted(keys: list[str]) -> np.ndarray:
        x = np.concatenate([features[key] for key in keys], axis=1)
        weight = column_weights({key: features[key].shape[1] for key in keys})
        return svm_probabilities(x[train], labels[train], speakers[train], x[test], weight=weight, classes=classes)

    if name == "svm_audio":
        return predicted([AUDIO])
    if name == "svm_video":
        return predicted(slots)
    if name == "svm_concat":
        return predicted([AUDIO, *slots])
    if name == "svm_late_mean":
        return mean(predicted([AUDIO]), predicted(slots))
    return product(predicted([AUDIO]), predicted(slots), class_shares(labels[train], classes))
