"""Read FER2013 as Kaggle distributes it, csv or folder, or as an npz of lossless mosaics with FER+'s votes."""

import hashlib
import logging
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from deepfusion import csvfile
from deepfusion.errors import UserError
from deepfusion.fer2013.data import EMOTIONS, SIDE, USAGES, VOTES, Fer2013
from deepfusion.fer2013.duplicates import contradictory, groups

log = logging.getLogger(__name__)

SPLITS = {
    "train": "Training", "training": "Training",
    "val": "PublicTest", "valid": "PublicTest", "validation": "PublicTest", "publictest": "PublicTest",
    "test": "PrivateTest", "privatetest": "PrivateTest",
}  # fmt: skip
"""Usages by the folders' names in lower case."""
SYNONYMS = {
    "anger": "angry", "disgusted": "disgust", "fearful": "fear", "happiness": "happy", "sadness": "sad",
    "surprised": "surprise",
}  # fmt: skip
PREFIXES = {usage.lower(): usage for usage in USAGES}
PICTURES = (".jpg", ".jpeg", ".png")
NUMBERS = {str(value): value for value in range(256)}  # faster than int(), and nothing else passes
TILES = 60  # images per side of an npz mosaic


def read(path: Path, votes: Path | None = None) -> Fer2013:
    """Read FER2013 in the format found at `path`.

    - a csv with the columns emotion, pixels and Usage in any order, blanks around them removed: `fer2013.csv` or
      `icml_face_data.csv`. Other columns are not read.
    - a folder of train/<emotion>/*.jpg, or .png; validation and test likewise. File names that begin with Training_,
      PublicTest_ or PrivateTest_ decide the usage, else the folder does (validation is PublicTest, test PrivateTest).
      If there is no PublicTest image, about a tenth of Training becomes PublicTest, with a warning in the log.
    - an npz of lossless mosaics, which has votes and marks of ambiguous images.

    Args:
        path: The csv, folder or npz.
        votes: FER+'s `fer2013new.csv`, for a csv.

    Raises:
        UserError: The input is invalid; the message names the first problem.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder; expected fer2013.csv, its folder of images or npz")
    form = "folder" if path.is_dir() else path.suffix.lower()
    if form not in ("folder", ".csv", ".npz"):
        raise UserError(f"{path} is neither .csv, .npz nor a folder: unpack it if it is an archive")
    if votes is not None and form == "folder":
        raise UserError(f"{path}: FER+ votes are in the csv's order, which a folder has lost: give fer2013.csv instead")
    if votes is not None and form == ".npz":
        raise UserError(f"{path} has FER+ votes of its own: leave out {votes}")
    if form == "folder":
        return _folder(path)
    return _npz(path) if form == ".npz" else _csv(path, votes)


def _csv(path: Path, votes: Path | None) -> Fer2013:
    pixels, labels, usage = bytearray(), [], []
    classes = {str(i): i for i in range(len(EMOTIONS))}
    for line, (label, text, use) in _columns(path, ("emotion", "pixels", "Usage")):
        if label not in classes:
            raise UserError(f"{path}, line {line}: emotion {label!r} is not 0 to 6 ({', '.join(EMOTIONS)})")
        if use not in USAGES:
            raise UserError(f"{path}, line {line}: Usage {use!r} is none of {', '.join(USAGES)}")
        values = text.split()
        if len(values) != SIDE * SIDE:
            raise UserError(f"{path}, line {line}: {len(values)} pixels, wanted {SIDE * SIDE} ({SIDE}x{SIDE})")
        try:
            pixels += bytes(map(NUMBERS.__getitem__, values))
        except KeyError as error:
            place = values.index(error.args[0]) + 1
            raise UserError(
                f"{path}, line {line}: pixel {place} is {error.args[0]!r}, not a whole number from 0 to 255"
            ) from error
        labels.append(classes[label])
        usage.append(use)
    images = np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE)
    labels, usage = np.array(labels, np.int64), np.array(usage)
    counted = None if votes is None else _votes(votes, usage, path)
    return Fer2013(images, labels, usage, counted, contradictory(images, labels, usage))


def _votes(path: Path, usage: np.ndarray, images: Path) -> np.ndarray:
    """FER+'s votes, (N, 10) int64, for the images of these usages."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; expected FER+'s fer2013new.csv")
    found, votes = [], []
    for line, (use, *cells) in _columns(path, ("Usage", *VOTES)):
        for name, cell in zip(VOTES, cells, strict=True):
            if cell not in NUMBERS:
                raise UserError(f"{path}, line {line}: {name} is {cell!r}, not a number of votes")
        found.append(use)
        votes.append([NUMBERS[cell] for cell in cells])
    if len(votes) != len(usage):
        raise UserError(f"{path} has {len(votes)} rows, {images} has {len(usage)}: both must be whole, in one order")
    if (differ := np.flatnonzero(np.array(found) != usage)).size:
        row = differ[0]
        raise UserError(
            f"{path}: row {row + 1} is {found[row]!r}, in {images} it is {usage[row]!r}: both must be in one order"
        )
    return np.array(votes, np.int64)


def _columns(path: Path, wanted: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells of the wanted columns) of every row."""
    lines = csvfile.rows(path)
    _, header = next(lines, (1, []))
    if missing := [name for name in wanted if name not in header]:
        raise UserError(f"{path}: no column {', '.join(missing)}; there are: {', '.join(header) or 'none'}")
    places = [header.index(name) for name in wanted]
    line = None
    for line, cells in lines:
        if len(cells) != len(header):
            raise UserError(f"{path}, line {line}: {len(cells)} cells where the header has {len(header)}")
        yield line, [cells[place] for place in places]
    if line is None:
        raise UserError(f"{path} has no rows below its header")


def _folder(path: Path) -> Fer2013:
    images, labels, usage = [], [], []
    for split in _split_folders(path):
        for label, file in _images(split):
            images.append(_image(file))
            labels.append(label)
            # Kaggle's test folder holds both test sets; the names of its files tell them apart.
            usage.append(PREFIXES.get(file.name.partition("_")[0].lower(), SPLITS[split.name.lower()]))
    images, labels = np.stack(images), np.array(labels, np.int64)
    usage = np.array(usage, f"<U{max(map(len, USAGES))}")
    if "Training" not in usage:
        raise UserError(f"{path} has no training images: put them into a folder train")
    if "PublicTest" not in usage:
        usage[_tenth(images, labels, usage == "Training")] = "PublicTest"
        log.warning(
            "%s has no PublicTest images: %d of Training, about a tenth of each class, became PublicTest",
            path, (usage == "PublicTest").sum(),
        )  # fmt: skip
    return Fer2013(images, labels, usage, None, contradictory(images, labels, usage))


def _split_folders(path: Path) -> list[Path]:
    found = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    splits = [entry for entry in found if entry.is_dir() and entry.name.lower() in SPLITS]
    others = ", ".join(entry.name for entry in found if entry not in splits)
    if not splits:
        raise UserError(
            f"{path} has no folders train and test (a csv is given by its own name); there are: {others or 'none'}"
        )
    if others:
        log.warning("%s: not read, as neither train, validation nor test: %s", path, others)
    return splits


def _images(split: Path) -> list[tuple[int, Path]]:
    """Label and file of every image of one split, in order."""
    images, others = [], 0
    for entry in sorted(entry for entry in split.iterdir() if not entry.name.startswith(".")):
        name = SYNONYMS.get(entry.name.lower(), entry.name.lower())
        if name not in EMOTIONS or not entry.is_dir():
            raise UserError(f"{entry} is no folder of {', '.join(EMOTIONS)}: rename or remove it")
        files = sorted(file for file in entry.iterdir() if not file.name.startswith("."))
        chosen = [file for file in files if file.suffix.lower() in PICTURES]
        others += len(files) - len(chosen)
        images += [(EMOTIONS.index(name), file) for file in chosen]
    if others:
        log.warning("%s: files that are not read, neither .jpg, .jpeg nor .png: %d", split, others)
    there = {label for label, _ in images}
    if missing := [name for label, name in enumerate(EMOTIONS) if label not in there]:
        raise UserError(f"{split} has no images (jpg, jpeg, png) of {', '.join(missing)}: each needs its folder")
    return sorted(images)


def _image(path: Path) -> np.ndarray:
    """(48, 48) uint8 grey."""
    content = np.frombuffer(path.read_bytes(), np.uint8)
    image = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None  # OpenCV fails on empty input
    if image is None:
        raise UserError(f"{path} cannot be read as an image: fetch it again, or remove it")
    if image.shape != (SIDE, SIDE):
        height, width = image.shape
        raise UserError(f"{path} is {width}x{height}, not {SIDE}x{SIDE}: resize the images, or give fer2013.csv")
    return image


def _tenth(images: np.ndarray, labels: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Choose about a tenth of every class by the pixels' SHA-256, so that equal images stay together.

    Args:
        images: (N, 48, 48) uint8.
        labels: (N,) int64.
        among: (N,) bool, the images to choose from.

    Returns:
        (N,) bool.
    """
    group = groups(images)
    _, first, size = np.unique(group[among], return_index=True, return_counts=True)
    first = np.flatnonzero(among)[first]
    digest = np.array([hashlib.sha256(images[i].tobytes()).hexdigest() for i in first])
    chosen = []
    for label in range(len(EMOTIONS)):
        own = np.flatnonzero(labels[first] == label)  # equal images of several labels count for the first one's
        own = own[np.argsort(digest[own])]
        before = np.cumsum(size[own]) - size[own]
        # The last image of a class stays in Training.
        chosen.append(first[own[:-1][before[:-1] < size[own].sum() / 10]])
    return among & np.isin(group, group[np.concatenate(chosen)])


