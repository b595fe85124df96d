"""What is installed by pip: the package with its weights."""

import shutil
import subprocess
import sys
import zipfile

from deepfusion.networks.catalogue import SHIPPED


def test_a_wheel_has_the_weights_and_a_model_in_a_folder_of_its_own(pytestconfig, tmp_path):
    source, out = tmp_path / "source", tmp_path / "wheels"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(pytestconfig.rootpath / name, source)
    shutil.copytree(pytestconfig.rootpath / "src" / "deepfusion", source / "src" / "deepfusion")
    model = source / "src" / "deepfusion" / "weights" / "model"
    model.mkdir(exist_ok=True)
    for name in ("model.safetensors", "model.json"):
        (model / name).touch()  # a package that ships a model has these
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(out), str(source)], check=True)
    (wheel,) = out.iterdir()
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"deepfusion/weights/{path.name}" for path in SHIPPED.iterdir() if path.is_file()}
    assert wanted and wanted <= packed
    assert {"deepfusion/weights/model/model.safetensors", "deepfusion/weights/model/model.json"} <= packed
    assert all(name.startswith(("deepfusion/", "deepfusion-")) for name in packed)
