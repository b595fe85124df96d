import numpy as np
import onnx
import onnxruntime
import pytest

from deepfusion.errors import UserError
from deepfusion.networks.catalogue import CATALOGUE, load, weights_path
from deepfusion.networks.inference import device, embed
from deepfusion.networks.models import sface

CARD = CATALOGUE["sface"]


@pytest.fixture(scope="module")
def session():
    """ONNX Runtime on the file itself, less the inputs that it declares and has no use for."""
    model = onnx.load(weights_path(CARD))
    kept = [value for value in model.graph.input if value.name == "data"]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def difference(session, crops: np.ndarray) -> float:
    """Largest difference from ONNX Runtime."""
    ours = embed(load(CARD.name), crops, device=device("cpu"))
    planes = crops.transpose(0, 3, 1, 2).astype(np.float32)
    theirs = np.concatenate([session.run(None, {"data": x[None]})[0] for x in planes])
    assert np.ptp(theirs, axis=0).max() > 0.5  # the crops differ, and so do their features
    return np.abs(ours - theirs).max()


def test_equals_onnx_runtime_on_a_portrait_and_on_noise(session, portrait):
    crop = portrait.crop(CARD.crop)
    noise = np.random.default_rng(0).integers(0, 256, crop.shape, dtype=np.uint8)
    crops = np.stack([crop, crop[:, ::-1], 255 - crop, noise, np.zeros_like(crop)])
    assert difference(session, crops) < 1e-4


@pytest.mark.realdata
def test_equals_onnx_runtime_on_real_faces(session, sightings):
    assert difference(session, np.stack([sighting.crop(CARD.crop) for sighting in sightings])) < 1e-4


def test_file_cut_off(tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(weights_path(CARD).read_bytes()[:5_000_000])
    with pytest.raises(UserError, match=r"cut\.onnx: not the SFace network") as caught:
        sface.build(path)
    assert "\n" not in str(caught.value)


def test_other_onnx_file(tmp_path):
    model = onnx.load(weights_path(CARD))
    del model.graph.initializer[3:]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError, match="not the SFace network as ONNX: 'conv_1_conv2d_weight'"):
        sface.build(tmp_path / "other.onnx")
