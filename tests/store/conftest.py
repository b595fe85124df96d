"""Stores with known contents, and the command line."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import command_line
import known_store
import pytest
from known_store import Corpus


@pytest.fixture
def kit():
    """Functions that make shards."""
    return SimpleNamespace(write=known_store.write, track=known_store.track, Corpus=Corpus)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A corpus and its store, to be read only."""
    corpus = Corpus(tmp_path_factory.mktemp("store"))
    corpus.path = corpus.build()
    return corpus


@pytest.fixture
def corpus(tmp_path, finished):
    """A copy of it, to be changed."""
    twin = copy.deepcopy(finished)
    twin.folder = shutil.copytree(finished.folder, tmp_path / "corpus")
    twin.path = twin.folder / finished.path.name
    twin.audio = [twin.folder / path.name for path in finished.audio]
    twin.encoder = [twin.folder / path.name for path in finished.encoder]
    twin.video = {name: [twin.folder / path.name for path in paths] for name, paths in finished.video.items()}
    return twin


@pytest.fixture
def deepfusion():
    """The command line, with `env` (even an empty one) in a process of its own: deepfusion("info", path, env={...})."""

    def run(*arguments, env=None):
        if env is None:
            return command_line.deepfusion(*map(str, arguments), cwd=Path.cwd())
        command = [sys.executable, "-c", "from deepfusion.cli import main; main()", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env})

    return run
