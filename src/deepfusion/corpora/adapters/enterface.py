"""eNTERFACE'05: acted emotion in English, 44 subjects."""

from pathlib import Path

import pandas as pd

from deepfusion.corpora.tree import matching, numbered

LABELS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise"]
CITATION = "Martin, Kotsia, Macq, Pitas: The eNTERFACE'05 Audio-Visual Emotion Database, ICDE Workshops, 2006"
LICENCE = "free for research"
OWNER = "https://enterface.net/enterface05"
TREE = "subject 1/anger/sentence 1/s1_an_1.avi"

# Of folders, not of file names: the files of subject 11 are called s12_..., and others are mistyped.
NAME = r"subject (\d+)/(anger|disgust|fear|happiness|sadness|surprise)/(?:sentence (\d)/)?([^/]+)\.avi"
# As MAE-DFER has them, without subject 6.
MAE_DFER = [(*range(1, 6), *range(7, 11)), range(11, 20), range(20, 29), range(29, 38), range(38, 45)]


def clips(root: Path) -> pd.DataFrame:
    """The clips in a folder, from the names of its folders. `fold`: five, of subjects."""
    fold = numbered([str(subject) for subject in group] for group in MAE_DFER)
    rows = []
    for path, name in matching(root, NAME):
        subject, emotion, sentence, stem = name.groups()
        subject, emotion, reason = str(int(subject)), emotion.lower(), ""
        if sentence is None:
            reason = (
                "all sentences of an emotion are in one file" if subject == "6" else "it is in no folder sentence N"
            )
        row = {"id": f"subject{subject}_{emotion[:2]}_{sentence or stem}", "path": path, "label": emotion}
        more = {"fold": fold.get(subject, ""), "sentence": sentence or "", "left_out": reason}
        rows.append({**row, "speaker": f"enterface_{subject}", **more})
    return pd.DataFrame(rows)
