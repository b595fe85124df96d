import subprocess
import sys

# Imports torch once, then forks a child for every case, because torchvision is imported once per process.
PROGRAM = """
import os, sys, torch
from deepfusion.networks import torchvision_cpu
assert "torchvision" not in sys.modules

def imported():
    models = torchvision_cpu.models()
    assert torchvision_cpu.models() is models
    assert models.alexnet(weights=None).features[0].out_channels == 64
    assert bool(torchvision_cpu._kept) is not torchvision_cpu._extension_loads()

def nothing_defined():
    try:
        torchvision_cpu.models()
    except RuntimeError:  # the import that would have needed the definitions
        pass
    assert not torchvision_cpu._kept

def on_a_mac():
    sys.platform = "darwin"
    nothing_defined()

def beside_a_cuda_torch():
    torch.version.cuda = "12.8"
    nothing_defined()

failed = []
for case in (imported, on_a_mac, beside_a_cuda_torch):
    pid = os.fork()
    if pid == 0:
        try:
            case()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        failed.append(case.__name__)
sys.exit(", ".join(failed) or None)
"""


def test_models_import_in_a_fresh_process_and_nothing_is_done_on_a_mac_and_beside_a_cuda_torch():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
