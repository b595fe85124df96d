"""`deepfusion predict` from end to end: lines, files, exit status, resuming."""

import csv
import json
import shutil
from math import nan
from types import SimpleNamespace

import pandas as pd
import pytest
from small_model import LABELS, predict_all

from deepfusion.cache_key import file_sha256
from deepfusion.errors import UserError
from deepfusion.extract.common import TRANSIENT
from deepfusion.prediction.file_names import file_name
from deepfusion.prediction.records import Records
from deepfusion.prediction.run import EXIT_ALL, EXIT_SOME, outputs_of


def test_all_files_and_a_line_for_each_clip(media, tmp_path, predictor):
    status, said = predict_all(predictor, [media / "manifest.csv"], tmp_path, "csv", "json", "html", window=0.5)
    assert status == EXIT_SOME
    assert said[0].startswith("model small (00000000)") and "A test." in said
    assert said.count("features are normalised by the training clips") == 1
    assert len([line for line in said if "no answer" in line]) == 2
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert table["id"].tolist() == ["good", "part", "hidden", "mute", "voice", "nobody", "broken", "cut", "other"]
    assert table.loc[table["status"].eq("failed"), LABELS].isna().all(axis=None)
    assert table["reason"].fillna("").ne("").tolist() == [False, False, False, True, True, True, True, True, False]
    found = json.loads((tmp_path / "predict.json").read_text())
    assert found["labels"] == LABELS and found["window"] == 0.5
    assert [clip["label"] for clip in found["clips"]] == table["label"].fillna("").tolist()
    assert [clip["probabilities"].get("sad") for clip in found["clips"]][:3] == pytest.approx(
        table["sad"][:3], abs=1e-6
    )
    windows = pd.read_csv(tmp_path / "windows.csv")
    assert set(windows["id"]) == set(table["id"]) - {"broken", "cut"}
    assert {path.stem for path in (tmp_path / "frames").iterdir()} == set(windows["id"]) - {"voice"}
    assert len(pd.read_csv(tmp_path / "frames" / "good.csv")) == 12
    assert "predict.html" in {path.name for path in tmp_path.iterdir()}


