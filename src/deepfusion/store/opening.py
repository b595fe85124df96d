"""Open a shard or a store: check its version and that it refers to no other file, and explain failures."""

import os
from pathlib import Path

import h5py

from deepfusion.errors import UserError
from deepfusion.store.checksum import is_sealed
from deepfusion.store.faults import unreadable
from deepfusion.store.layout import VERSION

CACHE_BYTES = 1 << 20  # of chunks, for each dataset: neighbouring clips share one


def open_hdf5(path: str | os.PathLike) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises:
        UserError: There is no such file, or it is not an HDF5 file.
        DamagedError: It is truncated or damaged.
        MachineError: It is in use, or cannot be read for another reason.
    """
    try:
        return h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)
    except OSError as error:
        if "file signature not found" in str(error) and not (is_sealed(path) or not Path(path).stat().st_size):
            raise UserError(f"{path} is damaged or not an HDF5 file") from error
        raise unreadable(path, error) from error


def open_layout(path: str | os.PathLike, layout: str) -> h5py.File:
    """Open a shard or a store for reading.

    Args:
        path: The file.
        layout: `SHARD` or `STORE`.

    Raises:
        UserError: There is no such file, it is something else or of another version, or it refers to other files.
        DamagedError: It is damaged.
        MachineError: It is in use, or cannot be read for another reason.
    """
    file = open_hdf5(path)
    try:
        check_version(file, layout)
        check_self_contained(file)
    except (OSError, RuntimeError, KeyError) as error:
        file.close()
        raise unreadable(path, error, "its structure") from error
    except BaseException:
        file.close()
        raise
    return file


def check_version(file: h5py.File, layout: str) -> None:
    """Raise UserError unless the file has this layout in the supported version."""
    found, version = file.attrs.get("layout"), file.attrs.get("layout_version")
    if not isinstance(found, str) or found != layout:
        raise UserError(f"{file.filename} is not a {layout} but {found or 'some other HDF5 file'!r}")
    if str(version) != str(VERSION):
        raise UserError(
            f"{file.filename} has version {version} of the {layout} layout and this program reads version {VERSION}: "
            "extract it again, or use the version of the program that wrote it"
        )


def check_self_contained(file: h5py.File) -> None:
    """Refuse links, data in other files and types that a store does not need, before anything is read.

    Raises:
        UserError: The file has such an object; the line names it.
    """
    seen, groups = {file["/"]}, [file["/"]]
    while groups:
        group = groups.pop()
        for name in group:
            where = f"{file.filename}: {group.name.rstrip('/')}/{name}"
            kind = group.id.links.get_info(name.encode(errors="surrogateescape")).type
            if kind != h5py.h5l.TYPE_HARD:
                raise UserError(f"{where} is {LINKS.get(kind, 'a link')}; a store that refers elsewhere is not opened")
            thing = group[name]
            if isinstance(thing, h5py.Group):
                if thing in seen:
                    raise UserError(f"{where} is a second name of another group; such a file is not opened")
                seen.add(thing)
                groups.append(thing)
            elif not isinstance(thing, h5py.Dataset):
                raise UserError(f"{where} is neither a group nor a dataset; such a file is not opened")
            elif wrong := _foreign(thing):
                raise UserError(f"{where} {wrong}; such a file is not opened")


LINKS = {h5py.h5l.TYPE_EXTERNAL: "a link to another file", h5py.h5l.TYPE_SOFT: "a soft link"}


def _foreign(data: h5py.Dataset) -> str:
    """Why a dataset is not allowed in a store; "" if it is."""
    plan = data.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        return "is a virtual dataset: its data lie in other files"
    if plan.get_external_count():
        return "keeps its data in another file"
    try:
        dtype = data.dtype
    except TypeError:
        return "has an unknown type"
    if dtype.kind not in "fiubS":
        return f"has the type {dtype}, neither numbers nor text of fixed length"
    if data.size and not data.id.get_storage_size():
        return "has a shape but no data"
    return ""
