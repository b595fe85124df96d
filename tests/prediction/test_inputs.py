"""Files, folders, manifests and tables become one table of clips with ids of their own."""

import pandas as pd
import pytest

from deepfusion.corpora.columns import COLUMNS
from deepfusion.errors import UserError
from deepfusion.prediction.inputs import clips_of, is_one_file


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/x.mp4", "b/x.mp4", "b/sub/y.wav", "b/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "m.csv").write_text("path,id,speaker,start\nb/x.mp4,mine,anna,0.5\n")
    return tmp_path


def test_files_folders_and_manifests(files):
    table = clips_of(["a/x.mp4", "b", "m.csv"])
    assert table["id"].tolist() == ["x", "sub/y", "x-2", "mine"]
    assert table["path"].tolist() == [str(files / p) for p in ("a/x.mp4", "b/sub/y.wav", "b/x.mp4", "b/x.mp4")]
    assert table.columns.tolist() == list(COLUMNS)
    assert table["start"].notna().tolist() == [False, False, False, True]
    assert len(clips_of(["a/x.mp4", "a/x.mp4", files / "a"])) == 1  # the same file is one clip


def test_a_manifest_may_give_a_clip_several_ids(files):
    (files / "n.csv").write_text("path,id\nb/x.mp4,one\nb/x.mp4,two\n")
    assert clips_of("n.csv")["id"].tolist() == ["one", "two"]
    assert clips_of(["n.csv", "b/x.mp4"])["id"].tolist() == ["one", "two"]


def test_a_table_needs_paths_alone(files):
    table = clips_of(pd.DataFrame({"path": ["a/x.mp4", "b/x.mp4"], "speaker": ["anna", None], "other": [1, 2]}))
    assert table["id"].tolist() == ["x", "x-2"] and table["speaker"].tolist() == ["anna", ""]
    with pytest.raises(UserError, match="no column 'path'"):
        clips_of(pd.DataFrame({"file": ["a"]}))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("a/y.mp4", "no such file or folder; did you mean a/x.mp4"),
        ([], "nothing to predict"),
        ("n.csv", "did you mean m.csv"),
    ],
)
def test_what_is_not_there(files, inputs, message):
    with pytest.raises(UserError, match=message):
        clips_of(inputs)


def test_one_file_or_many(files):
    assert is_one_file("a/x.mp4") and is_one_file(files / "a" / "x.mp4")
    assert not any(map(is_one_file, ["a", "m.csv", ["a/x.mp4"], pd.DataFrame()]))
