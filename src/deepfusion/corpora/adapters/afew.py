"""AFEW: emotion in films, as EmotiW hands it out: Train_AFEW/Angry/000046280.avi, Val_AFEW/..., Test_AFEW/..."""

import logging
import re
from pathlib import Path

import pandas as pd

from deepfusion.errors import UserError

log = logging.getLogger(__name__)

LABELS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
CITATION = (
    "Dhall, Goecke, Lucey, Gedeon: Collecting Large, Richly Annotated Facial-Expression Databases from Movies, "
    "IEEE MultiMedia 19(3), 2012; Dhall, Kaur, Goecke, Gedeon: EmotiW 2018: Audio-Video, Student Engagement and "
    "Group-Level Affect Prediction, ICMI 2018"
)
LICENCE = "licensed, for research, on request to its authors; not to be passed on"

SPLIT = re.compile(r"(train|val|test)(_.*)?", re.IGNORECASE)  # Train_AFEW, Val, test, Test_vid_Distribute


def clips(root: Path) -> pd.DataFrame:
    """The clips in a folder, from the names of its folders.

    The labels of AFEW's test clips are not public. Test clips outside the folders of emotions are left out, with a
    warning: without a label a clip can be neither learned from nor tested on.

    Speaker is the split, "afew_train": AFEW does not say who is seen, and only its splits are known to share no film.

    Raises:
        UserError: A clip to train or to validate on lies in no folder of an emotion.
    """
    rows, unlabelled = [], []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and SPLIT.fullmatch(path.name)):
        split = folder.name.lower().partition("_")[0]
        for path in _videos(folder):
            label = path.parent.name.lower()
            if label in LABELS:
                # A file's name alone may be that of another film's clip.
                clip = f"{split}/{label}/{path.stem}"
                rows.append({"id": clip, "path": path, "label": label, "speaker": f"afew_{split}", "split": split})
            elif split == "test":
                unlabelled.append(path)
            else:
                emotions = ", ".join(name.capitalize() for name in LABELS)
                raise UserError(f"{path} is in no folder of an emotion ({emotions}): move it into one, or away")
    if unlabelled:
        log.warning(
            "%d test clips without a label are left out, %s the first: EmotiW keeps their labels; those that are known "
            "belong into folders of emotions",
            len(unlabelled),
            unlabelled[0],
        )
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
