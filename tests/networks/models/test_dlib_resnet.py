import dlib
import numpy as np
import pytest

from deepfusion.errors import UserError
from deepfusion.networks.catalogue import CATALOGUE, load, weights_path
from deepfusion.networks.formats.dlib_dat import DatReader
from deepfusion.networks.inference import device, embed
from deepfusion.networks.models import dlib_resnet

CARD = CATALOGUE["dlib-resnet29"]


@pytest.fixture(scope="module")
def dlib_itself():
    return dlib.face_recognition_model_v1(str(weights_path(CARD)))


def difference(dlib_itself, crops: np.ndarray) -> float:
    """Largest difference from dlib's own descriptors (dlib needs 0.12 s a crop: few crops)."""
    ours = embed(load(CARD.name), crops, device=device("cpu"))
    theirs = np.array([dlib_itself.compute_face_descriptor(crop, 0) for crop in crops])
    assert np.ptp(theirs, axis=0).max() > 0.1  # the crops differ, and so do their descriptors
    return np.abs(ours - theirs).max()


def test_equals_dlib_on_a_portrait_and_on_noise(dlib_itself, portrait):
    crop = portrait.crop(CARD.crop)
    noise = np.random.default_rng(0).integers(0, 256, crop.shape, dtype=np.uint8)
    crops = np.stack([crop, crop[:, ::-1], 255 - crop, noise, np.zeros_like(crop)])
    assert difference(dlib_itself, crops) < 1e-5


@pytest.mark.realdata
def test_equals_dlib_on_chips_that_dlib_cut_of_real_frames(dlib_itself, sightings):
    chips = []
    for sighting in sightings[::6]:
        points = [dlib.point(round(x), round(y)) for x, y in sighting.face.landmarks.tolist()]
        shape = dlib.full_object_detection(dlib.rectangle(*sighting.face.box.astype(int).tolist()), points)
        chips.append(dlib.get_face_chip(sighting.image, shape, 150, 0.25))
    assert len(chips) >= 4
    assert difference(dlib_itself, np.stack(chips)) < 1e-5


@pytest.mark.parametrize("kept", [0.0, 0.0001, 0.001, 0.3, 0.99])
def test_file_cut_off(tmp_path, kept):
    whole = weights_path(CARD).read_bytes()
    path = tmp_path / "cut.dat"
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(UserError, match=r"cut\.dat: .*cut off") as caught:
        dlib_resnet.build(path)
    assert "\n" not in str(caught.value)


def test_other_dlib_file(tmp_path):
    path = tmp_path / "other.dat"
    # The right first layer with a tensor of another size behind it.
    path.write_bytes(
        b"\x01\x15input_rgb_image_sized" + b"\x01\x01\x00" * 3 + b"\x01\x05con_4\x01\x02" + b"\x01\x01" * 4 + bytes(4)
    )
    with pytest.raises(UserError, match="1 weights where dlib's ResNet-29 has 4736"):
        dlib_resnet.build(path)


def test_numbers_of_the_format(tmp_path):
    path = tmp_path / "numbers.dat"
    path.write_bytes(
        b"\x01\x07"  # 7
        b"\x82\x01\x02"  # -(1 + 2 * 256)
        b"\x01\x03\x81\x02"  # 3 * 2 ** -2
        b"\x01\x02\x01\x01\x01\x02\x01\x01\x01\x03" + np.arange(6, dtype="<f4").tobytes()
    )
    file = DatReader(path)
    assert file.integer() == 7
    assert file.integer() == -513
    assert file.double() == 0.75
    assert np.array_equal(file.tensor(), np.arange(6, dtype=np.float32).reshape(1, 2, 1, 3))


def test_damaged_tensor(tmp_path):
    path = tmp_path / "damaged.dat"
    path.write_bytes(b"\x01\x02\x81\x05\x01\x01\x01\x01\x01\x01")
    with pytest.raises(UserError, match="damaged"):
        DatReader(path).tensor()
