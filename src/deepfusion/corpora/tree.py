"""What adapters share: files by a pattern of their names, csv files of labels, numbered folds of speakers.

A row that has a text under `left_out` is no clip of the corpus: `corpora.load` lists it with that reason.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from deepfusion import csvfile
from deepfusion.corpora import folder
from deepfusion.errors import UserError

LFS = b"version https://git-lfs"  # what Git leaves where a large file was not downloaded


def matching(root: Path, pattern: str) -> Iterator[tuple[Path, re.Match]]:
    """The files below a folder whose relative path (folders parted by "/") ends in a pattern, sorted.

    Upper and lower case are one. Hidden files, among them the `._name` of macOS, are passed over.

    Raises:
        UserError: The first of them is what Git LFS leaves instead of a file.
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
    """The same files by their stems, for what is paired with a clip of the same name."""
    return {path.stem: path for path, _ in matching(root, pattern)}


def table(path: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a csv file with a header.

    Args:
        path: The file; UTF-8.
        *columns: Names that it must have, in lower case; names of the file are compared so, without blanks around them.

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
    """The first of several relative paths that is a folder; the corpora are handed out in several shapes.

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
    """`left_out` of a clip that a list names."""
    return "" if path.is_file() else "the list names it, and there is no such file"
