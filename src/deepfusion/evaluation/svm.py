"""The SVM baselines of a fusion study: statistics over time, linear SVMs, early and late fusion.

Scaling, C and calibration come from the training clips of a fold, inner folds are split by speaker, and nothing is
random.
"""

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from deepfusion.corpora.inner_folds import inner_folds
from deepfusion.errors import UserError
from deepfusion.evaluation.late_fusion import mean, product

AUDIO = "audio"  # the key of the features of the audio; every other key is a stream of the video
# Model -> modalities that it needs.
BOTH = ("audio", "video")
MODELS = {
    "svm_audio": ("audio",),
    "svm_video": ("video",),
    "svm_concat": BOTH,
    "svm_late_mean": BOTH,
    "svm_late_product": BOTH,
}
INNER_FOLDS = 5
# C, for rows of norm about 1 (see `column_weights`): from about the direction of the class means to a hard margin.
GRID = (0.01, 0.1, 1.0, 10.0, 100.0)
LONGEST_FIT = 10_000  # maximum iterations


class TooFewClipsError(UserError):
    """Too few training clips with the modality for an SVM: only this model is left out."""


def statistics(rows: np.ndarray) -> np.ndarray:
    """(L, D) rows -> (4 D,) float64 mean, standard deviation, least and greatest of every column; NaN if L = 0."""
    if len(rows) == 0:
        return np.full(4 * rows.shape[1], np.nan)
    rows = rows.astype(np.float64)
    return np.concatenate([rows.mean(0), rows.std(0), rows.min(0), rows.max(0)])


def _scaler(x: np.ndarray) -> StandardScaler:
    """Mean and standard deviation of every column, ignoring NaN."""
    # A column of NaN alone, as of a speaker without a face, stays NaN without a warning.
    with np.errstate(invalid="ignore"):
        return StandardScaler().fit(x)


def per_speaker(x: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """Standardise every speaker's clips by that speaker's own mean and standard deviation.

    TRANSDUCTIVE: a test speaker is standardised by all of their own clips, which are not available for a new speaker in
    practice. Labels and other speakers' clips are not used, but results with such features must say so.

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
    """Decision values of linear one-vs-rest SVMs for other clips, for each C.

    Columns are standardised by the training clips, whose mean replaces NaN, and weighted.

    Args:
        x: (clips, columns) training clips.
        y: (clips,) their classes, two different ones at least.
        other: (others, columns) clips to predict.
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
        # dual=False: Newton's method, which is deterministic.
        svm = LinearSVC(C=C, dual=False, max_iter=LONGEST_FIT).fit(x, y)
        decisions = svm.decision_function(other)
        values.append(np.full((len(other), classes), -1.0))
        values[-1][:, svm.classes_] = decisions if decisions.ndim == 2 else np.stack([-decisions, decisions], axis=1)
    return np.stack(values)


def calibrate(values: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Fit softmax(slope * values + intercepts) to the classes: multinomial logistic regression with one slope.

    Platt (1999) fits such a sigmoid to the decision values of held-out clips of two classes; Zadrozny and Elkan (2002)
    carry calibration to more. A slope for every pair of classes, scikit-learn's multinomial form, overfits hundreds of
    clips (Guo et al. 2017 call it matrix scaling and find the same); intercepts alone still give the class shares.

    Args:
        values: (clips, classes) decision values of held-out clips.
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
    """Weight of each standardised column; `columns`: feature -> number of columns.

    Audio has the same weight as all face slots together, which have equal weights: otherwise the thousands of face
    columns would dominate. Rows have a norm of about 1, so that one grid of C suits all models.
    """
    slots = max(1, len(columns) - (AUDIO in columns))
    share = {name: 1.0 if name == AUDIO else 1 / slots for name in columns}
    total = sum(share.values())
    return np.concatenate([np.full(n, np.sqrt(share[name] / total / n)) for name, n in columns.items()])


def svm_probabilities(
    x: np.ndarray, y: np.ndarray, speakers: np.ndarray, other: np.ndarray, *, weight: np.ndarray, classes: int
) -> np.ndarray:
    """Class probabilities of clips by a linear SVM trained on clips of other speakers.

    Every training clip is predicted once by SVMs that have not seen its speaker. The C with the highest accuracy there
    (the smallest of several) is selected, `calibrate` is fitted to the same decision values, and the final SVM is
    trained on all training clips.

    Args:
        x: (clips, columns) training clips; a row of NaN lacks the modality and is left out.
        y: (clips,) their classes.
        speakers: (clips,) their speakers.
        other: (others, columns) clips to predict.
        weight: (columns,), see `column_weights`.
        classes: Number of classes.

    Returns:
        (others, classes); the class shares of `y` for a row of NaN.

    Raises:
        TooFewClipsError: The clips with the modality have fewer than two speakers, or an inner fold fewer than two
            classes.
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
    features: Mapping[str, np.ndarray],
    labels: np.ndarray,
    speakers: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    *,
    classes: int,
    models: Collection[str] = tuple(MODELS),
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Predictions for the test clips of one fold, trained on the training clips.

    svm_concat concatenates all columns; late fusion combines svm_audio and svm_video.

    Args:
        features: "audio" and streams of the video -> (clips, columns), NaN rows where missing.
        labels: (clips,) integer classes.
        speakers: (clips,).
        train: Positions of the training clips.
        test: Positions of the test clips.
        classes: Number of classes.
        models: Names from `MODELS`.

    Returns:
        (len(test), classes) probabilities of each model; and why a model is missing, by name.
    """
    video = [key for key in features if key != AUDIO]
    columns = {"svm_audio": [AUDIO], "svm_video": video, "svm_concat": [AUDIO, *video]}
    found, impossible = {}, {}
    for name in (name for name in columns if name in models):
        keys = columns[name]
        x = np.concatenate([features[key] for key in keys], axis=1)
        weight = column_weights({key: features[key].shape[1] for key in keys})
        try:
            found[name] = svm_probabilities(
                x[train], labels[train], speakers[train], x[test], weight=weight, classes=classes
            )
        except TooFewClipsError as error:
            impossible[name] = str(error)
    late = [name for name in models if name not in columns]
    alone = ("svm_audio", "svm_video")
    if reasons := [impossible[name] for name in alone if name in impossible]:
        impossible |= dict.fromkeys(late, reasons[0])
    elif late:
        audio, of_video = (found[name] for name in alone)
        shares = class_shares(labels[train], classes)
        fused = {"svm_late_mean": mean(audio, of_video), "svm_late_product": product(audio, of_video, shares)}
        found |= {name: fused[name] for name in late}
    return found, impossible
