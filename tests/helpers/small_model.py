"""The smallest model that `Predictor` can use: it answers from the audio encoder and one face network."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deepfusion.config import Extraction, NetworkSettings
from deepfusion.errors import UserError
from deepfusion.fusion.model import Answer, Attention
from deepfusion.prediction import run
from deepfusion.prediction.inputs import clips_of
from deepfusion.prediction.run import Options

SLOTS = {"EF-A": NetworkSettings(network="dlib-resnet29-fer2013")}
LABELS = ["angry", "happy", "sad"]


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


@dataclass
class SmallModel:
    """Softmax of three columns' means, attention by the first column."""

    needs: set = field(default_factory=lambda: {"EF-A", "landmarks", "spectrogram", "AF"})
    labels: list = field(default_factory=lambda: list(LABELS))
    sha256: str = "0" * 64
    folder: Path = Path("small")
    card: dict = field(default_factory=lambda: {"name": "small", "normalisation": "training", "caution": "A test."})
    asked: list = field(default_factory=list)

    @property
    def extraction(self):
        return Extraction(networks=SLOTS).model_dump(mode="json")

    def predict(self, clip, statistics=None):
        self.asked.append((set(clip), statistics))
        alone, attention = {}, {}
        if "time" in clip:
            rows = clip["EF-A"][clip["valid"]].astype(np.float64)
            alone["video"] = softmax(rows.mean(0)[:3])
            attention["video"] = Attention(softmax(rows[:, 0]), clip["time"][clip["valid"]])
        if "audio_time" in clip and len(clip["AF"]):
            rows = clip["AF"].astype(np.float64)
            alone["audio"] = softmax(rows.mean((0, 1))[:3])
            weight = softmax(rows.mean(2).ravel()).reshape(rows.shape[:2])
            attention["audio"] = Attention(weight, clip["AF_time"], np.linspace(200, 3800, rows.shape[1]))
        if not alone:
            raise UserError("nothing to predict from")
        return Answer(np.mean(list(alone.values()), 0), alone, attention, tuple(alone))

    def statistics(self, clips):
        return len([set(clip) for clip in clips])


def predict_all(predictor, inputs, out, *outputs, **options):
    """The exit status of `run.run`, and the lines that it printed."""
    printed = []
    status = run.run(predictor, clips_of(inputs), out, Options(outputs=outputs, **options), printed.append)
    return status, printed
