"""DFEW: emotion in films; its clips with a single label."""

from pathlib import Path

import pandas as pd

from deepfusion.corpora.tree import first_folder, table, unless_there

LABELS = ["happy", "sad", "neutral", "angry", "surprise", "disgust", "fear"]  # 1 to 7
CITATION = (
    "Jiang, Zong, Zheng, Tang, Xia, Lu, Liu: DFEW: A Large-Scale Database for Recognizing Dynamic Facial Expressions "
    "in the Wild, ACM Multimedia 2020"
)
LICENCE = "for research, on a signed agreement"
OWNER = "https://dfew-dataset.github.io"
TREE = """EmoLabel_DataSplit/test(single-labeled)/set_1.csv   to set_5.csv
Clip/original/1.mp4"""


def clips(root: Path) -> pd.DataFrame:
    """The clips of the five published folds: set_k lists what fold k tests.

    No speaker is known, and the folds divide clips, not films: they take protocol.shared_speakers: declared.
    """
    folder = first_folder(root, "Clip/original", "original")
    rows = []
    for fold in range(1, 6):
        path = root / "EmoLabel_DataSplit" / "test(single-labeled)" / f"set_{fold}.csv"
        for line in table(path, "video_name", "label"):
            number = int(line["video_name"].removesuffix(".mp4"))
            clip = folder / f"{number}.mp4"
            row = {"id": f"{number:05d}", "path": clip, "label": LABELS[int(line["label"]) - 1]}
            rows.append({**row, "fold": str(fold), "left_out": unless_there(clip)})
    return pd.DataFrame(rows)
