"""FER2013 from each of its forms, and what is said of a bad one."""

import logging

import cv2
import numpy as np
import pytest
from paths import DATA

from deepfusion.errors import UserError
from deepfusion.fer2013.data import EMOTIONS, USAGES, VOTES
from deepfusion.fer2013.duplicates import across, clean, groups
from deepfusion.fer2013.read import read

REAL = DATA / "fer2013" / "fer2013_ferplus_lossless.npz"
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (9, 48, 48), dtype=np.uint8)
IMAGES[0, 0, :4] = 0, 255, 9, 10
LABELS = [0, 1, 2, 3, 4, 5, 6, 3, 3]
USAGE = ["Training"] * 7 + ["PublicTest", "PrivateTest"]
COUNTED = RNG.integers(0, 11, (9, 10))


def text(image):
    return " ".join(map(str, image.ravel()))


def fer_csv(path, images=IMAGES, labels=LABELS, usage=USAGE):
    rows = [f"{y},{text(image)},{use}\n" for image, y, use in zip(images, labels, usage, strict=True)]
    path.write_text("emotion,pixels,Usage\n" + "".join(rows))
    return path


def votes_csv(path, usage=USAGE, header=VOTES):
    rows = [f"{use},fer{i:07d}.png,{','.join(map(str, COUNTED[i]))}\n" for i, use in enumerate(usage)]
    path.write_text(f"Usage,Image name,{','.join(header)}\n" + "".join(rows))
    return path


def said(path, votes=None):
    """The one line said about it."""
    with pytest.raises(UserError) as error:
        read(path, votes)
    assert "\n" not in str(error.value)
    return str(error.value)


def same(data, images=IMAGES, labels=LABELS, usage=USAGE):
    np.testing.assert_array_equal(data.images, images)
    np.testing.assert_array_equal(data.labels, labels)
    np.testing.assert_array_equal(data.usage, usage)
    assert data.images.dtype == np.uint8 and data.labels.dtype == np.int64 and data.ambiguous.dtype == bool


def test_fer2013_csv(tmp_path):
    data = read(fer_csv(tmp_path / "fer2013.csv"))
    same(data)
    assert data.votes is None and not data.ambiguous.any()


def test_icml_face_data_csv(tmp_path):
    rows = [f"{y}, {use}, {text(x)}\r\n" for x, y, use in zip(IMAGES, LABELS, USAGE, strict=True)]
    path = tmp_path / "icml_face_data.csv"
    path.write_bytes("emotion, Usage, pixels\r\n\r\n".encode("utf-8-sig") + "".join(rows).encode())
    same(read(path))


def test_equal_images_of_two_labels_are_ambiguous(tmp_path):
    images = IMAGES[[0, 1, 2, 3, 1, 5, 6, 0, 8]]
    data = read(fer_csv(tmp_path / "fer2013.csv", images))
    assert np.flatnonzero(data.ambiguous).tolist() == [1, 4]


def test_votes_follow_the_csv(tmp_path):
    data = read(fer_csv(tmp_path / "fer2013.csv"), votes_csv(tmp_path / "fer2013new.csv"))
    np.testing.assert_array_equal(data.votes, COUNTED)
    assert data.votes.dtype == np.int64


def test_votes_are_found_by_their_columns(tmp_path):
    data = read(fer_csv(tmp_path / "fer2013.csv"), votes_csv(tmp_path / "fer2013new.csv", header=VOTES[::-1]))
    np.testing.assert_array_equal(data.votes, COUNTED[:, ::-1])


