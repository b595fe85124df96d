"""Feature stores in the formats of other tools, and features of other tools in feature stores."""

import importlib
import logging
import pkgutil
from collections.abc import Sequence
from pathlib import Path

from deepfusion.errors import UserError
from deepfusion.exchange import formats
from deepfusion.store import FeatureStore

log = logging.getLogger(__name__)


def known_formats() -> list[str]:
    """Formats of `export`: the names of the modules in `formats`."""
    return sorted(module.name for module in pkgutil.iter_modules(formats.__path__))


def export(path: Path, to: str, out: Path, *, keys: Sequence[str] | None = None) -> None:
    """Write a feature store in another format.

    Args:
        path: The store.
        to: One of `known_formats()`.
        out: Folder of the files; it may hold those of an earlier export, which are replaced.
        keys: Keys to write ("EF-A", "landmarks", ...); None: all that the format supports.

    Raises:
        UserError: No such format, no such key, `out` is a file, or a package is missing.
        MachineError: A file cannot be written.
    """
    if to not in known_formats():
        raise UserError(f"--to {to}: no such format; there are {', '.join(known_formats())}")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: give a folder")
    try:
        module = importlib.import_module(f"deepfusion.exchange.formats.{to}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("deepfusion"):
            raise
        raise UserError(
            f"--to {to} needs the package {error.name}: python -m pip install 'deepfusion[export]'"
        ) from error
    with FeatureStore(path) as store:
        if unknown := [key for key in keys or () if key not in store.keys]:
            raise UserError(f"{path} has no {unknown[0]!r}; it has {', '.join(store.keys)}")
        module.export(store, out, keys)
    log.info("%s: %s", out, to)
