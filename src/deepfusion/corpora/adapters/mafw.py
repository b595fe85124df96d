"""MAFW: emotion in films, series and short videos; its clips with a single label."""

from pathlib import Path

import pandas as pd

from deepfusion.corpora.tree import unless_there
from deepfusion.errors import UserError

LABELS = [
    *("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    *("contempt", "anxiety", "helplessness", "disappointment"),
]
CITATION = (
    "Liu, Dai, Feng, Wang, Yin, Zeng, Shan: MAFW: A Large-scale, Multi-modal, Compound Affective Database for "
    "Dynamic Facial Expression Recognition in the Wild, ACM Multimedia 2022"
)
LICENCE = "not commercial, on request"
OWNER = "its owners, by e-mail"
TREE = """Train & Test Set/single/no_caption/set_1/test.txt   to set_5; a line is `00025.mp4 anger`
clips/00025.mp4"""


def clips(root: Path) -> pd.DataFrame:
    """The clips of the five published folds: set_k/test.txt lists what fold k tests.

    No speaker is known, and the folds divide clips, not films: they take protocol.shared_speakers: declared.

    Raises:
        UserError: A list is missing or holds something else.
    """
    rows = []
    for fold in range(1, 6):
        path = root / "Train & Test Set" / "single" / "no_caption" / f"set_{fold}" / "test.txt"
        if not path.is_file():
            raise UserError(f"{path}: there is no such file; it lists the clips that fold {fold} of MAFW tests")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            name, _, label = line.strip().partition(" ")
            if name and label not in LABELS:
                raise UserError(f"{path}, line {number}: {line.strip()!r} is no clip with one of MAFW's classes")
            if name:
                clip = root / "clips" / name
                row = {"id": clip.stem, "path": clip, "label": label, "fold": str(fold)}
                rows.append({**row, "left_out": unless_there(clip)})
    return pd.DataFrame(rows)
