"""docs/exchange.md: its examples run, and it names every format."""

import re
import shutil

import pytest
from paths import ROOT

from deepfusion.exchange import known_formats

MANUAL = (ROOT / "docs" / "exchange.md").read_text()
EXAMPLES = [text for text in re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL) if "features.h5" in text]


@pytest.mark.parametrize("i", range(2))
def test_examples_run(known, tmp_path, monkeypatch, i):
    monkeypatch.chdir(tmp_path)
    shutil.copy(known.path, "features.h5")
    names = {}
    exec(EXAMPLES[i], names)
    if i == 0:
        assert len(names["seen"]) == names["frames"]["success"].sum() > 0
    else:
        assert names["same"]


def test_every_format_is_described():
    assert len(EXAMPLES) == 2
    assert sorted(re.findall(r"^\| `(\w+)` \|", MANUAL, re.MULTILINE)) == known_formats()
