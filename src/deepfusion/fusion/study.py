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
from deepfusion.fusion.corpus import Corpus, is_long, read_corpus
from deepfusion.fusion.experiment import Findings
from deepfusion.fusion.missing_modality import absent_rows
from deepfusion.fusion.parts import Part
from deepfusion.fusion.preprocessing import Normalisation
from deepfusion.fusion.search import Bench, Candidate, Choice, accuracy, joined_curves, sweep
from deepfusion.fusion.side_by_side import side_by_side
from deepfusion.fusion.streams import MODALITIES, Modality, clip_streams, is_per_clip, is_video
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

    swept: list[Candidate] = []  # one for all groups of folds

    def after(bench: Bench, choices: Mapping[str, Choice]) -> None:
        if fbp is None:
            return
        swept[:] = swept or [usual(choices["fbp"])]
        for what, values in study.sweeps.items():
            curve = sweep(bench, fbp, what, values, swept[0])
            sweeps[what] = joined_curves(sweeps[what], curve) if what in sweeps else curve

    experiment.run(found, left, device, refiners=refiners, after=after)
    if {"audio", "video"} <= found.choices.keys():
        fused = late_fusions(found)
        found.probabilities |= fused
        experiment.answer_by_the_rest(found, fused)
        systems = [
            name for name in found.probabilities if name == "fbp" or name.startswith(("fbp_EF", "fbp_landmarks"))
        ]
        found.probabilities[ENSEMBLE] = np.mean([found.probabilities[name] for name in systems], axis=0)
    add_svms(found, streams)
    return experiment.write(found, left, folder, extra={"sweeps": sweeps})


def late_fusions(found: Findings) -> dict[str, np.ndarray]:
    """Mean, product and weighted product of the predictions of `audio` and `video`; inner folds select the weight."""
    audio, video = (found.probabilities[m] for m in MODALITIES)
    fused = {name: np.full_like(audio, np.nan) for name in ("late_mean", "late_product", "late_learned")}
    label, classes = found.corpus.label.numpy(), len(found.corpus.labels)
    whole = found.corpus.has("audio") & found.corpus.has("video")
    for i, part in enumerate(found.parts):
        held = found.choices["audio"].held[i]
        inner = [found.choices[m].probabilities[i][whole[held]] for m in MODALITIES]
        weight = weight_of(*inner, label[held][whole[held]])
        # Networks of balanced classes predict with equal shares.
        shares = svm.class_shares(label[part.train], classes) if found.settings.balance == "none" else 1.0
        both = audio[:, part.test], video[:, part.test]
        fused["late_mean"][:, part.test] = mean(*both)
        fused["late_product"][:, part.test] = product(*both, shares)
        fused["late_learned"][:, part.test] = weighted(*both, weight)
    return fused


def add_svms(found: Findings, streams: rows.Streams) -> None:
    """Add the SVM baselines; they are deterministic, so all seeds have the same predictions."""
    corpus, settings = found.corpus, found.settings
    reasons = {m: found.absent[m] for m in MODALITIES if m in found.absent}
    absent = absent_rows(svm.MODELS, reasons)
    features = svm_features(corpus, {m: names for m, names in streams.items() if m not in reasons})
    predicted, impossible = svm_models(corpus, features, found.parts, by=settings.normalisation, leave_out=set(absent))
    found.absent |= absent | impossible
    if predicted and any(not p.speakers_known and not p.note for p in found.parts):
        found.notes.append(f"SVMs: {BY_CLIP}")  # the networks have validation clips for selection
    found.probabilities |= {name: p.repeat(len(settings.seeds), 0) for name, p in predicted.items()}
    joint = [name for name in predicted if svm.MODELS[name] == svm.BOTH]
    experiment.answer_by_the_rest(found, joint, alone={m: f"svm_{m}" for m in MODALITIES})


def svm_features(corpus: Corpus, streams: Mapping[Modality, Sequence[str]]) -> dict[str, np.ndarray]:
    """Statistics over time of the same streams: (clips, columns) of the audio and of each stream of the video.

    `speech-clip` and `AF-clip` are such statistics, and stand for `speech` and `AF`.
    """
    names = [name for of in streams.values() for name in of if is_video(name) or f"{name}-clip" not in of]
    long = list(filter(is_long, names))  # read again, because the corpus has only a sample

    def columns(i: int, id_: str) -> dict[str, np.ndarray]:
        made = clip_streams(store[id_], long, corpus.spectrogram).rows if long else {}
        all_rows = {name: made[name] if name in made else corpus.sample[name][i] for name in names}
        return {name: _one(of) if is_per_clip(name) else svm.statistics(of) for name, of in all_rows.items()}

    with FeatureStore(corpus.path) as store:
        clips = side_by_side(columns, enumerate(corpus.table.index))
    found = {name: np.stack([of[name] for of in clips]) for name in names}
    audio = [of for name, of in found.items() if not is_video(name)]
    video = {name: of for name, of in found.items() if is_video(name)}
    return ({svm.AUDIO: np.concatenate(audio, axis=1)} if audio else {}) | video


def _one(rows: np.ndarray) -> np.ndarray:
    """The row of a stream per clip; NaN without one."""
    return rows[0].astype(np.float64) if len(rows) else np.full(rows.shape[1], np.nan)


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
    shape = (1, len(label), len(corpus.labels))
    found = {name: np.full(shape, np.nan) for name in svm.MODELS if name not in leave_out}
    impossible: dict[str, str] = {}
    for fold in parts:
        known = speakers if fold.speakers_known else np.full(len(speakers), "")
        train, test = np.array(fold.train), np.array(fold.test)
        left = [name for name in found if name not in impossible]
        predicted, reasons = svm.predict_fold(
            features, label, known, train, test, classes=len(corpus.labels), models=left
        )
        impossible |= reasons
        for name, p in predicted.items():
            found[name][0, test] = p
    for name, reason in impossible.items():
        log.warning("%s is left out: %s", name, reason)
        del found[name]
    for name, p in found.items():
        log.info("%s: accuracy %.3f", name, accuracy(p, corpus))
    return found, impossible


def usual(choice: Choice) -> Candidate:
    """The hyperparameters that most folds selected."""
    best = [fold[0].candidate for fold in choice.members]
    return max(dict.fromkeys(best), key=best.count)