def _npz(path: Path) -> Fer2013:
    names = ("fer_label", "usage", "usage_names", "ferplus_votes", "label_ambiguous")
    try:
        with np.load(path, allow_pickle=False) as file:
            labels, code, usages, votes, marked = (file[name] for name in names)
            mosaics = [file[f"mosaic_{i:02d}_webp"] for i in range(-(-len(labels) // TILES**2))]
    except KeyError as error:
        raise UserError(f"{path} is not FER2013 as npz: it lacks {error.args[0].split()[0]}") from error
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be read as npz ({type(error).__name__}): fetch it again") from error
    lengths = {name: len(array) for name, array in zip(names, (labels, code, usages, votes, marked), strict=True)}
    del lengths["usage_names"]
    if not len(labels) or len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UserError(f"{path} is not FER2013 as npz: its arrays need one length above 0, and have {found}")
    if (wrong := np.flatnonzero((labels < 0) | (labels >= len(EMOTIONS)))).size:
        raise UserError(
            f"{path}: fer_label of row {wrong[0]} is {labels[wrong[0]]}, not 0 to 6 ({', '.join(EMOTIONS)})"
        )
    if code.max() >= len(usages) or set(usages) - set(USAGES):
        raise UserError(f"{path}: usage has other values than {', '.join(USAGES)}")
    images = np.concatenate([_tiles(mosaic, f"{path}, mosaic {i}") for i, mosaic in enumerate(mosaics)])[: len(labels)]
    labels, usage = labels.astype(np.int64), usages[code]
    ambiguous = marked | contradictory(images, labels, usage)
    return Fer2013(images, labels, usage, votes.astype(np.int64), ambiguous)


def _tiles(webp: np.ndarray, place: str) -> np.ndarray:
    """Cut a mosaic, the (bytes,) uint8 of a WebP, into its (3600, 48, 48) uint8 grey images, row by row."""
    # Its three channels are equal, so that OpenCV's grey is exact.
    mosaic = cv2.imdecode(webp, cv2.IMREAD_GRAYSCALE)
    if mosaic is None or mosaic.shape != (TILES * SIDE, TILES * SIDE):
        raise UserError(f"{place} cannot be read as a WebP of {TILES}x{TILES} images: fetch the file again")
    return mosaic.reshape(TILES, SIDE, TILES, SIDE).swapaxes(1, 2).reshape(-1, SIDE, SIDE)
