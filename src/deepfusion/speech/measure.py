"""Evaluation of an encoder on unseen speakers and corpora: its own classifier, and a linear probe."""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfusion.networks.audio_encoder import SpeechEncoder
from deepfusion.speech.prepare import Prepared

FOLDS = 10  # of the linear probe, at most
INNER_FOLDS = 3  # by speaker, of the training clips, to select the penalty
PENALTIES = np.geomspace(1e1, 1e6, 11)  # of the ridge


def recall(label: np.ndarray, predicted: np.ndarray) -> float:
    """UAR: mean recall over the classes in `label`."""
    return float(np.mean([(predicted[label == one] == one).mean() for one in np.unique(label)]))


def encode(encoder: SpeechEncoder, data: Prepared, rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """One vector per clip for the probe, and the classifier's logits.

    Returns:
        (n, 2 C) float32, see `SpeechEncoder.attended`; (n, labels) float32.
    """
    with torch.inference_mode():
        vectors = np.stack([encoder.attended(encoder.positions(data.decibels(row))) for row in rows])
        return vectors, encoder.classifier(torch.from_numpy(vectors).to(encoder.front.mean.device)).cpu().numpy()


def zero_shot(logits: np.ndarray, label: np.ndarray, labels: Sequence[str]) -> float:
    """UAR of the encoder's own classifier over the classes that occur.

    Args:
        logits: (n, labels).
        label: (n,) names; clips of a class that the classifier lacks are left out.
        labels: Of the classifier.
    """
    known = np.isin(label, labels)
    present = [i for i, name in enumerate(labels) if name in label]
    predicted = np.array(labels)[np.array(present)[logits[known][:, present].argmax(1)]]
    return recall(label[known], predicted)


def linear_probe(vectors: np.ndarray, label: np.ndarray, speaker: np.ndarray, *, by_speaker: bool = False) -> float:
    """UAR of a ridge classifier on the vectors, speakers disjoint.

    Args:
        vectors: (n, D).
        label: (n,).
        speaker: (n,).
        by_speaker: Standardise the vectors by each speaker's own mean and deviation, else by the training speakers'.
    """
    if by_speaker:
        vectors = vectors.astype(np.float64)
        for one in np.unique(speaker):
            own = vectors[speaker == one]
            vectors[speaker == one] = (own - own.mean(0)) / (own.std(0) + 1e-6)
    folds = GroupKFold(min(FOLDS, len(np.unique(speaker))))
    predicted = np.empty_like(label)
    for train, test in folds.split(vectors, label, speaker):
        known = speaker[train]
        inner = GroupKFold(min(INNER_FOLDS, len(np.unique(known)))).split(known, groups=known)
        ridge = make_pipeline(StandardScaler(), RidgeClassifier(class_weight="balanced"))
        model = GridSearchCV(ridge, {"ridgeclassifier__alpha": PENALTIES}, scoring=make_scorer(recall), cv=list(inner))
        predicted[test] = model.fit(vectors[train], label[train]).predict(vectors[test])
    return recall(label, predicted)
