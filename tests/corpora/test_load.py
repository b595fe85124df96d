"""Corpora by name: adapters, manifests, and what is said when there is none."""

import csv
import re
import subprocess
import sys

import pytest
from paths import ROOT

from deepfusion.cache_key import file_sha256
from deepfusion.corpora import adapters, kinds, load, read_manifest, write_manifest
from deepfusion.corpora.adapters import javsed as adapter
from deepfusion.errors import UserError

DOCS = ROOT / "docs"


def media(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"media")
    return folder


@pytest.mark.realdata
def test_javsed_says_what_its_own_list_says(javsed):
    corpus = load(kind="javsed", name="Java-SED", path=javsed)
    with (javsed / "manifest.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
    assert len(corpus.clips) == len(rows) == 240 and corpus.labels == adapter.LABELS
    assert corpus.clips["label"].tolist() == [row["emotion"] for row in rows]
    assert corpus.clips["speaker"].tolist() == [row["speaker"] for row in rows]
    assert corpus.clips["path"].tolist() == [str(javsed / row["path"]) for row in rows]
    assert corpus.clips["id"].is_unique and corpus.clips["label"].value_counts().eq(40).all()
    assert file_sha256(corpus.clips["path"][7]) == rows[7]["sha256"]


@pytest.mark.realdata
def test_resolved_manifest_is_the_corpus(javsed, tmp_path):
    corpus = load(kind="javsed", name="Java-SED", path=javsed)
    write_manifest(tmp_path / "manifest.csv", corpus.clips)
    again = load(kind="manifest", name="Java-SED", path=tmp_path / "manifest.csv", labels=corpus.labels)
    assert again.clips.equals(corpus.clips) and again.labels == corpus.labels


def test_javsed_from_names_alone(tmp_path):
    corpus = load(
        kind="javsed",
        name="j",
        path=media(tmp_path, "x/10-04-06_01.MP4", "._01-01-01_01.mp4", "01-01-01_01.mp4", "readme.txt"),
    )
    assert corpus.clips[["id", "label", "speaker", "split"]].to_numpy().tolist() == [
        ["01-01-01_01", "neutral", "javsed_01", ""],
        ["10-04-06_01", "angry", "javsed_10", ""],
    ]
    assert corpus.clips["start"].isna().all() and "Arifin" in corpus.citation and "MIT" in corpus.licence


@pytest.mark.parametrize(
    ("names", "settings", "said"),
    [
        (["01-01-07_01.mp4"], {}, "is not named SPEAKER-SENTENCE-EMOTION_TAKE.mp4"),
        (["holiday.mp4"], {}, "holiday.mp4 is not named"),
        ([], {}, "holds no clips of javsed"),
        (["a/01-01-01_01.mp4", "b/01-01-01_01.mp4"], {}, "two clips have the id '01-01-01_01'"),
        (["01-01-03_01.mp4"], {"labels": ["sad", "angry"]}, "labels that are not listed: happy"),
        (
            ["01-01-03_01.mp4"],
            {"kind": "javset"},
            "unknown kind of corpus 'javset': known are manifest, folder, demo, afew, cremad,",
        ),
    ],
)
def test_folder_that_is_not_the_corpus(tmp_path, names, settings, said):
    with pytest.raises(UserError, match=said):
        load(**{"kind": "javsed", "name": "j", "path": media(tmp_path, *names)} | settings)


def test_no_such_folder(tmp_path):
    with pytest.raises(UserError, match="nowhere: there is no such folder; it should hold the clips of javsed"):
        load(kind="javsed", name="j", path=tmp_path / "nowhere")


def test_labels_of_a_manifest(tmp_path):
    media(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "m.csv").write_text("path,label,speaker\na.mp4,sad,1\nb.mp4,calm,2\n")
    assert load(kind="manifest", name="m", path=tmp_path / "m.csv").labels == ["calm", "sad"]
    ordered = load(kind="manifest", name="m", path=tmp_path / "m.csv", labels=["sad", "happy", "calm"])
    assert ordered.labels == ["sad", "happy", "calm"]
    with pytest.raises(UserError, match="unknown label 'calm'"):
        load(kind="manifest", name="m", path=tmp_path / "m.csv", labels=["sad"])


def test_example_of_the_manual_is_an_adapter(tmp_path, monkeypatch):
    """The complete example of docs/corpora.md, put where it says, works."""
    (example,) = re.findall(r"```python\n(\"\"\".*?)```", (DOCS / "corpora.md").read_text(), re.DOTALL)
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "mine.py").write_text(example)
    monkeypatch.setattr(adapters, "__path__", [*adapters.__path__, str(tmp_path / "adapters")])
    assert "mine" in kinds()
    names = ["AudioVisualClip/DC/a1.avi", "AudioVisualClip/KL/su15.avi", "AudioData/DC/a01.wav"]
    corpus = load(kind="mine", name="m", path=media(tmp_path / "data", *names))
    monkeypatch.delitem(sys.modules, "deepfusion.corpora.adapters.mine")
    assert corpus.clips[["id", "label", "fold"]].to_numpy().tolist() == [
        ["DC_a01", "anger", "3"],
        ["KL_su15", "surprise", "2"],
    ]
    assert corpus.citation and corpus.licence


def test_manifest_of_the_manual_is_a_manifest(tmp_path):
    (example,) = re.findall(r"```csv\n(.*?)```", (DOCS / "corpora.md").read_text(), re.DOTALL)
    (tmp_path / "clips.csv").write_text(example)
    media(tmp_path, *(line.split(",")[0] for line in example.splitlines()[1:]))
    assert len(read_manifest(tmp_path / "clips.csv", labels=None)) == len(example.splitlines()) - 1


def test_importing_corpora_is_light():
    script = "import sys, deepfusion.corpora.adapters.javsed; print(*{name.split('.')[0] for name in sys.modules})"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "cv2", "dlib", "av", "sklearn", "scipy", "pydantic", "yaml"} & set(modules)
