"""Where the real data is; tests that need it carry the mark `realdata`."""

from pathlib import Path

import hypothesis
import pytest
from paths import DATA

# A shared machine is slow at times: how long an example takes is no defect.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


def pytest_collection_modifyitems(items):
    """Skip, with the reason, what needs real data where there is none."""
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
