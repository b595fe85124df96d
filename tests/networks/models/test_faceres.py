"""Faceres against TensorFlow's graph restated in numpy: filters (3, 3, in, out), channels last, "SAME" by hand."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from deepfusion.errors import UserError
from deepfusion.networks.models import faceres

CHANNELS = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]


def layers():
    """Name and shape of every tensor of the file."""
    yield "conv1/convolution/merged_input", (3, 3, 3, 32)
    yield "conv1_bn/batchnorm_1/sub", (32,)
    for i, (inputs, outputs) in enumerate(pairwise(CHANNELS), start=1):
        yield f"conv_dw_{i}/depthwise_kernel", (3, 3, inputs, 1)
        yield f"conv_dw_{i}_bn/batchnorm_1/mul", (inputs,)
        yield f"conv_dw_{i}_bn/batchnorm_1/sub", (inputs,)
        yield f"conv_pw_{i}/convolution/merged_input", (1, 1, inputs, outputs)
        yield f"conv_pw_{i}_bn/batchnorm_1/sub", (outputs,)
    yield "age_pred/kernel", (4, 3)  # of the heads, which nothing reads


@pytest.fixture(scope="module")
def values():
    """Random numbers of half precision, under which pictures stay in the range of the ReLU."""
    rng = np.random.default_rng(0)
    made = {}
    for name, shape in layers():
        if name.endswith(("sub", "mul")):
            value = rng.uniform(0.3, 1.2, shape)
        elif "depthwise" in name:
            value = rng.normal(0.05, 0.4, shape)
        else:
            value = rng.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape) / (
                100 if len(shape) == 4 and shape[2] == 3 else 1
            )
        made[name] = value.astype("<f2")
    return made


def write(folder, values, *, groups=1):
    """TensorFlow.js's two files."""
    entries = [
        {
            "name": name,
            "shape": list(value.shape),
            "dtype": "float32",
            "quantization": {"dtype": "float16", "original_dtype": "float32"},
        }
        for name, value in values.items()
    ]
    manifest = [{"paths": ["faceres.bin"], "weights": list(part)} for part in np.array_split(entries, groups)]
    (folder / "faceres.json").write_text(json.dumps({"format": "graph-model", "weightsManifest": manifest}))
    path = folder / "faceres.bin"
    path.write_bytes(b"".join(value.tobytes() for value in values.values()))
    return path


def same(x, stride):
    """Zeros around (H, W, C), as TensorFlow lays them for a 3 x 3 filter: the odd one right and below."""
    around = []
    for side in x.shape[:2]:
        total = max((-(-side // stride) - 1) * stride + 3 - side, 0)
        around.append((total // 2, total - total // 2))
    return np.pad(x, [*around, (0, 0)])


def relu6(x):
    return np.minimum(np.maximum(x, 0), 6)


def restated(values, rgb):
    """(H, W, 3) RGB -> (1024,)."""
    values = {name: value.astype(np.float64) for name, value in values.items()}
    x = rgb[..., ::-1].astype(np.float64) - [103.939, 116.779, 123.68]  # ImageNet's mean, blue first
    x, filters = same(x, 2), values["conv1/convolution/merged_input"]
    x = sum(x[r::2, c::2][: rgb.shape[0] // 2, : rgb.shape[1] // 2] @ filters[r, c] for r in range(3) for c in range(3))
    x = relu6(x + values["conv1_bn/batchnorm_1/sub"])
    for i, stride in enumerate(STRIDES, start=1):
        height, width = (-(-side // stride) for side in x.shape[:2])
        padded, filters = same(x, stride), values[f"conv_dw_{i}/depthwise_kernel"][..., 0]
        x = sum(
            padded[r : r + stride * height : stride, c : c + stride * width : stride][:height, :width] * filters[r, c]
            for r in range(3)
            for c in range(3)
        )
        x = relu6(x * values[f"conv_dw_{i}_bn/batchnorm_1/mul"] + values[f"conv_dw_{i}_bn/batchnorm_1/sub"])
        x = x @ values[f"conv_pw_{i}/convolution/merged_input"][0, 0]
        x = relu6(x + values[f"conv_pw_{i}_bn/batchnorm_1/sub"])
    return x.mean((0, 1))


@pytest.mark.parametrize(("size", "groups"), [(64, 1), (96, 3)])
def test_equals_the_graph(tmp_path, values, size, groups):
    net = faceres.build(write(tmp_path, values, groups=groups))
    assert not any(module.training for module in net.modules())
    rng = np.random.default_rng(1)
    pictures = np.stack(
        [rng.integers(0, 256, (size, size, 3)), np.zeros((size, size, 3)), np.indices((3, size, size)).sum(0).T]
    )
    with torch.inference_mode():
        ours = net(torch.tensor(pictures.transpose(0, 3, 1, 2), dtype=torch.float32)).numpy()
    theirs = np.stack([restated(values, picture) for picture in pictures])
    assert ours.shape == (3, 1024)
    assert 0.2 < (theirs > 0).mean() < 1 and theirs.max() < 6 and np.ptp(theirs, axis=0).max() > 0.05
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def line(path):
    """The one line said about it."""
    with pytest.raises(UserError) as error:
        faceres.build(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    return str(error.value)


def test_without_its_description(tmp_path, values):
    path = write(tmp_path, values)
    path.with_suffix(".json").unlink()
    assert "needs faceres.json next to it" in line(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"weightsManifest": [{"weights": [{"name": "x"}]}]}'])
def test_a_description_of_something_else(tmp_path, values, content):
    path = write(tmp_path, values)
    path.with_suffix(".json").write_text(content)
    assert "not the TensorFlow.js weights that faceres.json describes" in line(path)


@pytest.mark.parametrize("kept", [0, 1000, -1, -2])
def test_a_file_cut_off(tmp_path, values, kept):
    path = write(tmp_path, values)
    path.write_bytes(path.read_bytes()[:kept])
    assert "faceres.json" in line(path)


def test_a_file_that_is_too_long(tmp_path, values):
    path = write(tmp_path, values)
    path.write_bytes(path.read_bytes() + b"12")
    assert "not from one package" in line(path)


def test_another_networks_names(tmp_path, values):
    others = {f"layer{i}": value for i, value in enumerate(values.values())}
    assert "not the faceres network of TensorFlow.js" in line(write(tmp_path, others))


def test_another_networks_shapes(tmp_path, values):
    others = values | {"conv_pw_3/convolution/merged_input": np.zeros((1, 1, 128, 64), "<f2")}
    assert "not the faceres network of TensorFlow.js" in line(write(tmp_path, others))
