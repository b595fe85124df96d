"""IEMOCAP: acted dialogues in English, 10 actors in 5 sessions; a clip is a turn of a dialogue."""

import re
from pathlib import Path

import pandas as pd

from deepfusion.corpora.tree import matching, named

FOUR = {"neu": "neutral", "ang": "angry", "sad": "sad", "hap": "happy", "exc": "happy"}
SIX = {**FOUR, "exc": "excited", "fru": "frustrated"}
LABELS = {"four": [*dict.fromkeys(FOUR.values())], "six": [*dict.fromkeys(SIX.values())]}
CITATION = (
    "Busso, Bulut, Lee, Kazemzadeh, Mower, Kim, Chang, Lee, Narayanan: IEMOCAP: Interactive emotional dyadic motion "
    "capture database, Language Resources and Evaluation 42(4), 2008"
)
LICENCE = "for research, on a signed release form"
OWNER = "https://sail.usc.edu/iemocap"
TREE = """Session1/dialog/EmoEvaluation/Ses01F_impro01.txt
Session1/dialog/avi/DivX/Ses01F_impro01.avi
Session1/dialog/wav/Ses01F_impro01.wav   optional: taken instead of the audio in the avi"""
OPTIONS = {"classes": ("four", "six")}

DIALOGUE = r"Session[1-5]/dialog/EmoEvaluation/(Ses0([1-5])([MF])_\w+)\.txt"
TURN = re.compile(r"\[(\d+\.\d+) - (\d+\.\d+)\]\t(Ses0[1-5][MF]_\w+_([MF])[A-Z]{0,2}\d+)\t(\w+)\t")


def clips(root: Path, *, classes: str) -> pd.DataFrame:
    """The turns of the dialogues that have one of the classes. `fold`: five, leave one session out (EmoBox, MERBench).

    The picture shows both actors side by side. The one who wears the markers, whose letter is in the dialogue's name,
    sits on the left; so each turn says in which half its speaker is (column person). The audio has both voices.
    """
    names = FOUR if classes == "four" else SIX
    videos, audio = named(root, r"dialog/avi/DivX/\w+\.avi"), named(root, r"dialog/wav/\w+\.wav")
    rows = []
    for path, name in matching(root, DIALOGUE):
        dialogue, session, marked = name.groups()
        video = videos.get(dialogue)
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if not (found := TURN.match(line)):
                continue
            start, end, turn, who, emotion = found.groups()
            reason = "" if emotion in names else f"{emotion!r} is none of the {classes} classes"
            row = {"id": turn, "path": video or "", "audio": audio.get(dialogue, ""), "label": names.get(emotion, "")}
            row |= {"start": float(start), "end": float(end), "person": f"{'left' if who == marked else 'right'}-half"}
            more = {"fold": session, "left_out": reason if video else f"there is no {dialogue}.avi"}
            rows.append({**row, "speaker": f"iemocap_{session}{who}", **more})
    return pd.DataFrame(rows)
