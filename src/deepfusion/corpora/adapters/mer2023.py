"""MER2023: emotion in Chinese films and series, as the challenge hands it out."""

from pathlib import Path

import pandas as pd

from deepfusion.corpora.tree import matching, table

LABELS = ["neutral", "angry", "happy", "sad", "worried", "surprise"]
CITATION = (
    "Lian, Sun, Sun, Chen, Xu, Wang, Xu, He, Li, Zhao, Liu, Liu, Yi, Wang, Cambria, Zhao, Schuller, Tao: MER 2023: "
    "Multi-label Learning, Modality Robustness, and Semi-Supervised Learning, ACM Multimedia 2023"
)
LICENCE = "not commercial, on a signed agreement"
OWNER = "https://huggingface.co/datasets/MERChallenge/MER2023"
TREE = """train/sample_00000000.mp4 (or .avi), train-label.csv
test1/..., test1-label.csv               also test2, test3; without a list its clips have no label"""
OPTIONS = {"test": ("test1", "test2", "test3")}


def clips(root: Path, *, test: str) -> pd.DataFrame:
    """The clips of train and of one test set. No speaker is known; the published split is taken as it is."""
    rows = []
    for part in ("train", test):
        labels, listed = {}, root / f"{part}-label.csv"
        if listed.is_file() or part == "train":
            labels = {line["name"]: line["discrete"] for line in table(listed, "name", "discrete")}
        for path, name in matching(root, rf"{part}/(sample_\d{{8}})\.(?:mp4|avi)"):
            label, split = labels.get(name[1], ""), "train" if part == "train" else "test"
            reason = "its list has no label of it" if labels and not label else ""
            row = {"id": f"{part}/{name[1]}", "path": path, "label": label}
            rows.append({**row, "split": split if labels else "unlabelled", "left_out": reason})
    return pd.DataFrame(rows)
