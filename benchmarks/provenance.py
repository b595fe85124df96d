"""Provenance of measured figures: the command, the commit and the machine."""

import json
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from deepfusion.costs import processor

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "av",
    "dlib-bin",
    "h5py",
    "librosa",
    "numpy",
    "opencv-python-headless",
    "scikit-learn",
    "snakemake",
    "torch",
)


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def commit() -> str:
    """The commit that is checked out."""
    return _git("rev-parse", "HEAD")


def publish(out: Path, figures: dict, *, made_by: list[str] | None = None) -> None:
    """Write figures as JSON, with their provenance.

    Args:
        out: File, as a rule under docs/results/.
        figures: The measured figures.
        made_by: Earlier commands that made the measured files.
    """
    changed = _git(
        "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs", ":!README.md", ":!CHANGELOG.md"
    )
    provenance = {
        "commands": [*(made_by or []), shlex.join(["python", *sys.argv])],
        "commit": commit(),
        "changed_since_commit": bool(changed),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "processor": processor(),
            "cores": psutil.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9),
            "system": platform.system(),
            "python": platform.python_version(),
            "packages": {name: version(name) for name in PACKAGES},
        },
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"provenance": provenance, **figures}, indent=1) + "\n")
    print(f"{out} written")
