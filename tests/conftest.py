"""Where the real data is, and the order of the files; tests that need real data carry the mark `realdata`."""

from pathlib import Path

import hypothesis
import pytest
from paths import DATA

# A shared machine is slow at times: how long an example takes is no defect.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


# The files that take minutes, longest first: `make test` starts files in this order, so that none is left for the end.
LONG = (
    "test_snakemake.py",
    "test_storage.py",
    "test_slurm.py",
    "test_reliability.py",
    "test_study.py",
)


def pytest_collection_modifyitems(items):
    """Start with the long files; skip, with the reason, what needs real data where there is none."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))
    if DATA.is_dir():
        return
    skip = pytest.mark.skip(reason="the real data (../shared/data beside the repository) is absent")
    for item in items:
        if "realdata" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def javsed() -> Path:
    """Folder of the Java-SED clips: manifest.csv and clips/."""
    return DATA / "javsed"
