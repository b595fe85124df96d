"""A trained model applied to media files: extraction in memory, then the model, one clip after another."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from deepfusion.cache_key import file_sha256
from deepfusion.config import Extraction, from_json
from deepfusion.errors import UserError
from deepfusion.extract.in_memory import AUDIO, Extracted, Extractor
from deepfusion.networks import catalogue, inference
from deepfusion.networks.encoder_file import encoder_path
from deepfusion.networks.engines import Engine
from deepfusion.prediction import windows
from deepfusion.prediction.inputs import Inputs, clips_of, is_one_file
from deepfusion.prediction.normalisation import Normalisation, check_normalisation, groups_of
from deepfusion.prediction.result import TRACK, Prediction, Predictions, Window
from deepfusion.store.layout import IMPORTED_AUDIO
from deepfusion.versions import ENCODER

if TYPE_CHECKING:
    from deepfusion.fusion.model import Answer, Model

TRACKED = {"time", "valid", "reason", "choice", "box", "score", "landmarks"}


class Predictor:
    """A model with the face networks and the audio encoder that it needs, loaded once for any number of clips.

        with deepfusion.load() as model:
            print(model.predict("clip.mp4"))

    Args:
        model: A trained model.
        device: auto, cpu, cuda, cuda:1 or mps, for the face networks.
        engine: Inference engine of the face networks.
        threads: CPU threads of the face networks; None: as many as there are cores.

    Attributes:
        model: The model.
        labels: Its classes, in the order of the probabilities.
        card: What it was trained on, its metrics, its licence.

    Raises:
        UserError: The device cannot be used, or required weights are missing or differ.
    """

    def __init__(self, model: "Model", *, device: str = "auto", engine: Engine = "auto", threads: int | None = None):
        self.model, self.labels, self.card = model, tuple(model.labels), model.card
        self._config = extraction_of(model.extraction)
        if imported := [
            key for key in model.needs if key.startswith(("EF-", IMPORTED_AUDIO)) and key not in self._config.networks
        ]:
            raise UserError(
                f"the model uses {imported[0]}, which was imported into its store and cannot be computed from a media "
                "file: train one without it"
            )
        check_weights(self.card.get("weights", {}), self._config)
        self._device, self._engine = inference.device(device), engine
        self._threads = threads or _cores()
        self._opened: Extractor | None = None

    @property
    def _extractor(self) -> Extractor:
        """Opened with the first clip, because it is not needed if all predictions are up to date."""
        if self._opened is None:
            needs = set(self.model.needs)
            if needs - AUDIO:
                needs |= TRACKED
            self._opened = Extractor(
                self._config, needs=needs, device=self._device, engine=self._engine, threads=self._threads
            )
        return self._opened

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that read media; the next prediction starts them again."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.card.get("name") or Path(self.model.folder).name

    def predict(
        self,
        inputs: Inputs,
        *,
        window: float | None = None,
        hop: float | None = None,
        norm: Normalisation | None = None,
        device: str | None = None,
    ) -> Prediction | Predictions:
        """Predict the emotion of one clip or of many.

        Args:
            inputs: A media file gives one `Prediction`. A folder, a manifest (.csv), a list of them or a table with a
                column `path` gives `Predictions`, which are made while they are iterated over.
            window: Length of windows that are predicted as well, s; None: whole clips only.
            hop: Distance between window starts, s; None: the length of a window.
            norm: Normalisation of the features; None: that of the model's training.
            device: Another device than that of `load`.

        Raises:
            UserError: No such file, no clip, a wrong manifest, or a normalisation that does not fit the model.
        """
        clips = clips_of(inputs)
        if device is not None and inference.device(device) != self._device:
            self.close()
            self._device = inference.device(device)
        found = self.each(clips, window=window, hop=hop, norm=norm)
        return next(found) if is_one_file(inputs) else Predictions(found, len(clips))

    def each(
        self,
        clips: pd.DataFrame,
        *,
        window: float | None = None,
        hop: float | None = None,
        norm: Normalisation | None = None,
    ) -> Iterator[Prediction]:
        """The predictions of the clips of a manifest; arguments as of `predict`.

        They are in the order of the clips, normalised by speaker one speaker after another.
        """
        check_window(window, hop)
        norm = check_normalisation(self.card, norm, name=self.name)
        return self._each(clips, window, hop or window, norm)

    def _each(
        self, clips: pd.DataFrame, window: float | None, hop: float | None, norm: Normalisation
    ) -> Iterator[Prediction]:
        for statistics, group in groups_of(self.model, self._extractor, clips, norm):
            for clip, found in zip(group.itertuples(), self._extractor.clips(group), strict=True):
                yield self._prediction(clip, found, window, hop, statistics)

    def pictures(self, prediction: Prediction, times: list[float], size: int) -> dict[float, np.ndarray]:
        """Some frames of a clip: time (s) -> (h, w, 3) uint8 RGB with a longest side of `size` px."""
        return self._extractor.pictures(prediction, times, size)

    def _prediction(
        self, clip: Any, found: Extracted, window: float | None, hop: float | None, statistics: Any
    ) -> Prediction:
        absent = absences(found)
        answer, status, reason = self._answer(found.arrays, statistics, absent)
        parts = []
        for start, end in windows.spans(found.arrays, window, hop) if window else ():
            rows = windows.between(found.arrays, start, end)
            part = self._answer(rows, statistics, _absences_of_part(rows, absent))
            parts.append(Window(start, end, *part))
        kept = {key: found.arrays[key] for key in (*TRACK, "spectrogram", "audio_time") if key in found.arrays}
        times = found.arrays.get("audio_time", np.zeros(0))
        seconds = float(times[-1] - times[0]) + self._config.spectrogram.window_ms / 1000 if len(times) else 0.0
        names = self.name, self.model.sha256
        framing = self._config.spectrogram
        facts = found.facts | {"highest_hz": framing.bins * framing.rate / framing.dft}
        return Prediction(clip.id, clip.path, self.labels, answer, status, reason, *names, kept, facts, parts, seconds)

    def _answer(
        self, arrays: Mapping[str, np.ndarray], statistics: Any, absent: dict[str, str]
    ) -> tuple["Answer | None", str, str]:
        """Answer, status and reason for the arrays of a clip or of a part of it."""
        usable = windows.usable(arrays)
        there = {modality for modality, clock in (("video", "time"), ("audio", "audio_time")) if clock in usable}
        if not there:
            # An unreadable file gives both the same reason.
            reason = "; ".join(dict.fromkeys(absent[modality] for modality in ("video", "audio")))
            return None, "failed" if absent["failed"] else "no_answer", reason
        try:
            answer = self.model.predict(usable, **({} if statistics is None else {"statistics": statistics}))
        except UserError as error:  # a part that is too short for the model's streams
            return None, "no_answer", str(error)
        reason = "; ".join(
            f"too little {modality}" if modality in there else absent[modality]
            for modality in ("video", "audio")
            if modality not in answer.used
        )
        return answer, "ok" if len(answer.used) == 2 else f"{answer.used[0]}_only", reason


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def extraction_of(settings: Mapping[str, Any]) -> Extraction:
    """The settings that a model's features were extracted with.

    Raises:
        UserError: They do not fit this version.
    """
    return from_json(
        Extraction, json.dumps({name: settings[name] for name in Extraction.model_fields if name in settings})
    )


def check_weights(known: Mapping[str, str], config: Extraction) -> None:
    """Check that the installed weights are those of a model's training.

    Args:
        known: Key of the store ("EF-A", "AF") -> `catalogue.fingerprint` of its network, SHA-256 of the audio encoder.
        config: The networks and the encoder.

    Raises:
        UserError: They differ.
    """
    for key, wanted in known.items():
        if key == ENCODER:
            found = file_sha256(encoder_path(config.audio_encoder.weights))
        else:
            found = catalogue.fingerprint(config.networks[key].network, config.networks[key].weights)
        if found != wanted:
            raise UserError(
                f"the model was trained with other weights of {key} ({wanted}) than the installed ones ({found}): "
                "install those weights, or train the model again"
            )


def absences(found: Extracted) -> dict[str, str]:
    """Why a clip may lack a modality: "video", "audio" -> reason; "failed" is "yes" if one of them cannot be read."""
    frames = len(found.arrays.get("time", ()))
    video = found.video_reason or (f"no face in {frames} frames" if frames else "the model takes no video")
    audio = found.audio_reason or "the model takes no audio"
    failed = "failed" in (found.video, found.audio)
    return {"video": video, "audio": audio, "failed": "yes" if failed else ""}


def _absences_of_part(rows: Mapping[str, np.ndarray], whole: dict[str, str]) -> dict[str, str]:
    frames = len(rows.get("time", ()))
    video = f"no face in {frames} frames" if frames else "no frame"
    return {
        "video": video if "time" in rows else whole["video"],
        "audio": "no audio" if "audio_time" in rows else whole["audio"],
        "failed": "",
    }


def check_window(window: float | None, hop: float | None) -> None:
    """Check the lengths of window and hop.

    Raises:
        UserError: One is not above 0, or there is a hop without a window.
    """
    if window is None and hop is not None:
        raise UserError("a hop needs a window: give its length in s, as --window 2 --hop 1")
    for name, value in (("window", window), ("hop", hop)):
        if value is not None and not 0 < value < np.inf:
            raise UserError(f"{name} {value:g}: it must be a duration above 0 s")


def load(
    model: str | Path | None = None, *, device: str = "auto", engine: Engine = "auto", threads: int | None = None
) -> Predictor:
    """Load a model with all that it needs, to predict any number of clips.

    Args:
        model: A folder written by `snakemake train_fbp`; None: the model of the package.
        device: auto, cpu, cuda, cuda:1 or mps, for the face networks.
        engine: Inference engine of the face networks.
        threads: CPU threads of the face networks; None: as many as there are cores.

    Raises:
        UserError: There is no such model, or something that it needs is missing.
    """
    from deepfusion.fusion.model import load_model

    found = load_model(None if model is None else Path(model))
    return Predictor(found, device=device, engine=engine, threads=threads)


def predict(
    inputs: Inputs,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    engine: Engine = "auto",
    window: float | None = None,
    hop: float | None = None,
    norm: Normalisation | None = None,
) -> Prediction | Predictions:
    """Predict the emotion of one clip or of many; see `Predictor.predict` for the inputs and the options.

    The model is loaded for this call: to predict more often, use `load` once.
    """
    predictor = load(model, device=device, engine=engine)
    try:
        found = predictor.predict(inputs, window=window, hop=hop, norm=norm)
    except BaseException:
        predictor.close()
        raise
    if isinstance(found, Prediction):
        predictor.close()
        return found
    return Predictions(_until_closed(predictor, found), len(found))


def _until_closed(predictor: Predictor, found: Predictions) -> Iterator[Prediction]:
    with predictor:
        yield from found