def test_exit_status_and_no_files_without_a_folder(media, predictor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert predict_all(predictor, [media / "clips" / "good.mp4"], None)[0] == EXIT_ALL
    assert predict_all(predictor, [media / "clips" / "broken.mp4"], None)[0] == EXIT_SOME
    assert not list(tmp_path.iterdir())


def test_clips_of_the_training_are_named(media, tmp_path, predictor, monkeypatch):
    monkeypatch.setitem(predictor.card, "trained_on", [file_sha256(media / "clips" / "good.mp4")[:16], "0" * 16])
    clips = [media / "clips" / name for name in ("good.mp4", "other.mp4")]
    said = predict_all(predictor, clips, tmp_path, "html")[1]
    (known,) = [line for line in said if "used to train" in line]
    assert known == ("1 of 2 clips were used to train this model, so their predictions do not show its accuracy: good")
    assert known in (tmp_path / "predict.html").read_text()


@pytest.fixture
def three(media, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("good", "mute", "other"):
        shutil.copy(media / "clips" / f"{name}.mp4", clips)
    return clips


def test_resumes_by_content_and_settings(three, tmp_path, predictor):
    out, asked = tmp_path / "out", predictor.model.asked

    def predicted(**options):
        before = len(asked)
        status, said = predict_all(predictor, [three], out, "csv", **options)
        assert status == EXIT_ALL and len([line for line in said if ".mp4" in line]) == 3
        return len(asked) - before

    assert predicted() == 3
    first = (out / "predictions.csv").read_bytes()
    assert predicted() == 0 and (out / "predictions.csv").read_bytes() == first
    assert predicted(top=3) == 0  # the same predictions, other lines
    (three / "good.mp4").write_bytes((three / "other.mp4").read_bytes())
    assert predicted() == 1
    (out / "frames" / "mute.csv").unlink()
    assert predicted() == 1 and (out / "frames" / "mute.csv").is_file()
    (out / ".records" / "other.json").write_text("{")
    assert predicted() == 1
    assert predicted(window=10) == 6
    assert predicted(window=10, overwrite=True) == 6


def test_a_fault_of_the_machine_is_not_kept(tmp_path):
    (tmp_path / "a.mp4").touch()
    clip = SimpleNamespace(id="a", path=str(tmp_path / "a.mp4"), audio="", start=nan, end=nan, person="")
    records = Records(tmp_path / "out", [])
    for reason, kept in [
        ("", True),
        ("a.mp4: damaged", True),
        (f"no face; a.mp4: stale file handle{TRANSIENT}", False),
    ]:
        records.write(clip, {"reason": reason}, section="", files=[])
        assert records.kept(clip) == kept


def test_a_moved_file_is_predicted_again(tmp_path):
    """Tables and page name the path."""
    records, found = Records(tmp_path / "out", []), {"reason": ""}
    here, there = (tmp_path / name for name in ("here.mp4", "there.mp4"))
    here.touch()
    there.touch()
    clip = SimpleNamespace(id="a", path=str(here), audio="", start=nan, end=nan, person="")
    records.write(clip, found, section="", files=[])
    assert records.kept(clip)
    clip.path = str(there)
    assert not records.kept(clip)


def test_a_killed_run_keeps_what_it_has_predicted(three, tmp_path, predictor, monkeypatch):
    out, asked = tmp_path / "out", predictor.model.asked
    real = predictor.model.predict

    def interrupted(clip, statistics=None):
        if len(clip.get("audio_time", ())) == 0:  # mute, the second of three
            raise KeyboardInterrupt
        return real(clip, statistics)

    monkeypatch.setattr(predictor.model, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_all(predictor, [three], out, "csv")
    monkeypatch.undo()
    before = len(asked)
    assert predict_all(predictor, [three], out, "csv")[0] == EXIT_ALL
    assert len(asked) - before == 2


def test_another_model_predicts_again(three, tmp_path, predictor, monkeypatch):
    predict_all(predictor, [three / "good.mp4"], tmp_path / "out", "csv")
    before = len(predictor.model.asked)
    monkeypatch.setattr(predictor.model, "sha256", "1" * 64)
    predict_all(predictor, [three / "good.mp4"], tmp_path / "out", "csv")
    assert len(predictor.model.asked) - before == 1


def test_what_is_written_and_where(tmp_path):
    assert outputs_of(False, False, False, None) == ([], None)
    assert outputs_of(False, False, False, tmp_path) == (["csv", "json", "html"], tmp_path)
    assert outputs_of(True, False, True, tmp_path) == (["csv", "html"], tmp_path)
    assert outputs_of(False, True, False, None)[1].name == "predictions"
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        outputs_of(True, False, False, tmp_path / "file")


def test_ids_make_safe_and_distinct_file_names():
    names = ["a", "A", "a/b", "../a", "a b", "a:b", "a*b", ".hidden", "", "x" * 300, "ü", "/etc/passwd"]
    files = [file_name(name) for name in names]
    assert len({file.lower() for file in files}) == len(files)
    assert not any(file.startswith("/") or ".." in file.split("/") for file in files)
    assert files[:3] == ["a", files[1], "a/b"] and files[4] == "a b"
    assert all(len(part) < 150 for file in files for part in file.split("/"))


def test_csv_quotes_what_a_name_may_hold(media, tmp_path, predictor):
    strange = tmp_path / 'a, "b" <i>.mp4'
    shutil.copy(media / "clips" / "good.mp4", strange)
    predict_all(predictor, [strange], tmp_path / "out", "csv", "html")
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["id"] == strange.stem and row["path"] == str(strange)
    page = (tmp_path / "out" / "predict.html").read_text()
    assert "<i>" not in page.replace("<i style", "").replace("<i class", "")
