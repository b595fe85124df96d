"""Rows of a csv file with their line numbers, for error messages."""

import csv
from collections.abc import Iterator
from pathlib import Path

from deepfusion.errors import UserError


def rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number from 1, stripped cells) of every row that is not blank.

    Raises:
        UserError: the file cannot be read, is not UTF-8, or has a quotation mark out of place.
    """
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield line, [cell.strip() for cell in cells]
                line = reader.line_num + 1  # a quoted cell may span lines
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: save it as 'CSV UTF-8'") from error
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: {error}: is a quotation mark unclosed?") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