def test_split(tmp_path):
    data = read(fer_csv(tmp_path / "fer2013.csv"), votes_csv(tmp_path / "fer2013new.csv"))
    part = data.split("PublicTest")
    same(part, IMAGES[7:8], [3], ["PublicTest"])
    np.testing.assert_array_equal(part.votes, COUNTED[7:8])
    with pytest.raises(ValueError, match="'test' is none of Training"):
        data.split("test")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda s: s.replace("Usage", "usage", 1), "no column Usage; there are: emotion, pixels, usage"),
        (lambda s: s.replace("emotion,pixels", "label,images", 1), "no column emotion, pixels; there are: label,"),
        (lambda s: "", "no column emotion, pixels, Usage; there are: none"),
        (lambda s: s.partition("\n")[0] + "\n\n", "has no rows below its header"),
        (lambda s: s.replace("\n1,", "\n7,", 1), "line 3: emotion '7' is not 0 to 6 (angry, disgust,"),
        (lambda s: s.replace("\n1,", "\n-1,", 1), "line 3: emotion '-1' is not"),
        (lambda s: s.replace("\n1,", "\nsad,", 1), "line 3: emotion 'sad' is not"),
        (lambda s: s.replace("PublicTest", "Test", 1), "line 9: Usage 'Test' is none of Training, PublicTest"),
        (lambda s: s.replace("0,0 255 9", "0,0 255", 1), "line 2: 2303 pixels, wanted 2304 (48x48)"),
        (lambda s: s.replace("\n", "\n\n", 1).replace("0,0 255 9", "0,", 1), "line 3: 2301 pixels"),
        (lambda s: s.replace("0,0 255 9 ", "0,0 255 9x ", 1), "line 2: pixel 3 is '9x', not a whole number from 0"),
        (lambda s: s.replace("0,0 255 ", "0,0 256 ", 1), "line 2: pixel 2 is '256', not a whole number from 0 to 255"),
        (lambda s: s.replace("0,0 255 ", "0,-1 255 ", 1), "line 2: pixel 1 is '-1'"),
        (lambda s: s.replace("0,0 255 9 ", "0,0 255 9.5 ", 1), "line 2: pixel 3 is '9.5'"),
        (
            lambda s: s.replace("\n0,0 255", '\n0,"0\n255', 1).replace(",Tr", '",Tr', 1).replace("\n1,", "\n9,"),
            "line 4: emo",
        ),
        (lambda s: s.replace(",PublicTest", "", 1), "line 9: 2 cells where the header has 3"),
        (lambda s: s.replace("\n1,", '\n"1,', 1), "line 3: "),
        (lambda s: s.replace("emotion", "émotion", 1), "not UTF-8"),
    ],
)
def test_bad_csv(tmp_path, change, wanted):
    path = fer_csv(tmp_path / "fer2013.csv")
    path.write_bytes(change(path.read_text()).encode("latin-1"))
    line = said(path)
    assert line.startswith(str(path)) and wanted in line


def test_bad_votes(tmp_path):
    images, votes = fer_csv(tmp_path / "fer2013.csv"), tmp_path / "fer2013new.csv"
    assert "fer2013new.csv: there is no such file" in said(images, votes)
    assert f"has 8 rows, {images} has 9" in said(images, votes_csv(votes, USAGE[:8]))
    swapped = [*USAGE[:7], "PrivateTest", "PublicTest"]
    assert "row 8 is 'PrivateTest'" in said(images, votes_csv(votes, swapped))
    assert "no column happiness" in said(images, votes_csv(votes, header=("neutral", "happy", *VOTES[2:])))
    votes.write_text(votes_csv(votes).read_text().replace("fer0000002.png,", "fer0000002.png,x", 1))
    assert "line 4: neutral is 'x" in said(images, votes)


def test_no_such_path_and_other_kinds(tmp_path):
    assert "nothing.csv: there is no such file or folder" in said(tmp_path / "nothing.csv")
    (tmp_path / "fer2013.tar.gz").touch()
    assert "unpack it" in said(tmp_path / "fer2013.tar.gz")


def put(folder, name, image):
    folder.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(folder / name), image)


