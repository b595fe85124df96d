"""What is installed by pip: the package with its weights; `make wheel` uses it in an empty environment."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import yaml

import deepfusion
from deepfusion.networks.catalogue import SHIPPED

LARGEST = 28e6  # bytes


def test_a_wheel_has_the_weights_and_a_model_in_a_folder_of_its_own(pytestconfig, tmp_path):
    source, out = tmp_path / "source", tmp_path / "wheels"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(pytestconfig.rootpath / name, source)
    shutil.copytree(pytestconfig.rootpath / "src" / "deepfusion", source / "src" / "deepfusion")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(out), str(source)], check=True)
    (wheel,) = out.iterdir()
    assert wheel.name == f"deepfusion-{deepfusion.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < LARGEST
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"deepfusion/weights/{path.name}" for path in SHIPPED.iterdir() if path.is_file()}
    assert wanted and wanted <= packed
    assert {"deepfusion/weights/model/model.safetensors", "deepfusion/weights/model/model.json"} <= packed
    assert "deepfusion/py.typed" in packed
    assert all(name.startswith(("deepfusion/", "deepfusion-")) for name in packed)


# Names of conda-forge, where they differ from those of the package index.
CONDA = {"dlib": "dlib-bin", "opencv": "opencv-python-headless", "pytorch": "torch", "soxr-python": "soxr"}


def test_the_environment_of_conda_has_the_same_packages(pytestconfig):
    root = pytestconfig.rootpath
    *conda, pip = yaml.safe_load((root / "envs/deepfusion.yaml").read_text())["dependencies"]
    given = {name_of(text) for text in [*conda, *pip["pip"]]} - {"python", "pip"}
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {name_of(text) for text in [*project["dependencies"], *extras["pipeline"], *extras["onnxruntime"]]}
    assert {CONDA.get(name, name) for name in given} == wanted - {"snakemake"}


def name_of(requirement):
    return re.match(r"[\w.-]+", requirement)[0]


def test_the_version_is_stated_once(pytestconfig):
    assert 'dynamic = ["version"]' in (pytestconfig.rootpath / "pyproject.toml").read_text()
    cited = re.search(r"^version: (.+)$", (pytestconfig.rootpath / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited[1] == deepfusion.__version__
