"""Helpers of the adapters: files by name pattern, csv files of labels, numbered folds of speakers.

A row with text in column `left_out` is left out of the corpus; `corpora.load` lists it with that reason.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from deepfusion import csvfile
from deepfusion.corpora import folder
from deepfusion.errors import UserError

LFS = b"version https://git-lfs"  # start of the pointer in place of a file that was not downloaded


def matching(root: Path, pattern: str) -> Iterator[tuple[Path, re.Match]]:
    """The files below a folder whose relative path (separated by "/") ends in a pattern, sorted.

    Case is ignored. Hidden files, such as `._name` of macOS, are skipped.

    Raises:
        UserError: The first of them is a Git LFS pointer.
    """
    ends = re.compile(rf"(?:.*/)?{pattern}", re.IGNORECASE)
    found = [(name, match) for name in sorted(folder.files(root)) if (match := ends.fullmatch(name))]
    if found:
        check_downloaded(root / found[0][0])
    for name, match in found:
        yield root / name, match


def check_downloaded(path: Path) -> None:
    """Refuse a Git LFS pointer.

    Raises:
        UserError: It is one.
    """
    with path.open("rb") as file:
        if file.read(len(LFS)) == LFS:
            raise UserError(f"{path} is a Git LFS pointer, not a media file: run `git lfs pull` in the corpus' folder")


def named(root: Path, pattern: str) -> dict[str, Path]:
    """The files of `matching` by stem, to pair them with clips of the same name."""
    return {path.stem: path for path, _ in matching(root, pattern)}


def table(path: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a csv file with a header.

    Args:
        path: The file; UTF-8.
        *columns: Required names, in lower case; the file's names are stripped and compared in lower case.

    Returns:
        Name in lower case -> cell, for each row.

    Raises:
        UserError: There is no such file, it is no csv, or lacks a column.
    """
    lines = csvfile.rows(path)
    _, header = next(lines, (1, []))
    header = [name.lower() for name in header]
    if missing := [name for name in columns if name not in header]:
        raise UserError(f"{path} has no column {missing[0]!r}; it has {', '.join(header)}")
    return [dict(zip(header, cells, strict=False)) for _, cells in lines]


def first_folder(root: Path, *names: str) -> Path:
    """The first of several relative paths that is a folder; corpora are distributed in several layouts.

    Raises:
        UserError: None is there.
    """
    for name in names:
        if (found := root / name).is_dir():
            return found
    raise UserError(f"{root} has none of the folders {', '.join(names)}")


def numbered(groups: Iterable[Iterable[str]]) -> dict[str, str]:
    """Speaker -> number of the published fold in which it is tested, from "1"."""
    return {speaker: str(i) for i, group in enumerate(groups, start=1) for speaker in group}


def unless_there(path: Path) -> str:
    """`left_out` of a listed clip: "" if its file exists."""
    return "" if path.is_file() else "listed, but the file is missing"
