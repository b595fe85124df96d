"""An engine gives the reference's features, or it is refused."""

import importlib.util
import logging
from typing import get_args

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from deepfusion.config import Config
from deepfusion.errors import UserError
from deepfusion.networks import engines
from deepfusion.networks.catalogue import CATALOGUE, load
from deepfusion.networks.engines import TOLERANCE, export, faces, opened
from deepfusion.networks.inference import embed

CPU = torch.device("cpu")
SHIPPED = ["compact-vgg-fer2013", "dlib-resnet29-fer2013", "sface-fer2013", "faceres-fer2013"]
NAME = "compact-vgg-fer2013"
SIZE = CATALOGUE[NAME].crop.size


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return load(NAME)


def crops(size: int, count: int) -> np.ndarray:
    """Faces and noise, unlike those that an engine is tried on."""
    noise = np.random.default_rng(1).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    mixed = noise // 4 + np.resize(faces(size)[:, ::-1], noise.shape) // 2
    return np.where(np.arange(count)[:, None, None, None] % 3, mixed, noise)


@pytest.mark.parametrize("name", SHIPPED)
def test_onnx_runtime_gives_the_reference_in_batches_of_any_size(name):
    module, size = load(name), CATALOGUE[name].crop.size
    features = opened(module, size, name=name, engine="onnxruntime", device=CPU)
    seen = crops(size, 9)
    wanted = embed(module, seen, device=CPU)
    for count in (1, 4, 8, 9):
        found = features(seen[:count])
        assert found.dtype == np.float32
        assert np.abs(found - wanted[:count]).max() < 2e-5 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("name", "folded"),
    list(zip(SHIPPED, [{"BatchNormalization"}, {"Div"}, {"PRelu"}, {"Pad"}], strict=True)),
)
def test_the_graph_holds_no_work_that_was_done_before(tmp_path, name, folded):
    export(load(name), CATALOGUE[name].crop.size, tmp_path / "network.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "network.onnx").graph.node}
    assert "Conv" in kinds
    assert not folded & kinds


def test_auto_is_onnx_runtime_on_a_cpu(net, monkeypatch):
    made = []
    opener = engines.ENGINES["onnxruntime"]
    monkeypatch.setitem(engines.ENGINES, "onnxruntime", lambda *args: made.append(args) or opener(*args))
    opened(net, SIZE, name=NAME, engine="auto", device=CPU)
    opened(net, SIZE, name=NAME, engine="eager", device=CPU)
    assert len(made) == 1


def wrong_scale(features):
    return lambda seen: features(seen) * np.float32(1 + 2 * TOLERANCE)


def wrong_colours(features):
    # Grey of the wrong weights: an error that a network which sees grey would nearly hide.
    return lambda seen: features(np.ascontiguousarray(seen[..., ::-1]))


def wrong_in_one_face(features):
    def computed(seen):
        found = features(seen)
        found[-1, 0] += 0.01 * np.abs(found[-1]).max()
        return found

    return computed


def not_a_number(features):
    return lambda seen: np.where(np.arange(4096) == 17, np.nan, features(seen))


def too_few(features):
    return lambda seen: features(seen)[:-1]


@pytest.mark.parametrize("wrong", [wrong_scale, wrong_colours, wrong_in_one_face, not_a_number, too_few])
def test_a_wrong_engine_is_refused(net, monkeypatch, caplog, wrong):
    opener = engines.ENGINES["onnxruntime"]
    monkeypatch.setitem(engines.ENGINES, "onnxruntime", lambda *args: wrong(opener(*args)))
    with pytest.raises(UserError, match=f"{NAME} by onnxruntime: .* refused") as caught:
        opened(net, SIZE, name=NAME, engine="onnxruntime", device=CPU)
    assert "\n" not in str(caught.value)
    with caplog.at_level(logging.WARNING):
        features = opened(net, SIZE, name=NAME, engine="auto", device=CPU)
    assert "refused" in caplog.text
    seen = crops(SIZE, 3)
    assert np.array_equal(features(seen), embed(net, seen, device=CPU))  # the reference itself


def broken_session(features):
    def computed(seen):
        raise RuntimeError("Non-zero status code\nwhile running Conv")

    return computed


def broken_export(features):
    raise torch.onnx.errors.UnsupportedOperatorError("aten::new", 17)


@pytest.mark.parametrize("broken", [broken_session, broken_export])
def test_an_engine_that_fails_is_not_taken(net, monkeypatch, caplog, broken):
    monkeypatch.setitem(engines.ENGINES, "onnxruntime", lambda *args: broken(None))
    with pytest.raises(UserError, match=f"{NAME} by onnxruntime: the engine fails here .*Error: ") as caught:
        opened(net, SIZE, name=NAME, engine="onnxruntime", device=CPU)
    assert "\n" not in str(caught.value)
    with caplog.at_level(logging.WARNING):
        features = opened(net, SIZE, name=NAME, engine="auto", device=CPU)
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "\n" not in caplog.messages[0]
    assert np.array_equal(features(faces(SIZE)), embed(net, faces(SIZE), device=CPU))


def test_without_onnx_runtime(net, monkeypatch, caplog):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(UserError, match=r"pip install 'deepfusion\[onnxruntime\]'"):
        opened(net, SIZE, name=NAME, engine="onnxruntime", device=CPU)
    features = opened(net, SIZE, name=NAME, engine="auto", device=CPU)
    assert "pip install" in caplog.text
    assert np.array_equal(features(faces(SIZE)), embed(net, faces(SIZE), device=CPU))


def test_the_configuration_names_the_engines_that_there_are():
    named = get_args(Config.model_fields["engine"].annotation)
    assert named == get_args(engines.Engine)
    assert set(named) == {"auto", "eager", *engines.ENGINES}


def test_onnx_runtime_is_not_for_a_gpu(net):
    with pytest.raises(UserError, match="runs on a CPU"):
        engines.onnx_runtime(net, SIZE, torch.device("cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("name", SHIPPED)
def test_gpu_equals_cpu(name):
    module, size = load(name), CATALOGUE[name].crop.size
    wanted = embed(module, crops(size, 9), device=CPU)
    features = opened(module, size, name=name, engine="auto", device=torch.device("cuda"))
    assert np.abs(features(crops(size, 9)) - wanted).max() < 2 * TOLERANCE * np.abs(wanted).max()
