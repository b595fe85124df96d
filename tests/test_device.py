"""A GPU is found without torch."""

from importlib import metadata

import pytest

from deepfusion import device


@pytest.mark.parametrize(
    ("torch", "driver", "visible", "found"),
    [
        ("2.13.0", True, None, True),
        ("2.13.0+cu128", True, "0,1", True),
        ("2.13.0+cpu", True, None, False),
        ("2.13.0", False, None, False),
        ("2.13.0", True, "", False),
    ],
)
def test_has_gpu(tmp_path, monkeypatch, torch, driver, visible, found):
    monkeypatch.setattr(metadata, "version", lambda name: torch)
    monkeypatch.setattr(device, "NVIDIA", tmp_path if driver else tmp_path / "none")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert device.has_gpu() is found
