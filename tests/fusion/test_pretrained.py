"""ImageNet's filters: a file of torchvision's names and shapes (random values), against torchvision's own network."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file
from small_store import SETTINGS
from torch import nn

from deepfusion.config import ALEXNET, FusionSettings, check
from deepfusion.errors import UserError
from deepfusion.fusion.fold import train_fold
from deepfusion.fusion.pretrained import fill
from deepfusion.fusion.train import new_model
from deepfusion.networks import torchvision_cpu
from deepfusion.networks.audio_encoder import AudioEncoder


@pytest.fixture(scope="module")
def alexnet():
    torch.manual_seed(0)
    return torchvision_cpu.models().alexnet(weights=None).eval()


@pytest.fixture(scope="module")
def file(alexnet, tmp_path_factory):
    """Without the classifier's matrices, of which the encoder needs nothing: they are 220 MB."""
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    small = {name: value for name, value in alexnet.state_dict().items() if value.numel() < 2_000_000}
    assert "classifier.1.bias" in small
    torch.save(small, path)
    return path


def settings_with(file, **changes):
    return FusionSettings(
        **SETTINGS.model_dump(by_alias=True) | {"audio_channels": ALEXNET, "audio_weights": file} | changes
    )


def test_without_lrn_the_encoder_is_torchvisions_network_for_a_grey_picture(alexnet, file):
    encoder = AudioEncoder(ALEXNET)
    fill(encoder, file)
    encoder.norms = nn.ModuleList(nn.Identity() for _ in encoder.norms)
    grey = torch.randn(1, 200, 150)
    with torch.inference_mode():
        vectors, _ = encoder(grey, torch.tensor([150]))
        expected = alexnet.features(grey[:, None].expand(-1, 3, -1, -1))[0].flatten(1).T
    assert torch.allclose(vectors, expected, atol=1e-5)
    assert expected.abs().max() > 0


def test_safetensors_do_as_well(alexnet, file, tmp_path):
    path = tmp_path / "alexnet.safetensors"
    save_file(torch.load(file, weights_only=True), path)
    one, other = AudioEncoder(ALEXNET), AudioEncoder(ALEXNET)
    fill(one, file)
    fill(other, path)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_model_begins_with_them_and_keeps_them_to_itself(dataset, file):
    settings = settings_with(file)
    first, second = (new_model("fbp", dataset, [0, 2], settings, seed) for seed in (0, 1))
    a, b = first.audio.encoder.convolutions[1].weight, second.audio.encoder.convolutions[1].weight
    assert torch.equal(a, b) and a.requires_grad
    with torch.no_grad():
        a.add_(1)
    assert not torch.equal(a, b)


def trained_card(store, folder, file):
    settings = settings_with(file, epochs=1)
    cpu = torch.device("cpu")
    # A single speaker's clips: the network is wide.
    train_fold(store, folder, name="audio", test=["s1", "s2", "s3"], fold="f", seed=0, settings=settings, device=cpu)
    return json.loads((folder / "model.json").read_text())


def test_the_card_names_the_file_by_its_content(store, file, tmp_path):
    card = trained_card(store, tmp_path, file)
    assert card["audio_weights_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert card["settings"]["audio_weights"] == str(file)


def test_another_content_under_the_same_name_continues_no_checkpoint(store, alexnet, tmp_path, monkeypatch):
    """Both trainings are broken off after the search; the second must not go on where the first was."""
    keys = []

    def broken_off(*args, key, **kwargs):
        keys.append(key)
        raise KeyboardInterrupt

    monkeypatch.setattr("deepfusion.fusion.train.fit", broken_off)
    tensors = {name: value for name, value in alexnet.state_dict().items() if name.startswith("features.")}
    for bias in (0.0, 0.0, 1.0):
        torch.save(tensors | {"features.0.bias": torch.full((64,), bias)}, tmp_path / "alexnet.pth")
        with pytest.raises(KeyboardInterrupt):
            trained_card(store, tmp_path, tmp_path / "alexnet.pth")
    assert keys[0] == keys[1] != keys[2]


def refused(path):
    with pytest.raises(UserError) as caught:
        fill(AudioEncoder(ALEXNET), path)
    line = str(caught.value)
    assert "\n" not in line and str(path) in line
    return line


def test_files_of_something_else_are_refused_in_one_line(file, tmp_path):
    tensors = torch.load(file, weights_only=True)
    path = tmp_path / "other.pth"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    assert "not torchvision's AlexNet" in refused(path)
    torch.save(tensors | {"features.3.weight": torch.zeros(256, 64, 5, 5)}, path)
    assert "features.3.weight has the shape (256, 64, 5, 5)" in refused(path)
    torch.save(tensors | {"features.0.weight": torch.zeros(64)}, path)
    assert "features.0.weight has the shape (64,)" in refused(path)
    torch.save(nn.Linear(2, 2), path)
    assert "without running code" in refused(path)


def test_a_file_that_is_not_there_is_told_in_one_line(store, tmp_path):
    with pytest.raises(UserError, match=r"fusion.audio_weights: there is no file .*absent.pth$"):
        trained_card(store, tmp_path, tmp_path / "absent.pth")


def test_other_filters_are_refused_before_anything_runs(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("fusion:\n  audio_weights: alexnet.pth\n")
    with pytest.raises(UserError, match=r"config.yaml:1: fusion: audio_weights needs audio_channels: \[64, 192, 384"):
        check({"fusion": {"audio_weights": "alexnet.pth"}}, [path])
    assert check({"fusion": {"audio_weights": "alexnet.pth", "audio_channels": list(ALEXNET)}}, [path])
