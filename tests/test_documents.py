"""What the documents say is what was measured; what they show runs, or names commands and options that exist."""

import io
import json
import re
import shlex
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import numpy as np
import package_imports
import pandas as pd
import pytest
import reference
import typer
import yaml
from opened_networks import opened_once
from paths import ROOT
from small_store import make_clips, write_store

from deepfusion.cli import app
from deepfusion.config import check
from deepfusion.corpora.columns import COLUMNS
from deepfusion.corpora.demo.render import render
from deepfusion.networks.catalogue import SHIPPED

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "config/README.md"]
PAGES += sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "docs/notebooks").glob("*.md"))
# Run elsewhere: by tests/store/test_store_manual.py, and by `make docs`.
# film.md reads columns of YuNet, which the small store lacks: tests/store/test_found.py reads them.
ELSEWHERE = {"store.md", "film.md", *(path.name for path in (ROOT / "docs/notebooks").glob("*.md"))}
# Names that examples use without making them.
GIVEN = {"dataframe": pd.DataFrame({"path": ["clip.mp4"]}), "spectrogram": np.full((300, 200), -60.0)}
COMMANDS = typer.main.get_command(app).commands


def blocks(*languages):
    """(page, number, text) of the fenced blocks of a language, as parameters of a test."""
    found = []
    for page in PAGES:
        fenced = re.findall(r"^ *```(\S*)\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)
        texts = [text for language, text in fenced if language in languages]
        found += [pytest.param(page, text, id=f"{page.name}-{i}") for i, text in enumerate(texts)]
    return found


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http", "generated/")):  # generated: written when the site is built
            assert ((ROOT if target.startswith("/") else page.parent) / target.lstrip("/")).exists(), target


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 110
    assert len(re.findall(r"^\|[^-]", text, re.MULTILINE)) <= 7  # one table: a head and six rows


def test_every_page_is_in_the_table_of_contents():
    listed = set(re.findall(r"^([a-z/-]+)$", (ROOT / "docs/index.md").read_text(), re.MULTILINE))
    pages = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    pages -= {"index", "generated/imports", *(page for page in pages if page.startswith("_build"))}
    assert pages | {"generated/configuration", "generated/command-line"} == listed


def test_every_block_names_its_language():
    known = {"bash", "sh", "python", "yaml", "csv", "text", "{toctree}", "{include}", "{literalinclude}", "{eval-rst}"}
    for page in PAGES:
        fences = re.findall(r"^ *```(\S*)", page.read_text(), re.MULTILINE)
        assert set(fences[::2]) <= known | {"{code-cell}"}, page.name
        assert set(fences[1::2]) <= {""}, page.name


def test_the_reference_is_that_of_the_program():
    path = ROOT / "config/README.md"
    assert path.read_text() == reference.readme(path.read_text()), "run python docs/reference.py"
    assert (ROOT / "config/config.yaml").read_text() == (ROOT / "config.yaml").read_text()
    page = reference.configuration()
    assert "| `fusion.lambda` | number ≥ 0, ≤ 1 or `learned` | `0.3` |" in page and "`limits.pixels`" in page
    page = reference.command_line()
    assert all(f"\n## {name}\n" in page for name in COMMANDS) and "`--window`" in page


def test_the_architecture_names_every_package():
    text = (ROOT / "docs/architecture.md").read_text()
    packages = {name for name in package_imports.names() if (package_imports.SOURCE / name).is_dir()}
    assert all(f"`{name}`" in text for name in packages)


def commands(text):
    """The commands of a shell block as lists of words; comments and continued lines are understood."""
    lines = re.sub(r"(^|\s)#.*", "", text.replace("\\\n", " "), flags=re.MULTILINE).splitlines()
    parts = [part for line in lines for part in re.split(r"\s(?:&&|\|)\s|;\s", line)]
    return [words for part in parts if (words := shlex.split(part))]


@pytest.mark.parametrize(("page", "text"), blocks("sh", "bash"))
def test_shell_examples_name_what_exists(page, text):
    for words in commands(text):
        if words[0] == "deepfusion":
            known_command(words[1:])
        elif words[0] == "snakemake":
            known_targets(words[1:])
        elif words[0] == "make":
            targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert {word for word in words[1:] if "=" not in word} <= set(targets), words
        elif words[0] == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file(), words
        else:
            assert words[0] in {"pip", "python", ".", "cp", "pre-commit", "pytest", "docker", "apptainer"}, words


def known_command(words):
    """`deepfusion COMMAND ...`: the command and its options exist."""
    if words[0] in ("COMMAND", "--help"):
        return
    if words[0] == "--log":
        words = words[2:]
    context = COMMANDS[words[0]].make_context(words[0], [], resilient_parsing=True)
    context.resilient_parsing = False
    COMMANDS[words[0]].make_parser(context).parse_args(list(words[1:]))  # raises for an unknown option


def known_targets(words):
    """`snakemake TARGET ...` or `snakemake ... TARGET`: rules or files of the results; the configuration exists."""
    files = [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    rules = set(re.findall(r"^ *(?:rule|checkpoint) (\w+):", "\n".join(map(Path.read_text, files)), re.MULTILINE))
    targets = list(takewhile(lambda word: not word.startswith("-"), words)) or words[-1:]
    assert all(target in {*rules, "--unlock"} or target.startswith("results/") for target in targets), words
    if "--configfile" in words:
        assert (ROOT / words[words.index("--configfile") + 1]).is_file(), words


@pytest.mark.parametrize(("page", "text"), blocks("yaml"))
def test_configurations_are_valid(page, text):
    check(yaml.safe_load(text))


@pytest.mark.parametrize(("page", "text"), blocks("csv"))
def test_manifests_have_known_columns(page, text):
    table = pd.read_csv(io.StringIO(text))
    assert len(table) and set(table.columns) <= {*COLUMNS, "path", "label", "speaker", "id"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the examples read: clips, a store, a csv of OpenFace, and the package's model."""
    folder = tmp_path_factory.mktemp("examples")
    render("s01-f0-v0-t0", folder / "clip.mp4", seed=0)
    (folder / "clips").mkdir()
    (folder / "clips" / "anna-happy-1.mp4").symlink_to(folder / "clip.mp4")
    write_store(folder, make_clips()).rename(folder / "features.h5")
    (folder / "results/mine/fusion").mkdir(parents=True)
    (folder / "results/mine/fusion/fbp").symlink_to(SHIPPED)  # holds `model/`
    table = pd.DataFrame({"frame": [1, 2], " timestamp": [0, 0.04], " AU01_r": [0.5, 1]})
    table.to_csv(folder / "anna-1.csv", index=False)
    (folder / "openface").mkdir()
    with opened_once():
        yield folder


@pytest.mark.parametrize(
    ("page", "text"), [block for block in blocks("python") if block.id.rpartition("-")[0] not in ELSEWHERE]
)
def test_python_examples_run(place, monkeypatch, page, text):
    if page.parent.name == "config":  # Snakemake's language: tests/workflow/test_catalogue.py runs it
        return
    monkeypatch.chdir(place)
    exec(compile(text, str(page), "exec"), dict(GIVEN))


@pytest.mark.parametrize(
    "path", [path.with_suffix(".json") for path in SHIPPED.rglob("*.safetensors")], ids=lambda path: path.stem
)
def test_every_model_card_says_how_to_use_it_responsibly(path):
    section = json.loads(path.read_text())["responsible_use"]
    assert {"meaning", "people", "failures", "consent", "not_intended", "law"} == set(section)
