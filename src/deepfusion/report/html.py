"""HTML pages from templates; values are escaped."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, Template

from deepfusion.atomic import write_atomically


@cache
def _compiled(template: str) -> Template:
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)


def render(template: str, **values: Any) -> str:
    """A template filled in."""
    return _compiled(template).render(**values)


def write_page(out: Path, template: str, **values: Any) -> None:
    """Write a template filled in, piece by piece: of a generator among the values, one element is in memory at a time.

    Raises:
        MachineError: The file cannot be written.
    """
    pieces = _compiled(template.lstrip()).stream(**values)

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8") as file:
            file.writelines(pieces)

    write_atomically(out, write)
