"""Java-SED: acted emotion in Javanese, 10 speakers x 4 sentences x 6 emotions."""

import re
from pathlib import Path

import pandas as pd

from deepfusion.corpora.tree import matching
from deepfusion.errors import UserError

LABELS = ["neutral", "sad", "happy", "surprise", "fear", "angry"]  # 01 to 06 in file names
CITATION = (
    "Arifin, Priambodo, Nasuha, Winursito, Gunawan: Development of Javanese Speech Emotion Database (Java-SED), 2022"
)
LICENCE = (
    "audio and face repositories MIT, video repository without licence; identifiable people: "
    "do not redistribute the clips"
)

OWNER = "its authors, in three public repositories (audio, faces, video)"
TREE = "01-01-01_01.mp4                          SPEAKER-SENTENCE-EMOTION_TAKE"

NAME = re.compile(r"(?P<speaker>\d\d)-\d\d-0(?P<emotion>[1-6])_\d\d")  # SPEAKER-SENTENCE-EMOTION_TAKE


def clips(root: Path) -> pd.DataFrame:
    """The clips in a folder, from their names; speaker 01 is "javsed_01"."""
    rows = []
    for path, _ in matching(root, r"[^/]*\.mp4"):
        if not (name := NAME.fullmatch(path.stem)):
            raise UserError(f"{path} is not named SPEAKER-SENTENCE-EMOTION_TAKE.mp4 as Java-SED's clips: move it away")
        label = LABELS[int(name["emotion"]) - 1]
        rows.append({"id": path.stem, "path": path, "label": label, "speaker": f"javsed_{name['speaker']}"})
    return pd.DataFrame(rows)
