"""Use the installed package as a stranger does: generate a clip, extract, load the model of the package, predict."""

import subprocess
import sys
import tempfile
from pathlib import Path

import deepfusion
from deepfusion.corpora.demo.render import render

assert Path(deepfusion.__file__).is_relative_to(sys.prefix), f"{deepfusion.__file__} is not the installed package"
with tempfile.TemporaryDirectory() as folder:
    clip = Path(folder, "clip.mp4")
    render("s01-f0-v0-t0", clip, seed=0)
    with deepfusion.load() as model:
        result = model.predict(clip)
    assert result.status == "ok", result.reason
    assert abs(result.probabilities.sum() - 1) < 1e-6
    command = [Path(sys.executable).with_name("deepfusion"), "predict", clip, "--out", folder]
    subprocess.run(command, check=True)
    assert Path(folder, "predictions.csv").is_file() and Path(folder, "predict.html").is_file()
print(f"the wheel's own model predicted {result.label} from {result.frames['success'].sum()} faces")
