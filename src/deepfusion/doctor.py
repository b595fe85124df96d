"""Installed versions and the machine (`deepfusion info --system`), and checks of both (`deepfusion doctor`)."""

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import deepfusion
from deepfusion import costs
from deepfusion.cache_key import file_sha256
from deepfusion.errors import ClipError, MachineError, UserError
from deepfusion.networks.catalogue import SHIPPED
from deepfusion.versions import installed_version

FREE_GB = 2.0  # a corpus of an hour with all features in float32 takes about as much
MEMORY_GB = 4.0
CLIP = "s01-f0-v0-t0"  # of the demo corpus


@dataclass(frozen=True)
class Check:
    """One finding of `doctor`.

    Attributes:
        name: What was checked.
        status: failed: clips cannot be processed; warning: they can, with the limit that `detail` names.
        detail: What was found, and how to mend it.
    """

    name: str
    status: Literal["ok", "warning", "failed"]
    detail: str


def system() -> dict[str, Any]:
    """Versions, machine and weights, for a bug report. Imports torch if it is installed; never fails."""
    return {
        "deepfusion": deepfusion.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": costs.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "free_disk_gb": round(shutil.disk_usage(".").free / 1e9, 1),
        "device": _device(),
        "packages": {name: installed_version(name) for name, _ in requirements()},
        "weights": {
            str(path.relative_to(SHIPPED)): file_sha256(path) for path in sorted(SHIPPED.rglob("*.safetensors"))
        },
    }


def system_lines(found: dict[str, Any]) -> str:
    """The result of `system` as text."""
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in found.items() if not isinstance(value, dict)]
    lines.append(
        "packages: " + ", ".join(f"{name} {version or 'missing'}" for name, version in found["packages"].items())
    )
    lines += ["weights:", *(f"  {name}  sha256 {sha256}" for name, sha256 in found["weights"].items())]
    return "\n".join(lines)


def doctor() -> Iterator[Check]:
    """All checks, one after another; the last one predicts a generated clip, which takes about ten seconds."""
    wrong = [problem for name, wanted in requirements() if (problem := _problem(name, wanted))]
    how = "pip install 'deepfusion[pipeline]'"
    detail = (
        f"{'; '.join(wrong)}: {how}" if wrong else f"Python {platform.python_version()}, all packages of the pipeline"
    )
    yield Check("installation", "failed" if wrong else "ok", detail)
    found = system()
    yield _enough("cores", found["cores"], 2, "clips are processed one at a time")
    yield _enough("memory, GB", found["memory_gb"], MEMORY_GB, "use one worker")
    yield _enough("free disk here, GB", found["free_disk_gb"], FREE_GB, "enough for trials only")
    yield Check("device", "ok", f"`device: auto` takes {found['device']}")
    if wrong:
        return  # nothing below can run
    yield _tried("weights", _weights)
    yield _tried("self test", _self_test)


def requirements() -> list[tuple[str, Any]]:
    """Name and version specifier of the core's packages and of the extra `pipeline`."""
    from packaging.requirements import Requirement

    every = [Requirement(text) for text in metadata.requires("deepfusion") or []]
    wanted = [one for one in every if one.marker is None or one.marker.evaluate({"extra": "pipeline"})]
    return [(one.name, one.specifier) for one in wanted]


def _problem(name: str, wanted: Any) -> str:
    version = installed_version(name)
    if version is None:
        return f"{name} is missing"
    return "" if wanted.contains(version, prereleases=True) else f"{name} {version} is installed, {wanted} is needed"


def _enough(name: str, value: float | None, least: float, otherwise: str) -> Check:
    if value is None:
        return Check(name, "warning", "unknown on this system")
    return Check(name, "ok", f"{value}") if value >= least else Check(name, "warning", f"{value}: {otherwise}")


def _tried(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", check())
    except (UserError, ClipError, MachineError, OSError, ImportError) as error:
        return Check(name, "failed", f"{error}; please report it with `deepfusion info --system`")


def _weights() -> str:
    """Compare the face networks and the audio encoder with the hashes in the card of the package's model."""
    from deepfusion.fusion.model import load_model
    from deepfusion.prediction.predictor import check_weights, extraction_of

    model = load_model(SHIPPED / "model")
    check_weights(model.card["weights"], extraction_of(model.extraction))
    return f"the model of the package and the {len(model.card['weights'])} networks that it was trained with"


def _self_test() -> str:
    """Generate a clip, extract its features and predict it with the model of the package."""
    from deepfusion.corpora.demo.render import render

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, deepfusion.load() as model:
        clip = Path(folder, "clip.mp4")
        render(CLIP, clip, seed=0)
        found = model.predict(clip)
    if found.status != "ok":
        raise ClipError(f"the generated clip has status {found.status}: {found.reason}")
    return (
        f"a generated clip: {found.frames['success'].sum()} faces, {found.label}, {time.perf_counter() - start:.0f} s"
    )


def _device() -> str:
    """What `networks.inference.device("auto")` takes, and what else is there."""
    try:
        import torch
    except ImportError:
        return "unknown: torch is missing"
    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name()}"
    return "cpu" + ("; there is also `device: mps`" if torch.backends.mps.is_available() else "")


def _memory_gb() -> float | None:
    if sys.platform == "win32" or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
