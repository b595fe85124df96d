"""Slurm on this machine as one node, from the distribution's packages (Debian: slurm-wlm, munge); needs root."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The executor plugin removes SLURM_CONF from the environment: the file has to lie where Slurm looks for it.
CONF = Path("/etc/slurm/slurm.conf")
MARK = "# one node, for the tests of Deep Fusion"
# More than the machine has, so that a thread count of the job and one of the machine differ.
CPUS, MEMORY_MB = 16, 64_000

TEXT = """{mark}
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=600
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why no Slurm can be started here, or ""."""
    missing = [name for name in ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue") if not shutil.which(name)]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: apt-get install slurm-wlm munge)"
    if os.getuid() != 0:
        return "only root may start a one-node Slurm"
    if CONF.exists() and MARK not in CONF.read_text():
        return f"{CONF} is there: this machine belongs to a Slurm cluster"
    return ""


@contextmanager
def one_node(folder: Path) -> Iterator[None]:
    """Run munged, slurmctld and slurmd while the block runs; partition `main`."""
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    text = TEXT.format(mark=MARK, host=host, folder=folder, cpus=CPUS, memory=MEMORY_MB)
    CONF.parent.mkdir(exist_ok=True)
    CONF.write_text(text)
    _run_munged()
    daemons = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in (["slurmctld", "-D", "-c"], ["slurmd", "-D", "-c", "-N", host])
    ]
    try:
        _wait_until_idle()
        yield
    finally:
        subprocess.run(["scancel", "--partition", "main"], check=False)
        time.sleep(1)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()
        CONF.unlink()


def _run_munged() -> None:
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
        return
    if not Path("/etc/munge/munge.key").exists():
        subprocess.run(["mungekey"], check=True)
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge")
    subprocess.run(["su", "munge", "-s", "/bin/sh", "-c", "munged"], check=True)


def _wait_until_idle(seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        shown = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False).stdout.strip()
        if shown == "idle":
            return
        time.sleep(0.5)
    raise RuntimeError(f"Slurm did not start in {seconds} s; sinfo says {shown!r}")
