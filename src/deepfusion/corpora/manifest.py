"""The manifest: which clips there are, as a csv file or as a table.

path,label,speaker            needed
id,split,start,end            optional
anything else                 kept as text, and carried to the store's table of clips
"""

import difflib
import hashlib
import itertools
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd

from deepfusion import csvfile
from deepfusion.atomic import write_atomically
from deepfusion.errors import UserError

NEEDED = ("path", "label", "speaker")
COLUMNS = ("id", "path", "label", "speaker", "split", "start", "end")
SHOWN = 20  # problems printed; all are counted


def read_manifest(
    path: str | os.PathLike, *, labels: list[str] | None, rows: tuple[int, int] | None = None
) -> pd.DataFrame:
    """Read and check a manifest, row by row.

    Text stays text (a speaker "01" is not 1), with blanks around it removed. Rows that are blank are passed over.

    Args:
        path: UTF-8 csv file with a header. Relative clip paths start at its folder.
        labels: The classes; any label goes if None.
        rows: First clip and the one after the last, from 0: only these are checked, and the file is read no further. A
            job needs its own block alone, of a manifest that was checked when it was resolved. All if None.

    Returns:
        A row a clip, index 0..n-1, in the order of the file. `COLUMNS` first: id (default: path without extension),
        path (absolute), label, speaker, split ("" if none), start and end (seconds, NaN if the file's); then others.

    Raises:
        UserError: All problems at once, each with the number of its line as an editor shows it.
    """
    path = Path(path)
    lines = csvfile.rows(path)
    header_line, header = next(lines, (1, []))
    problems = [(header_line, problem) for problem in _header_problems(header)]
    if problems:
        raise UserError(_report(path, problems))
    clips, line_of = [], {}
    first, last = rows or (0, None)
    passed = sum(1 for _ in itertools.islice(lines, first))
    for line, cells in itertools.islice(lines, last and last - first):
        if len(cells) != len(header):
            problems.append((line, f"{len(cells)} cells where the header has {len(header)}: quote a cell with commas"))
            continue
        row = dict(zip(header, cells, strict=True))
        row["id"] = row.get("id") or _default_id(Path(row["path"]))
        found = _row_problems(row, folder=path.parent, labels=labels)
        if row["path"] and row["id"] in line_of:
            found.append(
                f"id {row['id']!r} is in line {line_of[row['id']]} already: "
                "remove one, or give each its own in a column 'id'"
            )
        line_of.setdefault(row["id"], line)
        problems += [(line, problem) for problem in found]
        clips.append(row)
    if rows and not problems and len(clips) < last - first:
        raise UserError(f"rows {first}:{last} were asked for: {path} has {passed + len(clips)} rows")
    if not clips and not problems:
        problems.append((header_line, "no clips below the header"))
    if problems:
        raise UserError(_report(path, problems))
    return _table(clips, header, folder=path.parent)


def write_manifest(path: str | os.PathLike, clips: pd.DataFrame) -> None:
    """Write clips as a manifest that `read_manifest` reads back as they are.

    Paths below its folder or below the working folder are written relative to it, so that all can be moved together;
    others absolute.
    """
    path = Path(absolute(path))
    files = [absolute(file) for file in clips["path"]]
    near = [any(Path(file).is_relative_to(folder) for folder in (path.parent, Path.cwd())) for file in files]
    files = [os.path.relpath(file, path.parent) if with_it else file for file, with_it in zip(files, near, strict=True)]
    table = clips.assign(path=[Path(file).as_posix() for file in files])
    write_atomically(path, lambda part: table.to_csv(part, index=False, encoding="utf-8"))


def _default_id(path: Path) -> str:
    """The path without extension; of an absolute path the name alone: folders of a machine do not belong in a store."""
    return path.stem if path.is_absolute() else path.with_suffix("").as_posix()


def absolute(path: str | os.PathLike) -> str:
    """The absolute path, without following symbolic links (Path.resolve would: data sets are often linked)."""
    return os.path.abspath(path)  # noqa: PTH100


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _header_problems(header: list[str]) -> list[str]:
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        return ["the cells are not parted by commas: save the file as csv with commas"]
    problems = [f"column {name!r} is there twice" for name in dict.fromkeys(header) if header.count(name) > 1]
    missing = [name for name in COLUMNS if name not in header]
    for name in header:
        if name in COLUMNS:
            continue
        if not name:
            problems.append("a column has no name")
        elif near := difflib.get_close_matches(name.lower(), missing, n=1, cutoff=0.75):
            # It could be a column of the user's own, but a mistyped 'start' that is passed over would go unseen.
            problems.append(f"column {name!r}: did you mean {near[0]!r}? Rename it")
            missing.remove(near[0])
    problems += [f"column {name!r} is missing; there are {', '.join(header)}" for name in missing if name in NEEDED]
    return problems


def _row_problems(row: dict[str, str], *, folder: Path, labels: list[str] | None) -> list[str]:
    problems = [f"{name} is empty" for name in NEEDED if not row[name]]
    # Not pathlib, which is slower: there may be 100,000 clips.
    if row["path"] and not os.path.isfile(os.path.join(folder, row["path"])):  # noqa: PTH113, PTH118
        problems.append(f"no file {row['path']!r}; relative paths start at the manifest's folder")
    if row["label"] and labels is not None and row["label"] not in labels:
        near = difflib.get_close_matches(row["label"], labels, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the classes are {', '.join(labels)}"
        problems.append(f"unknown label {row['label']!r}; {hint}")
    times = {}
    for name in ("start", "end"):
        text = row.get(name, "")
        try:
            times[name] = float(text or "nan")
        except ValueError:
            times[name] = math.inf
        if text and not 0 <= times[name] < math.inf:
            problems.append(f"{name} {text!r} is not a number of seconds: write it like 12.5, or leave it empty")
            times[name] = math.nan
    start = 0.0 if math.isnan(times["start"]) else times["start"]
    if start >= times["end"]:
        problems.append(f"start {start:g} s is not before end {times['end']:g} s")
    return problems


def _table(clips: list[dict[str, str]], header: list[str], *, folder: Path) -> pd.DataFrame:
    others = [name for name in header if name not in COLUMNS]
    table = pd.DataFrame({name: [row.get(name, "") for row in clips] for name in (*COLUMNS, *others)})
    table["path"] = [absolute(os.path.join(folder, file)) for file in table["path"]]  # noqa: PTH118
    for name in ("start", "end"):
        table[name] = np.array([float(text or "nan") for text in table[name]])
    return table


def _report(path: Path, problems: list[tuple[int, str]]) -> str:
    lines = [f"  line {line}: {problem}" for line, problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  ... and {len(problems) - SHOWN} more")
    return "\n".join([f"{path} has {len(problems)} problem{'s' * (len(problems) > 1)}:", *lines])
