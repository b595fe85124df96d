"""What the documents say is what was measured, and what they show runs."""

import json
import re
import subprocess
import sys

import pytest

PAGES = ["store", "corpora", "performance", "predict"]


def test_the_tables_are_those_of_the_results(pytestconfig):
    command = [sys.executable, "benchmarks/tables.py", "--check"]
    done = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_published_figures_say_where_they_come_from(pytestconfig):
    files = sorted((pytestconfig.rootpath / "docs/results").glob("*.json"))
    assert files
    for file in files:
        made = json.loads(file.read_text())["provenance"]
        assert made["commands"], file
        assert re.fullmatch("[0-9a-f]{40}", made["commit"]), file
        assert made["machine"]["processor"], file


@pytest.mark.parametrize(
    "name",
    ["README.md", "docs/store.md", "docs/corpora.md", "docs/exchange.md", "docs/performance.md", "docs/predict.md"],
)
def test_links_lead_somewhere(pytestconfig, name):
    path = pytestconfig.rootpath / name
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if not target.startswith("http"):
            base = pytestconfig.rootpath if target.startswith("/") else path.parent
            assert (base / target.lstrip("/")).exists(), target


def test_commands_of_the_readme_exist(pytestconfig):
    from deepfusion.cli import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    text = (pytestconfig.rootpath / "README.md").read_text()
    assert set(re.findall(r"`deepfusion\s+([a-z][a-z-]+)", text)) <= known
    row = text.split("also runs by hand")[1].split("and `info`")[0]
    assert set(re.findall(r"`([a-z-]+)`", row)) <= known
