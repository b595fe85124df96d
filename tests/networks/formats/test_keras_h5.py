import h5py
import numpy as np
import pytest
import torch

from deepfusion.networks.formats import keras_h5


@pytest.mark.parametrize(
    ("kernel", "bias"),
    [
        ("conv/conv_W_1:0", "conv/conv_b_1:0"),
        ("conv/conv_W", "conv/conv_b"),
        ("conv/conv/kernel:0", "conv/conv/bias:0"),
        ("model_weights/conv/conv/kernel:0", "model_weights/conv/conv/bias:0"),
    ],
)
def test_names_and_axes(tmp_path, kernel, bias):
    values = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[kernel], file[bias] = values, np.ones(5)
        file["fc/fc/kernel:0"] = np.array([[1.0, 2.0]])
        file["other/other/kernel:0"] = values
        file.create_group("pool")
    tensors = keras_h5.read(tmp_path / "a.h5", {"conv", "fc"})
    assert set(tensors) == {"conv.weight", "conv.bias", "fc.weight", "other/other/kernel:0"}
    assert tensors["conv.weight"].shape == (5, 4, 2, 3)
    assert tensors["conv.weight"][4, 3, 1, 2] == values[1, 2, 3, 4]
    assert torch.equal(tensors["fc.weight"], torch.tensor([[1.0], [2.0]], dtype=torch.float64))
    assert len(tensors["other/other/kernel:0"]) == 0
