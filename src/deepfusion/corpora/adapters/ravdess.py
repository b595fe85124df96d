"""RAVDESS: acted emotion in English, 24 actors; its clips with video and audio."""

from pathlib import Path

import pandas as pd

from deepfusion.corpora.tree import matching, numbered

LABELS = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"]  # 01 to 08 in file names
CITATION = (
    "Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS), "
    "PLoS ONE 13(5): e0196391, 2018"
)
LICENCE = "CC BY-NC-SA 4.0"
OWNER = "https://zenodo.org/records/1188976 (open download)"
TREE = "Video_Speech_Actor_01/Actor_01/01-01-03-02-01-02-01.mp4"
OPTIONS = {"folds": ("hicmae", "emobox"), "channel": ("speech", "song", "both")}

# MODALITY-CHANNEL-EMOTION-INTENSITY-STATEMENT-REPETITION-ACTOR. Modality 01 has video and audio; 02 (video) and 03
# (audio) are the same takes once more.
NAME = r"01-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])\.mp4"
CHANNELS = {"speech": ["01"], "song": ["02"], "both": ["01", "02"]}
HICMAE = [range(first, first + 4) for first in range(1, 25, 4)]
EMOBOX = [(1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22)]


def clips(root: Path, *, folds: str, channel: str) -> pd.DataFrame:
    """The clips in a folder, from their names. `fold`: six, of actors, as HiCMAE or EmoBox has them."""
    groups = HICMAE if folds == "hicmae" else EMOBOX
    fold = numbered([f"{actor:02d}" for actor in group] for group in groups)
    rows = []
    for path, name in matching(root, NAME):
        spoken, emotion, intensity, statement, _, actor = name.groups()
        if spoken in CHANNELS[channel]:
            row = {"id": path.stem, "path": path, "label": LABELS[int(emotion) - 1], "speaker": f"ravdess_{actor}"}
            rows.append({**row, "fold": fold[actor], "intensity": intensity, "statement": statement})
    return pd.DataFrame(rows)
