"""The columns of a manifest: which there are, which names are refused, and what a cell may hold."""

import difflib
import math
import re

COLUMNS = ("id", "path", "label", "speaker", "split", "fold", "start", "end", "audio", "person")
# Columns of the store's table of clips that extraction fills: a manifest's own would collide with them there.
RESERVED = frozenset(
    (  # noqa: SIM905  one name a line would fill a page
        "sha256 audio_sha256 video_status video_reason audio_status audio_reason audio_note frames faces valid "
        "video_start video_duration audio_start audio_duration audio_rate width height rotation frame_rate"
    ).split()
)
PERSONS = ("largest", "left", "right", "left-half", "right-half")
INDEX = ("", "Unnamed: 0")  # what pandas writes above a table's index, and reads it as
MISTYPED = 0.75  # similarity from which an unknown name is taken for a mistyped one


def known_names(header: list[str]) -> list[str]:
    """The header with `COLUMNS` in lower case, however they are written; other names stay as they are."""
    return [name.lower() if name.lower() in COLUMNS else name for name in header]


def header_problems(header: list[str]) -> list[str]:
    """What is wrong with the names of the columns; a nameless first column may be an index and is passed over."""
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        return ["the cells are not parted by commas: save the file as csv with commas"]
    problems = [f"column {name!r} is there twice" for name in dict.fromkeys(header) if header.count(name) > 1]
    missing = [name for name in COLUMNS if name not in header]
    for place, name in enumerate(header):
        if name in COLUMNS or (place == 0 and name in INDEX):
            continue
        if problem := _name_problem(name):
            problems.append(problem)
        elif near := _mistyped(name, missing):
            # It could be a column of the user's own, but a mistyped 'start' that is ignored would go unseen.
            problems.append(f"column {name!r}: did you mean {near!r}? Rename it")
            missing.remove(near)
    if "path" in missing:
        problems.append(f"column 'path' is missing; there are {', '.join(header)}")
    return problems


def _name_problem(name: str) -> str:
    if not name:
        return "a column has no name"
    if fault := unfit(name):
        return f"column {name!r} {fault}: rename it"
    if "/" in name or name in (".", ".."):
        return f"column {name!r} cannot be kept in HDF5 under this name: rename it, without '/'"
    if name in RESERVED:
        return f"column {name!r} is one that the feature store writes itself: rename or remove it"
    return ""


def _mistyped(name: str, missing: list[str]) -> str:
    """The column that was probably meant, "" if none: the first letter is seldom wrong, nor more than one too many."""
    near = difflib.get_close_matches(name.lower(), missing, n=1, cutoff=MISTYPED)
    return near[0] if near and near[0][0] == name[0].lower() and abs(len(near[0]) - len(name)) <= 1 else ""


def unfit(text: str) -> str:
    """Why HDF5 text cannot hold it; "" if it can."""
    if "\0" in text:
        return "has a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"has half of a character, {text[error.start]!r}, as names that are not UTF-8 have"
    return ""


def file_of(text: str) -> str:
    r"""A path as it is understood: one with backslashes alone (clips\anna.mp4) is a Windows path.

    The files are not opened, so that the same manifest gives the same ids everywhere. A backslash that is part of a
    name is written ./an\na.mp4.
    """
    return text.replace("\\", "/") if "/" not in text else text


def file_problem(column: str, text: str, *, windows: bool) -> str:
    """What is wrong with a path as it is written, "" if nothing; `windows`: whether this system has drives."""
    if not windows and re.match(r"[A-Za-z]:[\\/]|\\\\", text):
        return (
            f"{column} {text!r} is on a Windows drive, which this system does not have: write it relative to the "
            "manifest's folder"
        )
    if file_of(text).rpartition("/")[2] in ("", ".", ".."):
        return f"{column} {text!r} names a folder: write the path of a media file"
    return ""


def person_problem(text: str) -> str:
    """What is wrong with a cell of the column `person`, "" if nothing."""
    if not text or text in PERSONS:
        return ""
    try:
        left, top, right, bottom = (float(number) for number in text.split())
    except ValueError:
        return (
            f"person {text!r}: write {', '.join(PERSONS)}, or a box 'left top right bottom' in px, such as "
            "'40 20 200 180'"
        )
    if not (-math.inf < left < right < math.inf and -math.inf < top < bottom < math.inf):
        return f"person {text!r}: the box has no area: write 'left top right bottom' in px, left < right, top < bottom"
    return ""


def person(text: str) -> str | tuple[float, float, float, float]:
    """Whom to follow: "" (the extraction's own rule), one of `PERSONS`, or a box (left, top, right, bottom) in px."""
    if not text or text in PERSONS:
        return text
    left, top, right, bottom = (float(number) for number in text.split())
    return left, top, right, bottom
