"""MELD: utterances of the television series Friends, in the published split, which shares speakers."""

from pathlib import Path
from typing import Any

import pandas as pd

from deepfusion.corpora.tree import check_downloaded, first_folder, table, unless_there

LABELS = ["neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"]
CITATION = (
    "Poria, Hazarika, Majumder, Naik, Cambria, Mihalcea: MELD: A Multimodal Multi-Party Dataset for Emotion "
    "Recognition in Conversations, ACL 2019"
)
LICENCE = "its repository GPL-3.0; the clips belong to the owners of the series"
OWNER = "https://github.com/declare-lab/MELD (MELD.Raw.tar.gz)"
TREE = """train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv
train/train_splits/dia0_utt0.mp4         also train_splits/
dev/dev_splits_complete/dia0_utt0.mp4    also dev_splits_complete/
test/output_repeated_splits_test/...     also output_repeated_splits_test/"""

FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
LONG = "its times are wrong: it is far longer than the utterance"
BROKEN = {
    "train/dia125_utt3": "its file cannot be read",
    "dev/dia110_utt7": "its file is missing from the corpus",
    **dict.fromkeys(("test/dia38_utt4", "test/dia220_utt0"), LONG),
    **dict.fromkeys(("train/dia309_utt0", "train/dia793_utt0", "train/dia485_utt0"), LONG),
}


def clips(root: Path) -> pd.DataFrame:
    """The utterances that the lists of the three parts name; files that no list names are passed over.

    Speakers are the names of roles, "All" and "Man" among them. 95.8 % of the test utterances are by a speaker of
    train: the split takes protocol.shared_speakers: declared.
    """
    rows: list[dict[str, Any]] = []
    for part, name in FOLDERS.items():
        folder = first_folder(root, f"{part}/{name}", name)
        utterances = table(root / f"{part}_sent_emo.csv", "speaker", "emotion", "dialogue_id", "utterance_id")
        for utterance in utterances:
            stem = f"dia{utterance['dialogue_id']}_utt{utterance['utterance_id']}"
            id_, path = f"{part}/{stem}", folder / f"{stem}.mp4"
            row = {"id": id_, "path": path, "label": utterance["emotion"], "split": part.replace("dev", "val")}
            reason = BROKEN.get(id_) or unless_there(path)
            rows.append({**row, "speaker": f"meld_{utterance['speaker']}", "left_out": reason})
    if there := next((row["path"] for row in rows if not row["left_out"]), None):
        check_downloaded(there)
    return pd.DataFrame(rows)
