"""`snakemake fusion_study`: all fusion methods on the same features, folds, seeds and budget."""

import logging
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from deepfusion.cache_key import file_sha256
from deepfusion.config import FusionSettings, StudySettings
from deepfusion.corpora.folds import Fold
from deepfusion.corpora.inner_folds import BY_CLIP
from deepfusion.evaluation import svm
from deepfusion.evaluation.late_fusion import mean, product, weight_of, weighted
from deepfusion.fusion import end_to_end, experiment, rows
from deepfusion.fusion.corpus import Corpus, read_corpus
from deepfusion.fusion.experiment import Findings
from deepfusion.fusion.missing_modality import absent_rows
from deepfusion.fusion.parts import Part
from deepfusion.fusion.preprocessing import Normalisation
from deepfusion.fusion.search import Bench, Choice, Row, accuracy, joined_curves, sweep
from deepfusion.fusion.streams import clip_streams, is_video
from deepfusion.networks.encoder_file import encoder_path
from deepfusion.store import FeatureStore
from deepfusion.versions import ENCODER

log = logging.getLogger(__name__)

PURPOSE = "fusion_study"
ENSEMBLE = "fbp_ensemble"


def run_study(
    store: Path,
    folder: Path,
    folds: Sequence[Fold],
    *,
    settings: FusionSettings,
    study: StudySettings,
    device: torch.device,
) -> dict:
    """Write `predictions.csv` of all models, `metrics.json`, `choices.json` and `attention.h5`.

    Args:
        store: The feature store.
        folder: Where the files go.
        folds: Folds, their speakers or splits.
        settings: The fusion network, with the normalisation of this table.
        study: Sweeps and end-to-end training.
        device: Where to compute.

    Returns:
        The metrics.

    Raises:
        UserError: See `corpus.read_corpus`, `parts.part`, `experiment.prepare`; a training diverged.
        MachineError: A feature in the store is NaN or infinite.
    """
    with FeatureStore(store) as opened:
        slots, encoder = list(opened.networks), ENCODER in opened.keys
        streams = rows.streams_in(opened, settings)
        # End-to-end training starts from the encoder that computed AF.
        at_hand = encoder and opened.attributes(ENCODER)["sha256"] == file_sha256(encoder_path(None))
    wanted, refiners = rows.study(streams, slots, encoder=encoder), {}
    if at_hand and settings.normalisation == "training":
        trained = rows.end_to_end(slots, seed=settings.seeds[0])
        refiners = dict.fromkeys([row.name for row in trained], partial(end_to_end.refiner, settings=study.end_to_end))
        wanted += trained
    corpus = read_corpus(store, rows.streams_of(wanted), purpose=PURPOSE)
    found, left = experiment.prepare(corpus, folds, wanted, settings)
    log.info("%d clips, %d folds, normalised by %s", len(corpus.table), len(found.parts), settings.normalisation)
    if encoder and not at_hand:
        found.notes.append("no end-to-end models: AF of the store is not from the audio encoder of the package")
    fbp = next((row for row in left if row.name == "fbp"), None)
    sweeps: dict[str, list[dict]] = {}

    def after(bench: Bench, choices: Mapping[str, Choice]) -> None:
        for what, curve in (sweeps_of(bench, fbp, choices["fbp"], study) if fbp else {}).items():
            sweeps[what] = joined_curves(sweeps[what], curve) if what in sweeps else curve

    experiment.run(found, left, device, refiners=refiners, after=after)
    if {"audio", "video"} <= found.choices.keys():
        found.probabilities |= late_fusions(found)
        systems = [
            name for name in found.probabilities if name == "fbp" or name.startswith(("fbp_EF", "fbp_landmarks"))
        ]
        found.probabilities[ENSEMBLE] = np.mean([found.probabilities[name] for name in systems], axis=0)
    add_svms(found)
    return experiment.write(found, left, folder, extra={"sweeps": sweeps})


