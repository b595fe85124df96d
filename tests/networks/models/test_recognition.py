"""The three recognition networks whose weights are downloaded, each against a second statement by functions alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from deepfusion.errors import UserError
from deepfusion.networks.catalogue import CATALOGUE, load
from deepfusion.networks.formats import state_dict
from deepfusion.networks.models import inception_resnet, iresnet, resnet50

NETWORKS = ["vggface2-resnet50", "facenet-vggface2", "arcface-iresnet50"]


class File:
    """A state dict in the making: random numbers that keep the features' size."""

    def __init__(self):
        self.tensors: dict[str, Tensor] = {}
        self.generator = torch.Generator().manual_seed(0)

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def conv(self, name: str, outputs: int, inputs: int, rows: int = 1, columns: int = 1, *, bias: bool = False):
        weight = self._random(outputs, inputs, rows, columns)
        self.tensors[f"{name}.weight"] = weight * (2 / (inputs * rows * columns)) ** 0.5
        if bias:
            self.tensors[f"{name}.bias"] = self._random(outputs) * 0.1

    def norm(self, name: str, size: int):
        for kind, mean, spread in [("weight", 1, 0.1), ("bias", 0, 0.1), ("running_mean", 0, 0.1)]:
            self.tensors[f"{name}.{kind}"] = mean + spread * self._random(size)
        self.tensors[f"{name}.running_var"] = 1 + 0.1 * self._random(size).abs()
        self.tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def prelu(self, name: str, size: int):
        self.tensors[f"{name}.weight"] = 0.25 + 0.05 * self._random(size)

    def linear(self, name: str, outputs: int, inputs: int, *, bias: bool):
        self.tensors[f"{name}.weight"] = self._random(outputs, inputs) / inputs**0.5
        if bias:
            self.tensors[f"{name}.bias"] = self._random(outputs) * 0.1