@pytest.fixture
def tree(tmp_path):
    """Kaggle's folder: 7 pictures to train on, 7 + 7 in one folder test; as png to come back exactly."""
    for label, emotion in enumerate(EMOTIONS):
        put(tmp_path / "train" / emotion, f"Training_{label}.png", IMAGES[label])
        put(tmp_path / "test" / emotion, f"PublicTest_{label}.png", IMAGES[label] // 2)
        put(tmp_path / "test" / emotion, f"PrivateTest_{label}.png", IMAGES[label] // 3)
    return tmp_path


def test_kaggles_folder(tree):
    data = read(tree)
    assert len(data.labels) == 21
    for usage, part in (("Training", IMAGES[:7]), ("PublicTest", IMAGES[:7] // 2), ("PrivateTest", IMAGES[:7] // 3)):
        same(data.split(usage), part, range(7), [usage] * 7)


def test_jpeg_in_colour_is_read_as_grey(tree):
    flat = np.full((48, 48, 3), 128, np.uint8)
    put(tree / "train" / "angry", "Training_8.JPG", flat)
    data = read(tree)
    assert len(data.labels) == 22 and (data.images == 128).all((1, 2)).sum() == 1


@pytest.mark.parametrize(
    ("train", "public", "private"),
    [("train", "val", "test"), ("Training", "PublicTest", "PrivateTest"), ("TRAIN", "Validation", "privatetest")],
)
def test_folder_names_decide_without_prefixes(tmp_path, caplog, train, public, private):
    names = ["Anger", "DISGUSTED", "fearful", "happiness", "Sadness", "Surprised", "Neutral"]
    for label, name in enumerate(names):
        for i, split in enumerate((train, public, private), start=1):
            put(tmp_path / split / name, "7.png", IMAGES[label] // i)
    data = read(tmp_path)
    for i, usage in enumerate(USAGES, start=1):
        same(data.split(usage), IMAGES[:7] // i, range(7), [usage] * 7)
    assert not caplog.records


def test_a_tenth_of_training_becomes_public_test(tmp_path, caplog):
    images = np.random.default_rng(1).integers(0, 256, (7, 40, 48, 48), dtype=np.uint8)
    images[:, 30:] = images[:, :10]  # repeats
    images[1, 5] = images[0, 5]  # one image, two labels
    for label, emotion in enumerate(EMOTIONS):
        for i, image in enumerate(images[label]):
            put(tmp_path / "train" / emotion, f"{i}.png", image)
        put(tmp_path / "test" / emotion, "a.png", 255 - images[label, 0])
    with caplog.at_level(logging.WARNING):
        data = read(tmp_path)
    public, train = data.split("PublicTest"), data.split("Training")
    counts = np.bincount(public.labels, minlength=7)
    assert counts.min() >= 3 and counts.max() <= 7  # whole groups of equal images
    assert len(train.labels) + len(public.labels) == 280 and len(data.split("PrivateTest").labels) == 7
    assert public.images[:, 0, 0].max() > 128  # not the darkest, which come first in the order of the pixels
    shared = across(data)["shared"]
    assert shared["PublicTest in Training"] == shared["Training in PublicTest"] == 0
    [record] = caplog.records
    assert f"no PublicTest images: {len(public.labels)} of Training" in record.getMessage()

    for file in (tmp_path / "train").rglob("*.png"):  # other names, other order: the same choice
        file.rename(file.with_name(f"{99 - int(file.stem)}-x.png"))
    again = read(tmp_path).split("PublicTest")
    assert {x.tobytes() for x in again.images} == {x.tobytes() for x in public.images}


def test_what_is_not_read_is_told(tree, caplog):
    (tree / "readme.txt").touch()
    (tree / ".hidden").touch()
    (tree / "train" / "sad" / "Thumbs.db").touch()
    assert len(read(tree).labels) == 21
    told = " ".join(record.getMessage() for record in caplog.records)
    assert "readme.txt" in told and "neither .jpg, .jpeg nor .png: 1" in told and "hidden" not in told


def test_bad_folders(tree):
    votes = tree.parent / "fer2013new.csv"
    assert "which a folder has lost" in said(tree, votes)
    assert "no folders train and test" in said(tree / "train")
    (tree / "test" / "contempt").mkdir()
    assert "contempt is no folder of angry" in said(tree)
    (tree / "test" / "contempt").rmdir()
    (tree / "test" / "fear" / "PublicTest_2.png").unlink()
    (tree / "test" / "fear" / "PrivateTest_2.png").unlink()
    (tree / "test" / "sad").rename(tree / "sad")
    assert "test has no images (jpg, jpeg, png) of fear, sad" in said(tree)


def test_no_training_pictures(tree):
    for file in (tree / "train").rglob("*.png"):
        file.rename(file.with_name(f"PrivateTest_{file.name}"))
    assert "no training images" in said(tree)


def test_empty_folder(tmp_path):
    assert "no folders train and test" in said(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no picture", cv2.imencode(".png", IMAGES[0])[1].tobytes()[:900]])
def test_unreadable_picture(tree, content):
    path = tree / "train" / "happy" / "Training_3.png"
    path.write_bytes(content)
    assert f"{path} cannot be read as an image" in said(tree)


def test_picture_of_another_size(tree):
    put(tree / "train" / "happy", "Training_3.png", np.zeros((40, 64), np.uint8))
    line = said(tree)
    assert "Training_3.png is 64x40, not 48x48" in line and "resize" in line


def arrays(**changes):
    """What an npz of the 9 images holds: one mosaic of 60x60 tiles, most of them black."""
    tiles = np.zeros((3600, 48, 48), np.uint8)
    tiles[:9] = IMAGES
    mosaic = tiles.reshape(60, 60, 48, 48).swapaxes(1, 2).reshape(2880, 2880)
    webp = cv2.imencode(".webp", cv2.merge([mosaic] * 3), [cv2.IMWRITE_WEBP_QUALITY, 101])[1]  # above 100: lossless
    content = {
        "mosaic_00_webp": webp,
        "fer_label": np.array(LABELS, np.int8),
        "usage": np.array([USAGES.index(usage) for usage in USAGE], np.uint8),
        "usage_names": np.array(USAGES),
        "ferplus_votes": COUNTED.astype(np.uint8),
        "label_ambiguous": np.arange(9) == 4,
    } | changes
    return {name: array for name, array in content.items() if array is not None}


def test_npz(tmp_path):
    np.savez(tmp_path / "fer.npz", **arrays())
    data = read(tmp_path / "fer.npz")
    same(data)
    np.testing.assert_array_equal(data.votes, COUNTED)
    assert data.votes.dtype == np.int64 and np.flatnonzero(data.ambiguous).tolist() == [4]
    assert "votes of its own" in said(tmp_path / "fer.npz", tmp_path / "fer2013new.csv")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"ferplus_votes": None}, "it lacks ferplus_votes"),
        ({"mosaic_00_webp": None}, "it lacks mosaic_00_webp"),
        ({"mosaic_00_webp": np.zeros(50, np.uint8)}, "mosaic 0 cannot be read"),
        ({"mosaic_00_webp": cv2.imencode(".webp", IMAGES[0])[1]}, "mosaic 0 cannot be read as a WebP of 60x60"),
        ({"fer_label": np.array([0] * 8, np.int8)}, "fer_label 8, usage 9"),
        ({"fer_label": np.array([7] * 9, np.int8)}, "fer_label of row 0 is 7, not 0 to 6"),
        ({"usage": np.array([3] * 9, np.uint8)}, "usage has other values"),
        ({"usage_names": np.array(["Training", "a", "b"])}, "usage has other values"),
    ],
)
def test_bad_npz(tmp_path, changes, wanted):
    np.savez(tmp_path / "fer.npz", **arrays(**changes))
    line = said(tmp_path / "fer.npz")
    assert line.startswith(str(tmp_path / "fer.npz")) and wanted in line


def test_empty_npz(tmp_path):
    names = ("fer_label", "usage", "ferplus_votes", "label_ambiguous")
    np.savez(tmp_path / "fer.npz", **arrays(**{name: arrays()[name][:0] for name in names}))
    assert "length above 0" in said(tmp_path / "fer.npz")


@pytest.mark.parametrize("content", [b"", b"no npz", b"PK\x03\x04 cut off"])
def test_no_npz(tmp_path, content):
    (tmp_path / "fer.npz").write_bytes(content)
    assert "cannot be read as npz" in said(tmp_path / "fer.npz")


def test_array_alone_is_no_npz(tmp_path):
    with (tmp_path / "fer.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    assert "cannot be read as npz" in said(tmp_path / "fer.npz")


@pytest.mark.realdata
def test_all_of_fer2013(tmp_path):
    data = read(REAL)
    assert data.images.shape == (35887, 48, 48) and data.votes.shape == (35887, 10)
    assert [(data.usage == usage).sum() for usage in USAGES] == [28709, 3589, 3589]
    assert np.bincount(data.labels).tolist() == [4953, 547, 5121, 8989, 6077, 4002, 6198]  # as published
    assert data.images[0, 0, :8].tolist() == [70, 80, 82, 72, 58, 58, 60, 63]  # the first row of fer2013.csv
    assert data.ambiguous.sum() == 277
    kept = clean(data)
    cell = groups(data.images) * 3 + np.unique(data.usage, return_inverse=True)[1]
    assert len(np.unique(cell[kept])) == kept.sum() == len(np.unique(cell[~data.ambiguous]))

    some = np.r_[0:40, 30000:30005, 35882:35887]
    path = fer_csv(tmp_path / "fer2013.csv", data.images[some], data.labels[some], data.usage[some])
    same(read(path), data.images[some], data.labels[some], data.usage[some])
