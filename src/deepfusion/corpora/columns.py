"""The columns of a manifest: names, reserved names, and valid cells."""

import difflib
import math
import re
import unicodedata

COLUMNS = ("id", "path", "label", "speaker", "split", "fold", "start", "end", "audio", "person")
NAMES = ("id", "label", "speaker", "split", "fold")  # what is compared as text, in Unicode's form NFC
# Columns that extraction adds to the store's table of clips: a manifest must not have them.
RESERVED = frozenset(
    (  # noqa: SIM905  one name per line would fill a page
        "sha256 audio_sha256 video_status video_reason audio_status audio_reason audio_note frames faces valid "
        "video_start video_duration audio_start audio_duration audio_rate width height rotation frame_rate"
    ).split()
)
PERSONS = ("largest", "left", "right", "left-half", "right-half")
INDEX = ("", "Unnamed: 0")  # header of an index as pandas writes it, and as it reads it back
MISTYPED = 0.75  # similarity above which an unknown name counts as a typo


def known_names(header: list[str]) -> list[str]:
    """The header with the names of `COLUMNS` in lower case; other names are unchanged."""
    return [name.lower() if name.lower() in COLUMNS else name for name in header]


def header_problems(header: list[str]) -> list[str]:
    """Problems with the column names; a first column without a name may be an index and is skipped."""
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        return ["the cells are not separated by commas: save the file as csv with commas"]
    problems = [f"column {name!r} occurs twice" for name in dict.fromkeys(header) if header.count(name) > 1]
    missing = [name for name in COLUMNS if name not in header]
    for place, name in enumerate(header):
        if name in COLUMNS or (place == 0 and name in INDEX):
            continue
        if problem := _name_problem(name):
            problems.append(problem)
        elif near := _mistyped(name, missing):
            # It may be the user's own column, but a mistyped 'start' must not be ignored silently.
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
        return f"column {name!r} is written by the feature store: rename or remove it"
    return ""


def _mistyped(name: str, missing: list[str]) -> str:
    """The column probably meant, "" if none: same first letter, lengths that differ by one at most."""
    near = difflib.get_close_matches(name.lower(), missing, n=1, cutoff=MISTYPED)
    return near[0] if near and near[0][0] == name[0].lower() and abs(len(near[0]) - len(name)) <= 1 else ""


def composed(text: str) -> str:
    """A name in Unicode's form NFC: a name that was typed on one system and listed by another is one name."""
    return unicodedata.normalize("NFC", text)


def unfit(text: str) -> str:
    """Why HDF5 cannot store this text; "" if it can."""
    if "\0" in text:
        return "has a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"has a lone surrogate, {text[error.start]!r}: it is not UTF-8"
    return ""


def file_of(text: str) -> str:
    r"""Convert a Windows path, which has backslashes only (clips\anna.mp4), to slashes.

    Files are not checked, so that a manifest gives the same ids on every machine. Write a backslash in a name as
    ./an\na.mp4.
    """
    return text.replace("\\", "/") if "/" not in text else text


def file_problem(column: str, text: str, *, windows: bool) -> str:
    """The problem of a path, "" if none; `windows`: whether this system has drive letters."""
    if not windows and re.match(r"[A-Za-z]:[\\/]|\\\\", text):
        return (
            f"{column} {text!r} is on a Windows drive, which this system does not have: write it relative to the "
            "manifest's folder"
        )
    if file_of(text).rpartition("/")[2] in ("", ".", ".."):
        return f"{column} {text!r} names a folder: write the path of a media file"
    return ""


def person_problem(text: str) -> str:
    """The problem of a cell of the column `person`, "" if none."""
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
