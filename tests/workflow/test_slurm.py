"""Extraction through Slurm: a job that is killed is submitted again, and the store is that of a local run."""

import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import slurm_node
import yaml
from paths import ROOT
from small_corpus import write_clips

from deepfusion.store.diff import diff

SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
SLURM = [
    *("--workflow-profile", str(ROOT / "profiles/slurm"), "--executor", "slurm"),
    *("--default-resources", "slurm_partition=main", "mem_mb=2000", "runtime=60"),
    *("--slurm-no-account", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"),
    *("--seconds-between-status-checks", "2", "--slurm-keep-successful-logs"),
]
# What the nodes share: neither results, which go to the storage, nor its local copies.
SHARED = ("persistence", "software-deployment", "sources", "source-cache")
CONFIG = {
    "corpus": {"name": "tiny", "source": "manifest", "path": "manifest.csv"},
    "networks": {"EF-A": {"network": "dlib-resnet29"}},
    "store": {"clips_per_shard": 9},
}


def why_not() -> str:
    """Why this machine cannot run the test, or ""."""
    if find_spec("snakemake_executor_plugin_slurm") is None:
        return "snakemake-executor-plugin-slurm is not installed (pip install '.[slurm]')"
    return slurm_node.why_not()


pytestmark = [pytest.mark.workflow, pytest.mark.skipif(bool(why_not()), reason=f"no Slurm here: {why_not()}")]


def command(folder, *arguments):
    return [*SNAKEMAKE, "--directory", str(folder), *arguments]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A corpus whose features were extracted without Slurm."""
    folder = tmp_path_factory.mktemp("local") / "project"
    write_clips(folder)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    shutil.copytree(folder, folder.with_name("clean"))  # a muxer never writes the same file twice
    arguments = command(folder, "--cores", "2", "extract_features")
    subprocess.run(arguments, env=ENVIRONMENT, check=True, capture_output=True)
    return folder


def running_jobs():
    """Id -> name of the jobs that Slurm runs."""
    shown = subprocess.run(["squeue", "-h", "-t", "R", "-o", "%i %k"], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in shown.stdout.splitlines())


NO_RSYNC = pytest.mark.skipif(shutil.which("rsync") is None, reason="Snakemake's storage plugin fs needs rsync")


@pytest.mark.parametrize("scratch", [False, pytest.param(True, marks=NO_RSYNC)], ids=["shared", "scratch"])
def test_a_job_killed_on_the_node_is_made_again_and_the_store_is_the_same(local, tmp_path, scratch):
    cluster = tmp_path / "project"
    shutil.copytree(local.with_name("clean"), cluster)
    storage = ["--default-storage-provider", "fs", "--local-storage-prefix", str(tmp_path / "scratch")]
    storage += ["--shared-fs-usage", *SHARED, "--"]
    log = tmp_path / "run.log"
    with slurm_node.one_node(tmp_path / "slurm"), log.open("w") as output:
        arguments = command(cluster, *SLURM, *(storage if scratch else []), "extract_features")
        run = subprocess.Popen(arguments, env=ENVIRONMENT, cwd=cluster, stdout=output, stderr=output)
        killed = None
        while run.poll() is None and killed is None:
            time.sleep(0.3)
            killed = next((job for job, name in running_jobs().items() if "rule_faces" in name), None)
        assert killed, log.read_text()
        time.sleep(3)  # into its work
        subprocess.run(["scancel", "--signal=KILL", "--full", killed], check=True)
        assert run.wait(timeout=900) == 0, log.read_text()
    assert "Trying to restart job" in log.read_text()
    found = diff(local / "results/tiny/features.h5", cluster / "results/tiny/features.h5")
    assert found["equal"], found
    assert not list(cluster.rglob("*.part"))
    # A job has the profile's threads, whatever this machine has; the second attempt asks for twice as much.
    texts = [path.read_text() for path in (cluster / ".snakemake/slurm_logs/rule_faces").rglob("*.log")]
    (again,) = [text for text in texts if "--attempt 2" in text]
    assert "threads: 8\n" in again and "mem_mb=16000" in again
    assert "runtime=78" in again  # of a shard with 9 clips
