"""A folder of media files as a corpus: every file is a clip; subfolders may be classes."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from deepfusion.corpora.columns import unfit
from deepfusion.errors import UserError

log = logging.getLogger(__name__)

# Suffixes of containers and streams that FFmpeg reads; other files are skipped with a warning.
SUFFIXES = frozenset(
    (  # noqa: SIM905  one suffix per line would fill two pages
        ".264 .265 .3g2 .3gp .amv .asf .avi .divx .dv .f4v .flv .h264 .h265 .hevc .ivf .m1v .m2t .m2ts .m2v .m4v "
        ".mjpeg .mjpg .mkv .mod .mov .mp4 .mpe .mpeg .mpg .mpv .mts .mxf .nut .obu .ogm .ogv .qt .rm .rmvb .tod .ts "
        ".vob .webm .wmv .wtv .xvid .y4m "
        ".aac .ac3 .aif .aifc .aiff .amr .ape .au .awb .caf .dts .eac3 .flac .gsm .m4a .m4b .mka .mp2 .mp3 .mpc .nist "
        ".oga .ogg .opus .ra .snd .sph .spx .tak .tta .voc .w64 .wav .wave .wma .wv"
    ).split()
)


def clips(root: Path, *, classes: bool) -> pd.DataFrame:
    """Every media file below a folder, sorted by path; hidden files and folders are skipped.

    Args:
        root: The folder.
        classes: Whether the folders directly below it are the classes.

    Returns:
        id (relative path without suffix; with suffix where ids would clash), path (absolute), label ("" without
        classes).

    Raises:
        UserError: The folder cannot be read or holds no media file; a file lies in no class; a name is not UTF-8.
    """
    names: list[str] = []
    others: list[str] = []
    for name in files(root):
        (names if Path(name).suffix.lower() in SUFFIXES else others).append(name)
    names.sort(key=lambda name: name.split("/"))
    if others:
        log.warning(
            "%s: %d files are skipped, their suffix is not that of a media file; the first: %s",
            *(root, len(others), min(others)),
        )
    if not names:
        raise UserError(f"{root} holds no media file (.mp4, .mkv, .wav, ...; hidden files are ignored)")
    for name in names:
        if fault := unfit(name):
            raise UserError(f"{root}: the file name {name!r} {fault}: rename it")
    if classes and (loose := [name for name in names if "/" not in name]):
        raise UserError(
            f"{root / loose[0]} is in no class folder, which corpus.labels: folders requires "
            f"({len(loose)} such file{'s' * (len(loose) > 1)}): move it, or set labels: null"
        )
    return pd.DataFrame(
        {
            "id": _ids(names, root),
            "path": [str(root / name) for name in names],
            "label": [name.partition("/")[0] if classes else "" for name in names],
        }
    )


def files(root: Path) -> Iterator[str]:
    """Relative paths of all visible files. No folder is entered twice, so links cannot loop.

    Linked folders come last, so that a folder below the root is listed under its own name. Named pipes, sockets and
    devices are skipped with a warning; a link to nothing is listed, so that its file is reported as missing.
    """
    seen: set[tuple[int, int]] = set()
    folders, linked = [""], list[str]()
    while folders or linked:
        folder = folders.pop() if folders else linked.pop(0)
        try:
            where = (root / folder).stat()
            if (where.st_dev, where.st_ino) in seen:
                continue
            seen.add((where.st_dev, where.st_ino))
            with os.scandir(root / folder) as entries:
                found = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"{root / folder} cannot be read: {error.strerror}") from error
        for entry in found:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir():
                (linked if entry.is_symlink() else folders).append(name)
            elif entry.is_file() or not Path(entry.path).exists():
                yield name
            else:
                log.warning("%s is not a regular file: it is skipped", root / name)


def _ids(names: list[str], root: Path) -> list[str]:
    """The names without suffixes, except where ids would clash."""
    ids = [Path(name).with_suffix("").as_posix().strip() or name for name in names]
    kept = 0
    while twice := {id_ for id_, count in Counter(ids).items() if count > 1}:
        # A restored suffix may clash with another id, which then gets its suffix back as well.
        new = [name if id_ in twice else id_ for id_, name in zip(ids, names, strict=True)]
        if new == ids:
            break  # not reached: paths are unique
        ids, kept = new, kept + 1
    if kept:
        with_suffix = [name for id_, name in zip(ids, names, strict=True) if id_ == name]
        log.warning(
            "%s: %d files differ only in their suffix, so their ids keep it; the first: %s",
            *(root, len(with_suffix), with_suffix[0]),
        )
    return ids
