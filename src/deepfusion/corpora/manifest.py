"""The manifest: the list of clips, as a csv file or a table.

path                                                needed
id,label,speaker,split,fold,start,end,audio,person  optional
anything else                                       kept as text and copied to the store's table of clips
"""

import csv
import difflib
import itertools
import math
import os
import re
import stat
import unicodedata
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from deepfusion import csvfile
from deepfusion.atomic import write_atomically
from deepfusion.corpora.columns import (
    COLUMNS,
    INDEX,
    NAMES,
    composed,
    file_of,
    file_problem,
    header_problems,
    known_names,
    person_problem,
    unfit,
)
from deepfusion.errors import UserError

SHOWN = 20  # problems printed; all are counted


def read_manifest(path: str | os.PathLike, *, labels: list[str] | None) -> pd.DataFrame:
    """Read and check a manifest, row by row. Whether the media files exist is not checked: see `missing_files`.

    Text stays text (a speaker "01" is not 1), with blanks around it removed. Names are in Unicode's form NFC
    (`columns.NAMES`). Blank rows are skipped.

    Args:
        path: UTF-8 csv file with a header. Relative paths of clips start at its folder.
        labels: The classes; None: any label is valid.

    Returns:
        One row per clip, index 0..n-1, in the order of the file. `COLUMNS` first: id (default: path without extension),
        path (absolute), label, speaker, split, fold ("" if none), start and end (seconds, NaN if the file's), audio
        (absolute path of the file with the audio, "" if it is `path`), person ("", or see `columns.person`); then
        the manifest's own columns.

    Raises:
        UserError: All problems at once, each with its line number.
    """
    path = Path(path)
    lines = csvfile.rows(path)
    header_line, header = next(lines, (1, []))
    header = known_names(header)
    problems = [(header_line, problem) for problem in header_problems(header)]
    if problems:
        raise UserError(report(path, problems))
    clips, line_of = [], dict[str, int]()
    indexed = header[0] in INDEX
    for place, (line, cells) in enumerate(lines):
        if len(cells) != len(header):
            problems.append((line, f"{len(cells)} cells where the header has {len(header)}: quote a cell with commas"))
            continue
        if indexed and cells[0] != str(place):
            problems.append(
                (line, f"the first column has no name, and {cells[0]!r} is no index (0, 1, 2, ...): name it")
            )
            indexed = False  # one line for the whole column
        row = {name: composed(cell) if name in NAMES else cell for name, cell in zip(header, cells, strict=True)}
        row["person"] = " ".join(row.get("person", "").lower().split())
        found = _row_problems(row, labels=labels)
        row["id"] = row.get("id") or composed(_default_id(file_of(row["path"])))
        if row["path"] and row["id"] in line_of:
            found.append(
                f"id {row['id']!r} is in line {line_of[row['id']]} already: "
                "remove one, or give each its own in a column 'id'"
            )
        line_of.setdefault(row["id"], line)
        problems += [(line, problem) for problem in found]
        clips.append(row)
    if not clips and not problems:
        problems.append((header_line, "no clips below the header"))
    if problems:
        raise UserError(report(path, problems))
    return _table(clips, header, folder=path.parent)


def write_manifest(path: str | os.PathLike, clips: pd.DataFrame) -> None:
    """Write clips as a manifest that `read_manifest` reads back unchanged.

    Paths below the manifest's folder or the working folder are relative to the former, so that all can be moved
    together; others are absolute.
    """
    write_atomically(Path(path), partial(Path.write_bytes, data=manifest_text(path, clips).encode()))


def manifest_text(path: str | os.PathLike, clips: pd.DataFrame) -> str:
    """What `write_manifest` writes."""
    path = Path(absolute(path))
    table = clips.assign(path=_written(clips["path"], path.parent))
    if "audio" in table:
        table["audio"] = _written(clips["audio"], path.parent)
    text = table.select_dtypes(exclude="number")
    # csv leaves a carriage return unquoted, and the reader would end the row there.
    returns = any(column.astype(str).str.contains("\r", regex=False).any() for _, column in text.items())
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    return table.to_csv(index=False, quoting=quoting, lineterminator="\n")


def missing_files(clips: pd.DataFrame, *, manifest: Path | None) -> list[str]:
    """The missing and unreadable files (columns path and audio), one line of text each.

    Args:
        clips: As `read_manifest` returns them.
        manifest: Source of the line numbers; None: lines name the clip.
    """
    faults = {file: _fault(file) for file in {*clips["path"], *clips["audio"]} - {""}}
    if not any(faults.values()):
        return []
    # Read the manifest again, for line numbers, only if files are missing.
    places = [f"line {line}" for line, _ in itertools.islice(csvfile.rows(manifest), 1, None)] if manifest else None
    return [
        f"{places[i] if places else f'clip {clip.id!r}'}: {_described(file, faults[file], manifest)}"
        for i, clip in enumerate(clips[["id", "path", "audio"]].itertuples(index=False))
        for file in (clip.path, clip.audio)
        if file and faults[file]
    ]


