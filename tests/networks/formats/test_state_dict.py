import os
import pickle

import pytest
import torch
from torch import nn

from deepfusion.errors import UserError
from deepfusion.networks.formats import state_dict
from deepfusion.networks.models import inception_resnet, iresnet, resnet50, vgg16

READERS = {
    "vgg-face": vgg16.build,
    "vggface2-resnet50": resnet50.build,
    "facenet-vggface2": inception_resnet.build,
    "arcface-iresnet50": iresnet.build,
}


def refusal(path, read=state_dict.read) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


def saved(path, content):
    torch.save(content, path)
    return path


class Code:
    """Unpickled, it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("read", [state_dict.read, *READERS.values()], ids=["read", *READERS])
def test_code_in_the_file_is_not_run(tmp_path, read):
    trap = tmp_path / "trap"
    assert "without running code" in refusal(saved(tmp_path / "a.pth", {"conv1_1.weight": Code(trap)}), read)
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Code(trap), protocol=2))
    assert "without running code" in refusal(tmp_path / "b.pth", read)
    assert not trap.exists()


def test_a_whole_model_is_no_state_dict(tmp_path):
    assert "without running code" in refusal(saved(tmp_path / "a.pth", nn.Linear(2, 2)))


def test_a_nested_checkpoint_is_no_state_dict(tmp_path):
    state = {"epoch": 3, "state_dict": {"fc6.bias": torch.zeros(1)}}
    assert "holds no state dict" in refusal(saved(tmp_path / "a.pth", state))


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_no_weights_at_all(tmp_path, name):
    (tmp_path / name).write_bytes(b"<html>404</html>")
    assert "neither safetensors nor" in refusal(tmp_path / name)


def test_file_cut_off(tmp_path):
    path = saved(tmp_path / "a.pth", {"fc6.bias": torch.zeros(4096)})
    path.write_bytes(path.read_bytes()[:5000])
    assert "neither safetensors nor" in refusal(path)


def test_fill_brings_numbers_to_where_they_belong(tmp_path):
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    theirs = {"a.w": torch.tensor([[1.0, 2.0]]).double(), "a.b": torch.tensor([3.0]), "n.w": torch.tensor([1.0])}
    theirs |= {"n.b": torch.tensor([0.5]), "n.m": torch.tensor([0.0]), "n.v": torch.tensor([1.0])}
    names = dict(zip(theirs, state_dict.names(net), strict=True))
    state_dict.fill(
        net, theirs | {"top.x": torch.zeros(1)}, names, path=tmp_path, network="a network", unused=r"top\..*"
    )
    assert net.eval()(torch.tensor([[10.0, 100.0]])).item() == pytest.approx(213.5, rel=1e-4)
