"""MEAD: acted emotion in English at three levels, 48 of its 60 actors published, each take filmed from seven sides."""

from pathlib import Path

import pandas as pd

from deepfusion.corpora.tree import matching

LABELS = ["angry", "contempt", "disgusted", "fear", "happy", "neutral", "sad", "surprised"]
CITATION = (
    "Wang, Wu, Song, Yang, Wu, Qian, He, Qiao, Loy: MEAD: A Large-scale Audio-visual Dataset for Emotional "
    "Talking-face Generation, ECCV 2020"
)
LICENCE = "for research, by its terms of use"
OWNER = "https://wywu.github.io/projects/MEAD"
TREE = """M003/video/front/angry/level_1/001.mp4   level_1 to level_3; neutral has level_1 alone
M003/audio/angry/level_1/001.m4a         the clips have no audio of their own"""
OPTIONS = {"view": ("front", "down", "top", "left_30", "left_60", "right_30", "right_60")}


def clips(root: Path, *, view: str) -> pd.DataFrame:
    """The clips of one view, from their names; all views of a take are one take.

    The published partition has every actor on both sides, so there is none here: protocol.folds kfold.
    """
    emotions = "|".join(LABELS)
    audio = {name.groups(): path for path, name in matching(root, _name("audio", emotions, "m4a"))}
    rows = []
    for path, name in matching(root, _name(f"video/{view}", emotions, "mp4")):
        actor, emotion, level, number = name.groups()
        wanted = audio.get(name.groups(), "")
        row = {"id": f"{actor}_{emotion}_{level}_{number}", "path": path, "audio": wanted, "label": emotion.lower()}
        more = {"intensity": level, "left_out": "" if wanted else "its audio file is missing"}
        rows.append({**row, "speaker": f"mead_{actor}", **more})
    return pd.DataFrame(rows)


def _name(kind: str, emotions: str, suffix: str) -> str:
    return rf"([MW]\d{{3}})/{kind}/({emotions})/level_([123])/(\d{{3}})\.{suffix}"