def _fault(file: str) -> Literal["", "missing", "unreadable"]:
    # Not pathlib, which is slower: there may be 100,000.
    try:
        is_file = stat.S_ISREG(os.stat(file).st_mode)  # noqa: PTH116
    except PermissionError:  # of a folder
        return "unreadable"
    except (OSError, ValueError):
        return "missing"
    if not is_file:
        return "missing"
    return "" if os.access(file, os.R_OK) else "unreadable"


def _described(file: str, fault: str, manifest: Path | None) -> str:
    if fault == "unreadable":
        return f"{file!r} cannot be read: permission denied"
    if manifest is None:
        return f"no file {file!r}"
    folder = Path(absolute(manifest)).parent
    shown = Path(file).relative_to(folder).as_posix() if Path(file).is_relative_to(folder) else file
    hint = "relative paths start at the manifest's folder"
    other_forms = (unicodedata.normalize(form, shown) for form in ("NFC", "NFD"))
    literal = shown.replace("/", "\\")
    if "/" in shown and os.path.isfile(folder / literal):  # noqa: PTH113  pathlib raises if the name is too long
        hint = f"a file of the name {literal!r} is written './{literal}' in a manifest"
    elif "\\" in shown:
        hint = "write '/' between folders"
    elif any(os.path.isfile(folder / other) for other in other_forms):  # noqa: PTH113
        hint = "its name on disk looks the same but has another Unicode form (NFC, NFD): copy it from a listing"
    return f"no file {shown!r}; {hint}"


def _written(files: pd.Series, folder: Path) -> list[str]:
    """Paths relative to a manifest in this folder; "" stays."""
    return [_relative(absolute(file), folder) if file else "" for file in files]


def _relative(file: str, folder: Path) -> str:
    if not any(Path(file).is_relative_to(near) for near in (folder, Path.cwd())):
        return Path(file).as_posix()
    text = Path(os.path.relpath(file, folder)).as_posix()
    # Would be misread: a Windows path, a drive letter, or leading blanks.
    strange = text != text.lstrip() or file_of(text) != text or re.match(r"[A-Za-z]:/", text)
    return f"./{text}" if strange else text


def _default_id(file: str) -> str:
    """The path without extension; only the name of an absolute path, as local folders do not belong in a store."""
    path = Path(file)
    if not path.name:
        return file  # no file name: `_row_problems` reports it
    id_ = path.stem if path.is_absolute() else path.with_suffix("").as_posix()
    return id_.strip() or path.name.strip()  # `read_manifest` strips all text


def absolute(path: str | os.PathLike) -> str:
    """The absolute path, without following symbolic links (Path.resolve would: data sets are often linked)."""
    return os.path.abspath(path)  # noqa: PTH100


def _row_problems(row: dict[str, str], *, labels: list[str] | None) -> list[str]:
    problems = [] if row["path"] else ["path is empty"]
    problems += [f"{name} {text!r} {fault}" for name, text in row.items() if (fault := unfit(text))]
    for column in ("path", "audio"):
        if (text := row.get(column, "")) and (problem := file_problem(column, text, windows=os.name == "nt")):
            problems.append(problem)
    if (label := row.get("label", "")) and labels is not None and label not in labels:
        near = difflib.get_close_matches(label, labels, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the classes are {', '.join(labels)}"
        problems.append(f"unknown label {label!r}; {hint}")
    if problem := person_problem(row["person"]):
        problems.append(problem)
    return problems + _segment_problems(row)


def _segment_problems(row: dict[str, str]) -> list[str]:
    problems, times = [], {}
    for name in ("start", "end"):
        text = row.get(name, "")
        times[name] = _seconds(text)
        if text and not 0 <= times[name] < math.inf:
            problems.append(f"{name} {text!r} is not a number of seconds: write it like 12.5, or leave it empty")
            times[name] = math.nan
    start = 0.0 if math.isnan(times["start"]) else times["start"]
    if start >= times["end"]:
        problems.append(f"start {start:g} s is not before end {times['end']:g} s")
    return problems


def _seconds(text: str) -> float:
    """NaN if empty, infinity if not a number; 1_000 is refused, though Python reads it."""
    try:
        return math.inf if "_" in text else float(text or "nan")
    except ValueError:
        return math.inf


def _table(clips: list[dict[str, str]], header: list[str], *, folder: Path) -> pd.DataFrame:
    others = [name for name in header if name not in COLUMNS and not (name == header[0] and name in INDEX)]
    table = pd.DataFrame({name: [row.get(name, "") for row in clips] for name in (*COLUMNS, *others)})
    for name in ("path", "audio"):
        table[name] = [absolute(os.path.join(folder, file_of(file))) if file else "" for file in table[name]]  # noqa: PTH118
    for name in ("start", "end"):
        table[name] = np.array([_seconds(text) for text in table[name]])
    return table


def report(path: Path, problems: list[tuple[int, str]]) -> str:
    """All problems of a manifest as text, each with the number of its line."""
    return listed(f"{path} has", [f"line {line}: {problem}" for line, problem in problems])


def listed(head: str, problems: list[str]) -> str:
    """`head` and the number of problems, then one line each, `SHOWN` at most."""
    lines = [f"  {problem}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  ... and {len(problems) - SHOWN} more")
    return "\n".join([f"{head} {len(problems)} problem{'s' * (len(problems) > 1)}:", *lines])
