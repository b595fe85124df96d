"""The command line: usage errors are one line and status 2, and what a person sees while it works."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from command_line import deepfusion

from deepfusion import cli
from deepfusion.networks.catalogue import CATALOGUE
from deepfusion.progress import track

DEEPFUSION = str(Path(sys.executable).with_name("deepfusion"))

ONE_SLOT = '{"EF-A": {"network": "sface"}}'
MANIFEST = "path,label,speaker\na.mp4,happy,anna\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["faces", "--clips", "absent.csv", "--out", "x.h5"], "absent.csv"),
        (["faces", "--clips", "m.csv", "--out", "x.h5", "--settings", '{"upsampel": 1}'], "upsampel: Extra inputs"),
        (["faces", "--clips", "m.csv", "--out", "x.h5", "--limits", '{"pixel": 1}'], "pixel: Extra inputs"),
        (["info", "absent.h5"], "absent.h5: there is no such file"),
        (["info", "m.csv"], "m.csv is damaged or not an HDF5 file"),
        (["info"], "give either a feature store or --system"),
        (["info", "m.csv", "--system"], "give either a feature store or --system"),
        (["train-fbp", "--store", "absent.h5", "--folds", "[]", "--out", "x"], "absent.h5"),
        (["faces-report", "absent.h5"], "absent.h5: there is no such file"),
        (["report", ".", "--store", "absent.h5", "--out", "x"], "no results to report"),
        (["demo", "--speaker", "s99", "--out", "x"], "no speaker 's99'"),
        (["finetune", "--data", "m.csv", "--network", "sfase-fer2013", "--out", "x"], "did you mean 'sface-fer2013'"),
        (["finetune", "--data", "m.csv", "--network", "sface", "--out", "x"], "sface is not fine-tuned here; these"),
        (["finetune", "--data", "m.csv", "--network", "vgg-face-fer2013", "--out", "x"], "has no recipe for it"),
        (["finetune", "--data", "m.csv", "--network", "sface-fer2013", "--out", "x"], "m.csv: not FER2013 as"),
        (["pretrain-audio", "--data", "m.csv", "--out", "x"], "m.csv: not a whole file of prepared speech"),
        (["pretrain-audio", "--data", "m.csv", "--out", "x", "--settings", '{"epoch": 1}'], "epoch: Extra inputs"),
        (["prepare-speech", "--manifest", "m.csv", "--out", "x"], "m.csv: column "),
        (
            ["finetune", "--data", "m.csv", "--network", "sface-fer2013", "--out", "x", "--settings", '{"sed": 1}'],
            "sed: Extra inputs",
        ),
        (["prepare-fer2013", "--data", "absent.csv", "--out", "x.npz"], "absent.csv"),
        (["prepare-fer2013", "--data", "m.csv", "--out", "x.npz"], "m.csv"),
        (["ship", "--data", "m.csv", "--trained", "absent", "--out", "w"], "absent: not a folder of"),
        (["corpora", "ravdes"], "no adapter 'ravdes'; there are afew, cremad"),
        (["export", "absent.h5", "--to", "csv", "--out", "x"], "absent.h5: there is no such file"),
        (["export", "absent.h5", "--to", "arff", "--out", "x"], "--to arff: no such format; there are csd, csv"),
        (["import", "absent.h5", "m.csv", "--name", "more", "--out", "x.h5"], "--name more: write EF-NAME"),
        (
            ["cluster-speakers", "absent.h5", "--manifest", "m.csv", "--out", "x.csv"],
            "absent.h5: there is no such file",
        ),
        (["predict", "absent.mp4"], "absent.mp4: there is no such file or folder"),
        (["predict", "m.csv", "--hop", "1"], "a hop needs a window"),
        (["predict", "m.csv", "--window", "-1"], "window -1: it must be a duration above 0 s"),
        (["predict", "m.csv", "--out", "m.csv"], "--out m.csv is a file: give a folder"),
        (["fetch-weights", "vgg-fase", "--out", "w"], "did you mean 'vgg-face'"),
        (["fetch-weights", "arcface-iresnet50", "--out", "w"], "nothing to download"),
        (
            [
                *["networks", "--clips", "m.csv", "--tracks", "t.h5", "x.h5", "y.h5", "--settings"],
                ONE_SLOT,
            ],
            "1 slots (EF-A) and 2 files to write",
        ),
    ],
)
def test_a_usage_error_is_one_line_and_status_2(tmp_path, arguments, message):
    (tmp_path / "m.csv").write_text(MANIFEST)
    (tmp_path / "a.mp4").touch()
    done = deepfusion("--log", "log.txt", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert (tmp_path / "log.txt").read_text().strip() == done.stderr.strip()
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "absent", "--store", "s.h5", "--out", "x"], "absent"),
        (["spectrogram", "--clips", "m.csv", "--out", "x.h5", "--dtype", "float8"], "float8"),
    ],
)
def test_what_the_parser_itself_refuses(tmp_path, arguments, message):
    done = deepfusion(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_names_every_command(tmp_path):
    text = deepfusion("--help", cwd=tmp_path).stdout
    for command in (
        "networks",
        "prepare-fer2013",
        "finetune",
        "ship",
        "prepare-speech",
        "pretrain-audio",
        "fetch-weights",
        "corpora",
        "export",
        "import",
        "cluster-speakers",
        "train-fbp",
        "fusion-study",
        "report",
    ):
        assert f" {command} " in text


def test_the_schema_knows_every_group_and_reason(tmp_path):
    schema = json.loads(deepfusion("schema", cwd=tmp_path).stdout)
    assert set(schema["properties"]) == {
        "corpus",
        "limits",
        "faces",
        "preset",
        "networks",
        "spectrogram",
        "audio_encoder",
        "store",
        "finetune",
        "pretrain_audio",
        "fusion",
        "protocol",
        "study",
        "device",
        "engine",
    }
    assert "lambda" in schema["$defs"]["FusionSettings"]["properties"]


def test_the_networks_are_listed_with_their_terms(tmp_path):
    text = deepfusion("list-networks", cwd=tmp_path).stdout
    for name in CATALOGUE:
        assert name in text
    assert text.count("licence: ") == text.count("cite: ") == len(CATALOGUE)


def test_weights_that_are_there_are_verified_and_named(tmp_path):
    path = tmp_path / "weights" / CATALOGUE["vgg-face"].file
    path.parent.mkdir()
    path.write_bytes(b"weights")
    done = deepfusion("fetch-weights", "vgg-face", "--out", "weights", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"weights/{path.name}"
    assert "is there and verified" in done.stderr
    path.write_bytes(b"others")
    done = deepfusion("fetch-weights", "vgg-face", "--out", "weights", cwd=tmp_path)
    assert done.returncode == 2
    assert "another or a damaged file" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def commands():
    """Name -> every command of the program, as the parser has it."""
    group = typer.main.get_command(cli.app)
    return {name: group.commands[name] for name in group.list_commands(None)}


def test_every_command_and_option_is_documented():
    for name, command in commands().items():
        assert command.help and command.rich_help_panel in cli.GROUPS, name
        for parameter in command.params:
            assert parameter.help, f"{name}: {parameter.name}"
    for parameter in typer.main.get_command(cli.app).params:
        assert parameter.help, parameter.name


def test_the_help_states_every_exit_status(tmp_path):
    text = " ".join(deepfusion("--help", cwd=tmp_path).stdout.split())
    for status in ("0 done", "1 damage", "2 wrong usage", "3 some clips", "130 interrupted"):
        assert status in text


def test_completion_for_a_shell(tmp_path):
    # Typer takes the shell from the parent process; with a second command, bash does not replace itself by the first.
    command = ["bash", "-c", f"{DEEPFUSION} --show-completion; exit $?"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "_DEEPFUSION_COMPLETE=complete_bash" in done.stdout


def test_the_installed_command_ends_with_the_status(tmp_path):
    done = subprocess.run([DEEPFUSION, "info"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "give either a feature store or --system" in done.stderr


def test_progress_without_a_terminal_is_lines(caplog):
    caplog.set_level("INFO", logger="deepfusion")
    assert list(track([1, 2, 3], "faces 00003", unit="clips")) == [1, 2, 3]
    (line,) = caplog.messages  # quick work: only its end is logged
    assert line.startswith("faces 00003: 3/3 clips, ")
    assert line.endswith(" clips/s, 0 s left")


def test_progress_on_a_terminal_is_a_bar_and_lines_go_to_the_log_file(monkeypatch, capsys, caplog):
    caplog.set_level("DEBUG", logger="deepfusion")
    monkeypatch.delenv("DEEPFUSION_PROGRESS", raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(track([1, 2], "faces", unit="clips")) == [1, 2]
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "clips/s" in shown
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
