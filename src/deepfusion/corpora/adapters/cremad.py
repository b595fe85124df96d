"""CREMA-D: acted emotion in English, 91 actors."""

from pathlib import Path

import pandas as pd

from deepfusion.corpora.tree import matching, named, numbered, table
from deepfusion.errors import UserError

LABELS = ["anger", "disgust", "fear", "happy", "neutral", "sad"]
CITATION = (
    "Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset, "
    "IEEE Transactions on Affective Computing 5(4), 2014"
)
LICENCE = "ODbL 1.0, its contents DbCL 1.0"
OWNER = "https://github.com/CheyneyComputerScience/CREMA-D (open; `git lfs pull` for the clips)"
TREE = """VideoFlash/1001_IEO_ANG_HI.flv
AudioWAV/1001_IEO_ANG_HI.wav            optional: taken instead of the audio in the flv
processedResults/summaryTable.csv       for labels: perceived"""
OPTIONS = {"labels": ("intended", "perceived")}

NAME = (
    r"VideoFlash/(10[0-8]\d|109[01])_(IEO|TIE|IOM|IWW|TAI|MTI|IWL|ITH|DFA|ITS|TSI|WSI)"
    r"_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?)\.flv"
)
INTENDED = dict(zip(("ang", "dis", "fea", "hap", "neu", "sad"), LABELS, strict=True))
PERCEIVED = dict(zip("adfhns", LABELS, strict=True))
HICMAE = [range(1001, 1019), range(1019, 1037), range(1037, 1055), range(1055, 1073), range(1073, 1092)]
BROKEN = {
    "1076_MTI_SAD_XX": "its audio is missing from the corpus",
    **dict.fromkeys(
        ("1076_MTI_NEU_XX", "1064_TIE_SAD_XX", "1064_IEO_DIS_MD", "1040_ITH_SAD_XX"),
        "its media are faulty: the published lists (HiCMAE) leave it out",
    ),
}


def clips(root: Path, *, labels: str) -> pd.DataFrame:
    """The clips in a folder, from their names. `fold`: five, of actors, as HiCMAE has them.

    labels: "perceived" takes the class that most raters saw and heard (MultiModalVote); a tie has none.
    """
    votes = _votes(root) if labels == "perceived" else None
    fold = numbered([str(actor) for actor in group] for group in HICMAE)
    audio = named(root, r"AudioWAV/\d{4}_\w+\.wav")
    rows = []
    for path, name in matching(root, NAME):
        actor, sentence, emotion, level = name.groups()
        row = {"id": path.stem, "path": path, "audio": audio.get(path.stem, ""), "speaker": f"cremad_{actor}"}
        label, reason = INTENDED[emotion.lower()], BROKEN.get(path.stem.upper(), "")
        if votes is not None:
            vote = votes.get(path.stem, "")
            label = PERCEIVED.get(vote.lower(), "")
            reason = reason or ("" if label else "its raters do not agree" if vote else "summaryTable.csv lacks it")
        more = {"sentence": sentence.upper(), "intensity": level.upper().replace("XX", "X")}
        rows.append({**row, "label": label, "fold": fold[actor], **more, "left_out": reason})
    return pd.DataFrame(rows)


def _votes(root: Path) -> dict[str, str]:
    path = root / "processedResults" / "summaryTable.csv"
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; options: {{labels: perceived}} reads the classes there")
    return {row["filename"]: row["multimodalvote"] for row in table(path, "filename", "multimodalvote")}