def late_fusions(found: Findings) -> dict[str, np.ndarray]:
    """Mean, product and weighted product of the predictions of `audio` and `video`; inner folds select the weight."""
    audio, video = found.probabilities["audio"], found.probabilities["video"]
    learned = np.full_like(audio, np.nan)
    label = found.corpus.label.numpy()
    for i, part in enumerate(found.parts):
        held = found.choices["audio"].held[i]
        both = [found.choices[name].probabilities[i] for name in ("audio", "video")]
        learned[:, part.test] = weighted(audio[:, part.test], video[:, part.test], weight_of(*both, label[held]))
    return {"late_mean": mean(audio, video), "late_product": product(audio, video), "late_learned": learned}


def add_svms(found: Findings) -> None:
    """Add the SVM baselines; they are deterministic, so all seeds have the same predictions."""
    corpus, settings = found.corpus, found.settings
    reasons = {m: why for m, row in (("audio", "audio"), ("video", "video")) if (why := found.absent.get(row))}
    absent = absent_rows(svm.MODELS, reasons)
    features = svm_features(corpus)
    predicted, impossible = svm_models(corpus, features, found.parts, by=settings.normalisation, leave_out=set(absent))
    found.absent |= absent | impossible
    if predicted and any(not p.speakers_known and not p.note for p in found.parts):
        found.notes.append(f"SVMs: {BY_CLIP}")  # the networks have validation clips for selection
    found.probabilities |= {name: p.repeat(len(settings.seeds), 0) for name, p in predicted.items()}


def svm_features(corpus: Corpus) -> dict[str, np.ndarray]:
    """Statistics over time of the same streams: (clips, columns) of the audio and of each stream of the video.

    The store is read again, because the corpus has only a sample of long streams.
    """
    names = [name for name in corpus.streams if name in ("speech-clip", "AF-clip") or is_video(name)]
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    with FeatureStore(corpus.path) as store:
        for id_ in corpus.table.index:
            for name, values in clip_streams(store[id_], names, corpus.spectrogram).rows.items():
                if name in found:
                    found[name].append(svm.statistics(values) if is_video(name) else _one(values))
    columns = {name: np.stack(of) for name, of in found.items()}
    audio = [of for name, of in columns.items() if not is_video(name)]
    video = {name: of for name, of in columns.items() if is_video(name)}
    return ({svm.AUDIO: np.concatenate(audio, axis=1)} if audio else {}) | video


def _one(values: np.ndarray) -> np.ndarray:
    """The row of a stream per clip; NaN without one."""
    return values[0].astype(np.float64) if len(values) else np.full(values.shape[1], np.nan)


def svm_models(
    corpus: Corpus,
    features: dict[str, np.ndarray],
    parts: Sequence[Part],
    *,
    by: Normalisation,
    leave_out: Collection[str] = (),
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Predictions of the SVMs.

    Returns:
        (1, clips, classes) probabilities of each model; and why a model is missing, by name.
    """
    speakers, label = np.array(corpus.speakers), corpus.label.numpy()
    if by == "speaker":
        features = {name: svm.per_speaker(x, speakers) for name, x in features.items()}
    found, impossible = {}, {}
    for name in (name for name in svm.MODELS if name not in leave_out):
        p = np.full((1, len(label), len(corpus.labels)), np.nan)
        try:
            for fold in parts:
                train, test = np.array(fold.train), np.array(fold.test)
                known = speakers if fold.speakers_known else np.full(len(speakers), "")
                p[0, test] = svm.predict_fold(name, features, label, known, train, test, classes=len(corpus.labels))
        except svm.TooFewClipsError as error:
            impossible[name] = str(error)
            log.warning("%s is left out: %s", name, error)
            continue
        found[name] = p
        log.info("%s: accuracy %.3f", name, accuracy(p, corpus))
    return found, impossible


def sweeps_of(bench: Bench, row: Row, choice: Choice, study: StudySettings) -> dict[str, list[dict]]:
    """Inner loss and accuracy of FBP over one setting at a time, with the hyperparameters that most folds selected."""
    best = [fold[0].candidate for fold in choice.members]
    candidate = max(dict.fromkeys(best), key=best.count)
    return {what: sweep(bench, row, what, values, candidate) for what, values in study.sweeps.items()}