def norm(tensors: dict[str, Tensor], name: str, x: Tensor, eps: float) -> Tensor:
    mean, var, weight, bias = (tensors[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, weight, bias, eps=eps)


# VGGFace2's ResNet-50: layers by Caffe's names, stage -> (blocks, inner channels).
STAGES = {2: (3, 64), 3: (4, 128), 4: (6, 256), 5: (3, 512)}


def resnet_file() -> dict[str, Tensor]:
    file, inputs = File(), 64

    def layer(name: str, *shape: int):
        file.conv(name, *shape)
        file.norm(f"{name}_bn", shape[0])

    layer("conv1_7x7_s2", 64, 3, 7, 7)
    for stage, (count, inner) in STAGES.items():
        for block in range(1, count + 1):
            name = f"conv{stage}_{block}"
            layer(f"{name}_1x1_reduce", inner, inputs)
            layer(f"{name}_3x3", inner, inner, 3, 3)
            layer(f"{name}_1x1_increase", 4 * inner, inner)
            if block == 1:
                layer(f"{name}_1x1_proj", 4 * inner, inputs)
            inputs = 4 * inner
    file.conv("classifier", 5, 2048, bias=True)
    return file.tensors


def resnet_features(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    def layer(name: str, x: Tensor, **options) -> Tensor:
        return norm(tensors, f"{name}_bn", F.conv2d(x, tensors[f"{name}.weight"], **options), 1e-5)

    x = x - torch.tensor([131.0912, 103.8827, 91.4953]).view(3, 1, 1)
    x = F.relu(layer("conv1_7x7_s2", x, stride=2, padding=3))
    x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
    for stage, (count, _) in STAGES.items():
        for block in range(1, count + 1):
            name, stride = f"conv{stage}_{block}", 2 if block == 1 and stage > 2 else 1
            y = F.relu(layer(f"{name}_1x1_reduce", x, stride=stride))
            y = layer(f"{name}_1x1_increase", F.relu(layer(f"{name}_3x3", y, padding=1)))
            x = F.relu(y + (layer(f"{name}_1x1_proj", x, stride=stride) if block == 1 else x))
    assert x.shape[2:] == (7, 7)
    return F.avg_pool2d(x, 7).flatten(1)


# Inception-ResNet v1: every unit's name -> (outputs, inputs, rows, columns, stride, padding).
STEM = {
    "conv2d_1a": (32, 3, 3, 3, 2, 0),
    "conv2d_2a": (32, 32, 3, 3, 1, 0),
    "conv2d_2b": (64, 32, 3, 3, 1, 1),
    "conv2d_3b": (80, 64, 1, 1, 1, 0),
    "conv2d_4a": (192, 80, 3, 3, 1, 0),
    "conv2d_4b": (256, 192, 3, 3, 2, 0),
}
A = {
    "branch0": (32, 256, 1, 1, 1, 0),
    "branch1.0": (32, 256, 1, 1, 1, 0),
    "branch1.1": (32, 32, 3, 3, 1, 1),
    "branch2.0": (32, 256, 1, 1, 1, 0),
    "branch2.1": (32, 32, 3, 3, 1, 1),
    "branch2.2": (32, 32, 3, 3, 1, 1),
}
TO_B = {
    "branch0": (384, 256, 3, 3, 2, 0),
    "branch1.0": (192, 256, 1, 1, 1, 0),
    "branch1.1": (192, 192, 3, 3, 1, 1),
    "branch1.2": (256, 192, 3, 3, 2, 0),
}
B = {
    "branch0": (128, 896, 1, 1, 1, 0),
    "branch1.0": (128, 896, 1, 1, 1, 0),
    "branch1.1": (128, 128, 1, 7, 1, (0, 3)),
    "branch1.2": (128, 128, 7, 1, 1, (3, 0)),
}
TO_C = {
    "branch0.0": (256, 896, 1, 1, 1, 0),
    "branch0.1": (384, 256, 3, 3, 2, 0),
    "branch1.0": (256, 896, 1, 1, 1, 0),
    "branch1.1": (256, 256, 3, 3, 2, 0),
    "branch2.0": (256, 896, 1, 1, 1, 0),
    "branch2.1": (256, 256, 3, 3, 1, 1),
    "branch2.2": (256, 256, 3, 3, 2, 0),
}
C = {
    "branch0": (192, 1792, 1, 1, 1, 0),
    "branch1.0": (192, 1792, 1, 1, 1, 0),
    "branch1.1": (192, 192, 1, 3, 1, (0, 1)),
    "branch1.2": (192, 192, 3, 1, 1, (1, 0)),
}
# In their order: name, units, channels of the sum (0: none), scale.
INCEPTION = [
    *((f"repeat_1.{i}", A, 256, 0.17) for i in range(5)),
    ("mixed_6a", TO_B, 0, 0),
    *((f"repeat_2.{i}", B, 896, 0.1) for i in range(10)),
    ("mixed_7a", TO_C, 0, 0),
    *((f"repeat_3.{i}", C, 1792, 0.2) for i in range(5)),
    ("block8", C, 1792, 1.0),
]


def inception_file() -> dict[str, Tensor]:
    file = File()

    def unit(name: str, outputs: int, inputs: int, rows: int, columns: int, *_):
        file.conv(f"{name}.conv", outputs, inputs, rows, columns)
        file.norm(f"{name}.bn", outputs)

    for name, shape in STEM.items():
        unit(name, *shape)
    for block, units, channels, _ in INCEPTION:
        for name, shape in units.items():
            unit(f"{block}.{name}", *shape)
        if channels:
            ends = {name.split(".")[0]: shape[0] for name, shape in units.items()}
            file.conv(f"{block}.conv2d", channels, sum(ends.values()), bias=True)
    file.linear("last_linear", 512, 1792, bias=False)
    file.norm("last_bn", 512)
    file.linear("logits", 3, 512, bias=True)
    return file.tensors


def inception_features(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    def unit(name: str, x: Tensor, stride: int, padding) -> Tensor:
        y = F.conv2d(x, tensors[f"{name}.conv.weight"], stride=stride, padding=padding)
        return F.relu(norm(tensors, f"{name}.bn", y, 1e-3))

    x = (x - 127.5) / 128
    for name, (*_, stride, padding) in STEM.items():
        x = unit(name, x, stride, padding)
        if name == "conv2d_2b":
            x = F.max_pool2d(x, 3, stride=2)
    for block, units, channels, scale in INCEPTION:
        ways: dict[str, Tensor] = {}
        for name, (*_, stride, padding) in units.items():
            way = name.split(".")[0]
            ways[way] = unit(f"{block}.{name}", ways.get(way, x), stride, padding)
        if not channels:
            x = torch.cat([*ways.values(), F.max_pool2d(x, 3, stride=2)], dim=1)
            continue
        joined = torch.cat(list(ways.values()), dim=1)
        y = F.conv2d(joined, tensors[f"{block}.conv2d.weight"], tensors[f"{block}.conv2d.bias"])
        x = y * scale + x if block == "block8" else F.relu(y * scale + x)
    assert x.shape[1:] == (1792, 3, 3)
    return norm(tensors, "last_bn", F.linear(x.mean((2, 3)), tensors["last_linear.weight"]), 1e-3)


# IResNet-50: stage -> (blocks, channels).
LAYERS = {1: (3, 64), 2: (4, 128), 3: (14, 256), 4: (3, 512)}


def iresnet_file() -> dict[str, Tensor]:
    file, inputs = File(), 64
    file.conv("conv1", 64, 3, 3, 3)
    file.norm("bn1", 64)
    file.prelu("prelu", 64)
    for stage, (count, outputs) in LAYERS.items():
        for block in range(count):
            name = f"layer{stage}.{block}"
            file.norm(f"{name}.bn1", inputs)
            file.conv(f"{name}.conv1", outputs, inputs, 3, 3)
            file.norm(f"{name}.bn2", outputs)
            file.prelu(f"{name}.prelu", outputs)
            file.conv(f"{name}.conv2", outputs, outputs, 3, 3)
            file.norm(f"{name}.bn3", outputs)
            if block == 0:
                file.conv(f"{name}.downsample.0", outputs, inputs)
                file.norm(f"{name}.downsample.1", outputs)
            inputs = outputs
    file.norm("bn2", 512)
    file.linear("fc", 512, 512 * 7 * 7, bias=True)
    file.norm("features", 512)
    return file.tensors


def iresnet_features(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    def conv(name: str, x: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
        return F.conv2d(x, tensors[f"{name}.weight"], stride=stride, padding=padding)

    def prelu(name: str, x: Tensor) -> Tensor:
        slope = tensors[f"{name}.weight"].view(-1, 1, 1)
        return torch.where(x > 0, x, x * slope)

    x = prelu("prelu", norm(tensors, "bn1", conv("conv1", (x - 127.5) / 127.5), 1e-5))
    for stage, (count, _) in LAYERS.items():
        for block in range(count):
            name, stride = f"layer{stage}.{block}", 1 if block else 2
            y = conv(f"{name}.conv1", norm(tensors, f"{name}.bn1", x, 1e-5))
            y = conv(f"{name}.conv2", prelu(f"{name}.prelu", norm(tensors, f"{name}.bn2", y, 1e-5)), stride)
            if block == 0:
                x = norm(tensors, f"{name}.downsample.1", conv(f"{name}.downsample.0", x, 2, 0), 1e-5)
            x = norm(tensors, f"{name}.bn3", y, 1e-5) + x
    x = norm(tensors, "bn2", x, 1e-5).flatten(1)
    return norm(tensors, "features", F.linear(x, tensors["fc.weight"], tensors["fc.bias"]), 1e-5)


MAKE: dict[str, Callable[[], dict[str, Tensor]]] = dict(
    zip(NETWORKS, (resnet_file, inception_file, iresnet_file), strict=True)
)
STATED = dict(zip(NETWORKS, (resnet_features, inception_features, iresnet_features), strict=True))


@pytest.fixture(scope="module")
def files() -> dict[str, dict[str, Tensor]]:
    return {name: make() for name, make in MAKE.items()}


@pytest.fixture(autouse=True)
def any_hash(monkeypatch):
    """Random numbers have no published hash."""
    for name in NETWORKS:
        monkeypatch.setitem(CATALOGUE, name, replace(CATALOGUE[name], sha256=None))


def saved(path: Path, tensors: dict[str, Tensor]) -> Path:
    torch.save(tensors, path)
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_features_equal_those_of_the_second_statement(tmp_path, files, name):
    card = CATALOGUE[name]
    path = saved(tmp_path / "weights.pth", files[name])
    net = load(name, weights=path)
    x = torch.rand(2, 3, card.crop.size, card.crop.size, generator=torch.Generator().manual_seed(1)) * 255
    with torch.inference_mode():
        features, stated = net(x), STATED[name](files[name], x)
        assert torch.equal(net(x), features)
    assert features.shape == (2, card.dimension)
    assert features.dtype == torch.float32
    assert (stated[0] - stated[1]).abs().max() > 1e-3 * stated.abs().max()  # the crops differ, and so do the features
    assert (features - stated).abs().max() < 1e-4 * stated.abs().max()
    path.unlink()  # up to 170 MB


@pytest.mark.parametrize("name", NETWORKS)
def test_safetensors_in_half_precision_without_counters(tmp_path, files, name):
    path = tmp_path / "weights.safetensors"
    kept = {n: x.half() for n, x in files[name].items() if not n.endswith("num_batches_tracked")}
    safetensors.torch.save_file(kept, path)
    net = load(name, weights=path)
    assert {x.dtype for n, x in net.state_dict().items() if not n.endswith("num_batches_tracked")} == {torch.float32}
    assert not any(module.training for module in net.modules())
    assert not any(x.is_meta for x in [*net.parameters(), *net.buffers()])
    path.unlink()


def refusal(name: str, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(name, weights=path)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


def stand_ins(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names, with next to nothing behind them."""
    return dict.fromkeys(tensors, torch.zeros(1))


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("vggface2-resnet50", "conv4_6_3x3_bn.running_var"),
        ("facenet-vggface2", "repeat_2.9.branch1.2.conv.weight"),
        ("arcface-iresnet50", "layer3.13.prelu.weight"),
    ],
)
def test_one_tensor_missing_one_too_many_or_of_another_shape(tmp_path, files, name, tensor):
    state = stand_ins(files[name])
    found = tuple(files[name][tensor].shape)
    without = {n: x for n, x in state.items() if n != tensor}
    assert f"missing {tensor}; unknown none" in refusal(name, saved(tmp_path / "a.pth", without))
    more = state | {"extra.weight": torch.zeros(1)}
    assert "missing none; unknown extra.weight" in refusal(name, saved(tmp_path / "b.pth", more))
    first = next(iter(files[name]))
    line = refusal(name, saved(tmp_path / "c.pth", state))
    assert f"{first} has the shape (1,), " in line
    wrong = {n: torch.zeros(()).expand(x.shape) for n, x in files[name].items()} | {tensor: torch.zeros(9, 9)}
    assert f"{tensor} has the shape (9, 9), " in (line := refusal(name, saved(tmp_path / "d.pth", wrong)))
    assert line.endswith(f" has {found}")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_of_another_network(tmp_path, files, name):
    for other in NETWORKS:
        if other != name:
            line = refusal(name, saved(tmp_path / "a.pth", stand_ins(files[other])))
            assert " more; unknown " in line


def test_a_deeper_iresnet_has_all_names_and_more(tmp_path, files):
    deeper = stand_ins(files["arcface-iresnet50"]) | {"layer3.14.conv1.weight": torch.zeros(1)}
    line = refusal("arcface-iresnet50", saved(tmp_path / "a.pth", deeper))
    assert "missing none; unknown layer3.14.conv1.weight" in line


@pytest.mark.parametrize("build", [resnet50.build, inception_resnet.build, iresnet.build])
def test_a_file_that_is_none(tmp_path, build):
    (tmp_path / "a.pth").write_bytes(b"<html>404</html>")
    with pytest.raises(UserError, match="neither safetensors nor"):
        build(tmp_path / "a.pth")


def test_the_files_here_hold_what_the_modules_need(files):
    assert len(files["arcface-iresnet50"]) == 475  # as the published file
    with torch.device("meta"):
        nets = {"facenet-vggface2": inception_resnet.InceptionResNetV1(), "arcface-iresnet50": iresnet.IResNet50()}
    for name, net in nets.items():
        assert set(state_dict.names(net)) <= set(files[name])
