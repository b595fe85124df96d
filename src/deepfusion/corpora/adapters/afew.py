"""AFEW: emotion in films, as EmotiW hands it out: Train_AFEW/Angry/000046280.avi, Val_AFEW/..., Test_AFEW/..."""

import re
from pathlib import Path

import pandas as pd

from deepfusion.errors import UserError

LABELS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
CITATION = (
    "Dhall, Goecke, Lucey, Gedeon: Collecting Large, Richly Annotated Facial-Expression Databases from Movies, "
    "IEEE MultiMedia 19(3), 2012; Dhall, Kaur, Goecke, Gedeon: EmotiW 2018: Audio-Video, Student Engagement and "
    "Group-Level Affect Prediction, ICMI 2018"
)
LICENCE = "licensed, for research, on request to its authors; not to be passed on"
OWNER = "its authors, by the EmotiW challenge"
TREE = """Train_AFEW/Angry/000046280.avi           Angry, Disgust, Fear, Happy, Sad, Surprise, Neutral
Val_AFEW/Angry/...
Test_AFEW/...                            in folders of emotions if you have their labels"""
OPTIONS = {"unlabelled": ("leave_out", "keep")}

SPLIT = re.compile(r"(train|val|test)(_.*)?", re.IGNORECASE)  # Train_AFEW, Val, test, Test_vid_Distribute


def clips(root: Path, *, unlabelled: str) -> pd.DataFrame:
    """The clips in a folder, from the names of its folders.

    The labels of AFEW's test clips are not public. Test clips outside the folders of emotions are left out, or kept for
    features and predictions alone (split "unlabelled").

    Speaker is the split, "afew_train": AFEW does not say who is seen, and only its splits are known to share no film.

    Raises:
        UserError: A clip to train or to validate on lies in no folder of an emotion.
    """
    rows = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and SPLIT.fullmatch(path.name)):
        split = folder.name.lower().partition("_")[0]
        for path in _videos(folder):
            label = path.parent.name.lower()
            if label in LABELS:
                # A file's name alone may be that of another film's clip.
                clip = f"{split}/{label}/{path.stem}"
                row = {"id": clip, "path": path, "label": label, "speaker": f"afew_{split}"}
                rows.append({**row, "split": split, "left_out": ""})
            elif split == "test":
                reason = "EmotiW keeps its label; one that is known belongs into a folder of its emotion"
                row = {"id": f"test/{path.stem}", "path": path, "label": "", "speaker": "afew_test"}
                rows.append({**row, "split": "unlabelled", "left_out": reason if unlabelled == "leave_out" else ""})
            else:
                emotions = ", ".join(name.capitalize() for name in LABELS)
                raise UserError(f"{path} is in no folder of an emotion ({emotions}): move it into one, or away")
    return pd.DataFrame(rows)


def _videos(folder: Path) -> list[Path]:
    """The avi files in a split's folder and in those of its emotions; AlignedFaces_* hold no clips."""
    return [
        path
        for path in sorted([*folder.glob("*"), *folder.glob("*/*")])
        if path.suffix.lower() == ".avi"
        and not path.name.startswith(".")
        and not path.parent.name.startswith("AlignedFaces")
    ]
