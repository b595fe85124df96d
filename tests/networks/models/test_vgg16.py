import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional as F

from deepfusion.errors import UserError
from deepfusion.networks.catalogue import load
from deepfusion.networks.inference import device, embed

# The network as the paper's table 3 gives it, written out here once more.
STAGES = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]
TORCHVISION = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]


def windows(rows: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    """A random matrix whose rows overlap in memory: all different, and small in a file."""
    numbers = torch.randn(columns + 7 * rows, generator=generator) / columns**0.5
    return torch.as_strided(numbers, (rows, columns), (7, 1))


@pytest.fixture(scope="module")
def original() -> dict[str, torch.Tensor]:
    """A state dict with the names of the original layers, fc7 and fc8 in stand-ins."""
    generator, state, inputs = torch.Generator().manual_seed(0), {}, 3
    for stage, (outputs, count) in enumerate(STAGES, start=1):
        for i in range(1, count + 1):
            scale = (2 / (9 * inputs)) ** 0.5
            weight = torch.randn(outputs, inputs, 3, 3, generator=generator) * scale
            state[f"conv{stage}_{i}.weight"] = weight
            state[f"conv{stage}_{i}.bias"] = torch.randn(outputs, generator=generator)
            inputs = outputs
    state["fc6.weight"] = windows(4096, 25088, generator)
    state["fc6.bias"] = torch.randn(4096, generator=generator)
    state |= {"fc7.weight": torch.zeros(4), "fc7.bias": torch.zeros(4)}
    state |= {"fc8.weight": torch.zeros(2622, 1), "fc8.bias": torch.zeros(2622)}
    return state


@pytest.fixture(scope="module")
def torchvision_named(original) -> dict[str, torch.Tensor]:
    """The same numbers with torchvision's names."""
    layers = [f"conv{stage}_{i}" for stage, (_, n) in enumerate(STAGES, start=1) for i in range(1, n + 1)]
    new = dict(zip(layers, (f"features.{i}" for i in TORCHVISION), strict=True))
    new |= {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}
    return {new[layer] + "." + kind: x for (layer, kind), x in ((n.split("."), x) for n, x in original.items())}


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def reference(original, crops) -> np.ndarray:
    """fc6 of the crops, computed from the state dict by functions alone."""
    x = torch.from_numpy(crops).permute(0, 3, 1, 2) - torch.tensor(
        [129.186279296875, 104.76238250732422, 93.59396362304688]
    ).view(3, 1, 1)
    for stage, (_, count) in enumerate(STAGES, start=1):
        for i in range(1, count + 1):
            layer = f"conv{stage}_{i}"
            x = F.relu(F.conv2d(x, original[f"{layer}.weight"], original[f"{layer}.bias"], padding=1))
        x = F.max_pool2d(x, 2)
    return F.relu(F.linear(x.flatten(1), original["fc6.weight"], original["fc6.bias"])).numpy()


def saved(path, state, **options):
    torch.save(state, path, **options)
    return path


def assert_equal(path, crops, reference):
    features = embed(load("vgg-face", weights=path), crops, device=device("cpu"))
    assert features.shape == (2, 4096)
    assert 0.2 < (reference == 0).mean() < 0.8  # the ReLU is there, and leaves something
    assert np.abs(features - reference).max() < 1e-5 * reference.max()
    path.unlink()  # pytest would keep these 60 to 470 MB for three runs


def test_original_names(tmp_path, original, crops, reference):
    assert_equal(saved(tmp_path / "vgg.pth", original), crops, reference)


def test_original_names_in_the_file_format_of_old_torch(tmp_path, original, crops, reference):
    path = saved(tmp_path / "vgg.pth", original, _use_new_zipfile_serialization=False)
    assert_equal(path, crops[:2], reference)


def test_torchvision_names(tmp_path, torchvision_named, crops, reference):
    assert_equal(saved(tmp_path / "vgg.pth", torchvision_named), crops, reference)


def test_safetensors(tmp_path, original, crops, reference):
    path = tmp_path / "vgg.safetensors"
    safetensors.torch.save_file({name: x.contiguous() for name, x in original.items()}, path)
    assert_equal(path, crops, reference)


def stand_ins(state) -> dict[str, torch.Tensor]:
    """The names, with next to nothing behind them."""
    return dict.fromkeys(state, torch.zeros(1))


def refusal(path) -> str:
    with pytest.raises(UserError) as caught:
        load("vgg-face", weights=path)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


def test_missing_layer(tmp_path, original):
    state = stand_ins(original)
    del state["conv3_2.bias"]
    assert "missing conv3_2.bias; unknown none" in refusal(saved(tmp_path / "a.pth", state))


def test_vgg19_has_all_names_of_vgg16_and_more(tmp_path, original):
    state = stand_ins(original) | {"conv3_4.weight": torch.zeros(1)}
    assert "missing none; unknown conv3_4.weight" in refusal(saved(tmp_path / "a.pth", state))


def test_another_architecture(tmp_path):
    state = {f"layer{i}.weight": torch.zeros(1) for i in range(5)}
    assert "and 2 more" in refusal(saved(tmp_path / "a.pth", state))


def test_another_shape(tmp_path, original):
    state = stand_ins(original) | {"conv1_1.weight": torch.zeros(64, 3, 7, 7)}
    line = refusal(saved(tmp_path / "a.pth", state))
    assert "conv1_1.weight has the shape (64, 3, 7, 7), VGG-16 has (64, 3, 3, 3)" in line


def test_imagenet_weights_are_not_a_face_network(tmp_path, torchvision_named):
    state = stand_ins(torchvision_named) | {"classifier.6.weight": torch.zeros(1000, 1)}
    assert "ImageNet" in refusal(saved(tmp_path / "a.pth", state))


KEPT = 64
"""Values of fc6 that the Keras file gives numbers to; the others' chunks stay unwritten, which keeps it small."""


@pytest.fixture(scope="module")
def keras(original, tmp_path_factory):
    """The same numbers as Keras keeps them: BGR, inputs before outputs, fc6 for rows, columns, channels."""
    path = tmp_path_factory.mktemp("keras") / "vgg.h5"
    with h5py.File(path, "w") as file:
        for stage, (_, count) in enumerate(STAGES, start=1):
            for i in range(1, count + 1):
                layer = f"conv{stage}_{i}"
                kernel = original[f"{layer}.weight"].numpy().transpose(2, 3, 1, 0)
                file[f"{layer}/{layer}_W_1:0"] = kernel[:, :, ::-1] if layer == "conv1_1" else kernel
                file[f"{layer}/{layer}_b_1:0"] = original[f"{layer}.bias"].numpy()
            file.create_group(f"pool{stage}")
        fc6 = file.create_dataset("fc6/fc6_W_1:0", (25088, 4096), np.float32, chunks=(25088, KEPT))
        fc6[:, :KEPT] = original["fc6.weight"][:KEPT].reshape(KEPT, 512, 49).permute(2, 1, 0).reshape(25088, KEPT)
        file["fc6/fc6_b_1:0"] = original["fc6.bias"].numpy()
        for layer in ("fc7", "fc8"):
            file[f"{layer}/{layer}_W_1:0"], file[f"{layer}/{layer}_b_1:0"] = np.zeros((4, 4)), np.zeros(4)
    yield path
    path.unlink()  # 65 MB


def test_keras(keras, crops, reference):
    features = embed(load("vgg-face", weights=keras), crops, device=device("cpu"))
    assert np.abs(features[:, :KEPT] - reference[:, :KEPT]).max() < 1e-5 * reference.max()


def test_keras_file_of_another_network(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["block1_conv1/block1_conv1/kernel:0"] = np.zeros((3, 3, 3, 64))
    line = refusal(tmp_path / "a.h5")
    assert "missing conv1_1.weight, " in line
    assert "unknown block1_conv1/block1_conv1/kernel:0" in line


def test_keras_file_without_its_dense_layers(tmp_path, keras):
    with h5py.File(keras) as file, h5py.File(tmp_path / "a.h5", "w") as notop:
        for layer in file:
            if layer != "fc6":
                file.copy(layer, notop)
    assert "missing fc6.weight, fc6.bias; unknown none" in refusal(tmp_path / "a.h5")


def test_no_keras_file(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"<html>404</html>")
    assert "not a Keras file of weights" in refusal(tmp_path / "a.h5")
