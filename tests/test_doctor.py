"""`deepfusion info --system` and `deepfusion doctor`: what a bug report needs, and whether the installation works."""

import json
import subprocess
import sys

import pytest
import torch

import deepfusion
from deepfusion import doctor
from deepfusion.networks import inference
from deepfusion.networks.catalogue import SHIPPED


def run(*arguments, cwd):
    command = [sys.executable, "-m", "deepfusion", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_system_names_versions_machine_and_weights(tmp_path):
    done = run("info", "--system", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["deepfusion"] == deepfusion.__version__
    assert found["packages"]["h5py"] and found["packages"]["torch"] and "pytest" not in found["packages"]
    assert set(found["weights"]) == {str(path.relative_to(SHIPPED)) for path in SHIPPED.rglob("*.safetensors")}
    text = doctor.system_lines(found)
    assert "sha256" in text and f"cores: {found['cores']}" in text


def test_a_whole_installation_passes(tmp_path):
    done = run("doctor", "--json", cwd=tmp_path)
    checks = {check["name"]: check for check in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert {"installation", "device", "weights", "self test"} <= set(checks)
    assert "faces" in checks["self test"]["detail"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mps", [True, False])
def test_the_device_is_that_of_auto(monkeypatch, mps):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    found = doctor.system()["device"]
    assert found.startswith(inference.device("auto").type) and ("mps" in found) == mps


def test_a_missing_package_fails_with_its_name(monkeypatch):
    version = doctor.installed_version
    monkeypatch.setattr(doctor, "installed_version", lambda name: None if name == "av" else version(name))
    checks = list(doctor.doctor())
    assert checks[0].status == "failed" and "av is missing" in checks[0].detail
    assert "self test" not in [check.name for check in checks]  # it could not run


def test_too_little_is_a_warning(monkeypatch):
    monkeypatch.setattr(doctor, "FREE_GB", 1e9)
    monkeypatch.setattr(doctor, "_weights", lambda: "")
    monkeypatch.setattr(doctor, "_self_test", lambda: "")
    found = {check.name: check.status for check in doctor.doctor()}
    assert found["free disk here, GB"] == "warning" and "failed" not in found.values()


def test_the_command_without_its_packages_is_one_line(tmp_path):
    script = "import sys; sys.modules['typer'] = None; from deepfusion.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "typer is not installed: the command line needs pip install 'deepfusion[pipeline]'"
