"""MSP-IMPROV: improvised dialogues in English, 12 actors in 6 sessions; a clip shows one of them."""

import re
from pathlib import Path

import pandas as pd

from deepfusion.corpora.tree import matching
from deepfusion.errors import UserError

CLASSES = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}
LABELS = [*CLASSES.values()]
CITATION = (
    "Busso, Parthasarathy, Burmania, AbdelWahab, Sadoughi, Mower Provost: MSP-IMPROV: An Acted Corpus of Dyadic "
    "Interactions to Study Emotion Perception, IEEE Transactions on Affective Computing 8(1), 2017"
)
LICENCE = "for research, on request"
OWNER = "https://ecs.utdallas.edu/research/researchlabs/msp-lab"
TREE = """Evalution.txt                            or Evaluation.txt
session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.avi"""

NAME = r"(MSP-IMPROV-S(?:0[1-9]|1\d|20)[AHSN]-([MF])0([1-6])-[PRST]-[MF][MF]\d\d)\.avi"
LINE = re.compile(r"\s*UTD-(IMPROV-[\w-]+)\.avi;\s*([AHSNOX]);", re.IGNORECASE)
NOT_OURS = {"O": "its raters chose another emotion", "X": "its raters do not agree", "": "the list has no label of it"}


def clips(root: Path) -> pd.DataFrame:
    """The clips of the four classes. The letter in a clip's name is what the scene aimed at, not its label.

    `fold`: six, leave one session (F0k and M0k) out, as HiCMAE has them.

    Raises:
        UserError: The list of labels is missing.
    """
    lists = sorted(root.rglob("Eval*tion.txt"))
    if not lists:
        raise UserError(f"{root} has no Evaluation.txt (or Evalution.txt), in which the labels of MSP-IMPROV are")
    lines = lists[0].read_text(encoding="utf-8", errors="replace").splitlines()
    letters = {f"MSP-{found[1]}".upper(): found[2].upper() for line in lines if (found := LINE.match(line))}
    rows = []
    for path, name in matching(root, NAME):
        clip, sex, session = name[1].upper(), name[2].upper(), name[3]
        letter = letters.get(clip, "")
        row = {"id": clip, "path": path, "label": CLASSES.get(letter, ""), "speaker": f"mspimprov_{sex}0{session}"}
        rows.append({**row, "fold": session, "left_out": NOT_OURS.get(letter, "")})
    return pd.DataFrame(rows)
