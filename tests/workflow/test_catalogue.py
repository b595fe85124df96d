"""Use as the Snakemake workflow catalogue and snakedeploy use it: `workflow/Snakefile`, alone and as a module."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from paths import ROOT
from small_corpus import write_clips

SNAKEMAKE = str(Path(sys.executable).with_name("snakemake"))
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
CONFIG = {"corpus": {"name": "small", "source": "manifest", "path": "manifest.csv"}, "device": "cuda"}
STAGES = ["faces", "networks", "spectrogram", "audio_encoder"]

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    return folder


def dry_run(folder, snakefile):
    """What a dry run of `extract_features` prints."""
    command = [SNAKEMAKE, "--snakefile", snakefile, "--directory", folder, "--cores", "2", "-n", "extract_features"]
    done = subprocess.run(list(map(str, command)), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def jobs(text):
    """Rule -> number of jobs."""
    lines = text.split("Job stats:")[1].split("\n\n")[0].splitlines()[3:]
    return {line.split()[0]: int(line.split()[1]) for line in lines}


def test_as_a_module_it_makes_the_same_jobs(clips, tmp_path):
    for name in ("plain", "module"):
        shutil.copytree(clips, tmp_path / name)
    (tmp_path / "module/config").mkdir()
    (tmp_path / "plain/config.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "module/config/config.yaml").write_text(yaml.safe_dump(CONFIG))
    example = (ROOT / "config/README.md").read_text().split("```python\n")[1].split("```")[0]
    snakefile = tmp_path / "module/Snakefile"
    snakefile.write_text(example.replace("path/to/deepfusion", str(ROOT)))
    text = dry_run(tmp_path / "module", snakefile)
    found = jobs(text)
    assert found == jobs(dry_run(tmp_path / "plain", ROOT / "workflow/Snakefile"))
    # The default profile runs one job at a time on the GPU, and several threads decode for it.
    assert yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())["resources"] == ["gpu=1"]
    printed = {rule: text.split(f"rule {rule}:")[1].split("\n\n")[0] for rule in STAGES}
    assert "threads: 2" in printed["networks"] and "gpu=1" in printed["networks"]
    # The time limit of every stage grows with the clips of the shard.
    runtimes = {int(re.search(r"runtime=(\d+)", of)[1]) for of in printed.values()}
    assert len(runtimes) == 1 and min(runtimes) > 30
    assert found["faces"] == found["networks"] == found["spectrogram"] > 0


def test_what_the_catalogue_looks_for_is_there():
    assert (ROOT / "workflow/Snakefile").read_text().strip() == 'include: "../Snakefile"'
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert {"mandatory-flags", "software-stack-deployment", "report"} == set(usage)
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme
