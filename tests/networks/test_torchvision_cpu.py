import subprocess
import sys

import pytest

START = """
import sys, torch
from deepfusion.networks import torchvision_cpu
assert "torchvision" not in sys.modules
"""
IMPORT = """
models = torchvision_cpu.models()
assert torchvision_cpu.models() is models
assert models.alexnet(weights=None).features[0].out_channels == 64
assert bool(torchvision_cpu._kept) is not torchvision_cpu._extension_loads()
"""
NOTHING_DEFINED = """
try:
    torchvision_cpu.models()
except RuntimeError:  # the import that would have needed the definitions
    pass
assert not torchvision_cpu._kept
"""


def test_models_import_in_a_fresh_process():
    subprocess.run([sys.executable, "-c", START + IMPORT], check=True)


@pytest.mark.parametrize("elsewhere", ["sys.platform = 'darwin'", "torch.version.cuda = '12.8'"])
def test_nothing_is_done_on_a_mac_and_beside_a_cuda_torch(elsewhere):
    subprocess.run([sys.executable, "-c", START + elsewhere + NOTHING_DEFINED], check=True)
