"""SAVEE: acted emotion in English, 4 men."""

from pathlib import Path

import pandas as pd

from deepfusion.corpora.tree import matching, numbered

LABELS = ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]
CITATION = (
    "Haq, Jackson: Multimodal Emotion Recognition, in: Machine Audition: Principles, Algorithms and Systems, "
    "IGI Global, 2010"
)
LICENCE = "for research, on registration"
OWNER = "http://kahlan.eps.surrey.ac.uk/savee"
TREE = "AudioVisualClip/DC/a1.avi                a, d, f, h, n, sa, su; also a01.avi, and DC_a01.avi in one folder"

CODES = dict(zip(("a", "d", "f", "h", "n", "sa", "su"), LABELS, strict=True))
NAME = r"(DC|JE|JK|KL)[_/](a|d|f|h|n|sa|su)(\d{1,2})\.avi"
FOLDS = numbered([["JE"], ["KL"], ["DC"], ["JK"]])  # EmoBox's: leave one speaker out


def clips(root: Path) -> pd.DataFrame:
    """The clips in a folder, from their names. The faces are painted with blue markers."""
    rows = []
    for path, name in matching(root, NAME):
        speaker, code, number = name[1].upper(), name[2].lower(), int(name[3])
        row = {"id": f"{speaker}_{code}{number:02d}", "path": path, "label": CODES[code]}
        rows.append({**row, "speaker": f"savee_{speaker}", "fold": FOLDS[speaker]})
    return pd.DataFrame(rows)
