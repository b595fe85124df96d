"""FER2013 and its alignment in one file, and what is said of another file."""

import io

import numpy as np
import pytest

from deepfusion.errors import UserError
from deepfusion.fer2013.align import align
from deepfusion.fer2013.data import VOTES
from deepfusion.fer2013.prepare import load, prepare


@pytest.fixture
def csv(tmp_path, portraits):
    """Five images, of which the third has an equal one of another label."""
    images = portraits[0][[0, 1, 2, 2, 3]]
    usage = ["Training"] * 4 + ["PublicTest"]
    rows = [f"{y},{' '.join(map(str, x.ravel()))},{u}" for y, x, u in zip([3, 0, 3, 4, 6], images, usage, strict=True)]
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join(["emotion,pixels,Usage", *rows]))
    return path, images


def test_what_is_written_is_loaded(tmp_path, csv):
    path, images = csv
    out = tmp_path / "new" / "fer2013.npz"
    prepare(path, out, threads=2)
    data, found = load(out)
    np.testing.assert_array_equal(data.images, images)
    assert data.labels.tolist() == [3, 0, 3, 4, 6]
    assert data.usage.tolist() == ["Training"] * 4 + ["PublicTest"]
    assert data.votes is None
    assert data.ambiguous.tolist() == [False, False, True, True, False]
    wanted = align(images)
    np.testing.assert_array_equal(found.box, wanted.box)
    np.testing.assert_array_equal(found.landmarks, wanted.landmarks)
    np.testing.assert_array_equal(found.score, wanted.score)
    assert [file.name for file in out.parent.iterdir()] == ["fer2013.npz"]


def test_votes_are_kept(tmp_path, csv):
    counted = np.arange(50).reshape(5, 10)
    rows = [
        f"{u},x.png,{','.join(map(str, c))}" for u, c in zip(["Training"] * 4 + ["PublicTest"], counted, strict=True)
    ]
    (tmp_path / "votes.csv").write_text("\n".join([f"Usage,Image name,{','.join(VOTES)}", *rows]))
    prepare(csv[0], tmp_path / "out.npz", votes=tmp_path / "votes.csv")
    np.testing.assert_array_equal(load(tmp_path / "out.npz")[0].votes, counted)


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy():
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


WHOLE = npz(images=np.zeros((100, 48, 48), np.uint8))


@pytest.mark.parametrize(
    "content",
    [
        npz(fer_label=np.zeros(3)),
        npz(images=np.zeros((1, 48, 48)), labels=np.zeros(1), usage=np.array(["Training"]), ambiguous=np.zeros(1)),
        npz(images=np.array([None])),
        npy(),
        b"",
        b"no npz",
        WHOLE[:1000],
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:2000] + b"\1" + WHOLE[2001:],
    ],
    ids=["another", "no alignment", "objects", "npy", "empty", "text", "cut early", "cut late", "damaged"],
)
def test_another_file_is_told_in_one_line(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"other\.npz: not FER2013 as `deepfusion prepare-fer2013` writes it") as error:
        load(path)
    assert "\n" not in str(error.value)


def test_an_absent_file(tmp_path):
    with pytest.raises(UserError, match=r"absent\.npz"):
        load(tmp_path / "absent.npz")
