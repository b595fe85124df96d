"""deepfusion verify: every flipped bit is found, and the datasets and clips that it hits are named."""

import json
import random
import shutil
import sys

import h5py
import numpy as np
import pytest
from damage import flip, flip_in

from deepfusion.errors import UserError
from deepfusion.store import verify as module
from deepfusion.store.checksum import seal
from deepfusion.store.verify import lines, verify

FLIPS = 100


def test_sound_files(finished, tmp_path):
    (tmp_path / "fold").mkdir()
    shutil.copy(finished.path, tmp_path)
    shutil.copy(finished.audio[0], tmp_path / "fold")
    with h5py.File(tmp_path / "attention.h5", "w") as file:  # another layout: none of ours
        file["clip"] = [1]
    found = list(verify([tmp_path, tmp_path / "features.h5"]))
    assert [report.path.name for report in found] == ["features.h5", "spectrogram-0.h5"]
    assert not any(report.problems or report.damaged for report in found)
    assert lines(found[0]).endswith("features.h5: ok")


@pytest.mark.parametrize("kind", ["store", "shard"])
def test_every_flipped_bit_is_found(finished, tmp_path, kind):
    content = (finished.path if kind == "store" else finished.video["EF-VGG"][1]).read_bytes()
    dice = random.Random(kind)
    for i in range(FLIPS):
        (tmp_path / f"{i:03}.h5").write_bytes(content)
        flip(tmp_path / f"{i:03}.h5", dice.randrange(len(content)), dice.randrange(8))
    found = list(verify([tmp_path]))
    assert len(found) == FLIPS
    assert all(report.damaged and report.problems for report in found)


def test_names_datasets_and_clips(corpus):
    with h5py.File(corpus.path) as file:
        chunk = file["video/landmarks"].chunks[0]
    assert 5 < chunk < 135
    flip_in(corpus.path, "video/landmarks", 135)  # rows 120 to 179: the end of bert/1, all of bert/2, cleo and cleo/2
    flip_in(corpus.path, "clips/label")
    (report,) = verify([corpus.path])
    hit = {problem.dataset: problem.clips for problem in report.problems}
    first = 135 // chunk * chunk
    offsets = np.cumsum([0, 5, 0, 130, 7, 1, 40])
    wanted = [clip for i, clip in enumerate(corpus.ids) if offsets[i] < first + chunk and offsets[i + 1] > first]
    assert hit == {"clips/label": tuple(corpus.ids), "video/landmarks": tuple(wanted)}
    assert "bert/2" in wanted and "anna/ä-1" not in wanted
    text = lines(report)
    assert "features.h5: damaged\n" in text and f"rows {first}:{first + chunk}: the checksum is wrong; clips" in text


def test_names_the_clips_of_the_audio_encoder(corpus):
    flip_in(corpus.path, "audio/AF/positions")
    flip_in(corpus.path, "audio/AF/frequency")
    (report,) = verify([corpus.path])
    hit = {problem.dataset: problem.clips for problem in report.problems}
    heard = tuple(clip for clip in corpus.ids if len(corpus.expected[clip]["AF"]))
    assert hit == {"audio/AF/frequency": (), "audio/AF/positions": heard}


def test_names_the_clips_of_a_shard(corpus):
    flip_in(corpus.video["EF-A"][1], "EF-A")
    (report,) = verify([corpus.video["EF-A"][1]])
    assert [(problem.dataset, problem.clips) for problem in report.problems] == [("EF-A", ("bert/1", "bert/2"))]


def resealed(path):
    with path.open("r+b") as file:
        seal(file)


def test_contents_that_a_program_changed(corpus):
    """The checksums of file and chunks are right, and the contents are not those of content_sha256."""
    with h5py.File(corpus.path, "r+") as file:
        file["audio/spectrogram"][3, 5] += 1
    resealed(corpus.path)
    (report,) = verify([corpus.path])
    assert [(p.dataset, p.reason) for p in report.problems] == [
        ("audio/spectrogram", "its contents differ from content_sha256")
    ]


def test_missing_chunks(tmp_path, kit):
    """HDF5 reads a chunk that was never written as zeros."""
    corpus = kit.Corpus(tmp_path)
    with h5py.File(corpus.audio[0], "r+") as file:
        attributes = dict(file["spectrogram"].attrs)
        del file["spectrogram"]
        data = file.create_dataset("spectrogram", (5, 200), "f4", chunks=(1, 200), fletcher32=True)
        data.attrs.update(attributes)
        data[0] = 1
    resealed(corpus.audio[0])
    (report,) = verify([corpus.audio[0]])
    assert [(p.dataset, p.reason) for p in report.problems] == [("spectrogram", "4 of 5 chunks are missing")]


def test_truncated_empty_and_foreign_files(corpus, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    content = corpus.path.read_bytes()
    (folder / "a.h5").write_bytes(content[: len(content) // 2])
    (folder / "b.h5").write_bytes(b"")
    with h5py.File(folder / "c.h5", "w") as file:
        file.attrs.update({"layout": "deepfusion-feature-store", "layout_version": 1})
    a, b, c = verify([folder])
    assert a.damaged and b.damaged and not c.damaged
    assert "truncated file" in a.problems[0].reason
    assert "has no checksum: an earlier version" in c.problems[0].reason


def test_nothing_to_verify(tmp_path):
    with pytest.raises(UserError, match="there is no such file or folder"):
        list(verify([tmp_path / "x"]))
    with pytest.raises(UserError, match="no store and no shard in this folder"):
        list(verify([tmp_path]))


def test_a_file_that_crashes_the_library_costs_only_itself(corpus, tmp_path, monkeypatch):
    """An interpreter that dies of the second file stands for a library that does."""
    paths = [shutil.copy(corpus.audio[0], tmp_path / f"{name}.h5") for name in ("a", "crash", "c")]
    for path in paths:
        flip_in(path, "spectrogram")
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nfor last; do :; done\n[ "$3" = "{paths[1]}" ] && kill -SEGV $$\n'
        f'{sys.executable} "$1" "$2" "$3"\n[ "$4" ] && kill -SEGV $$\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(module.sys, "executable", str(python))
    a, crash, c = verify(paths)
    assert [report.problems[0].dataset for report in (a, c)] == ["spectrogram", "spectrogram"]
    assert crash.problems[0].reason == "its structure is damaged: reading it ends with status -11"


def test_command(corpus, deepfusion):
    done = deepfusion("verify", corpus.path)
    assert done.returncode == 0 and done.stdout == f"{corpus.path}: ok\n"
    flip_in(corpus.path, "video/EF-B")
    done = deepfusion("verify", corpus.folder)
    assert done.returncode == 1
    assert done.stdout.count(": ok\n") == 18 and "features.h5: damaged\n  video/EF-B: rows" in done.stdout
    done = deepfusion("verify", "--json", corpus.path)
    found = json.loads(done.stdout)
    assert done.returncode == 1 and found["damaged"] and found["problems"][0]["dataset"] == "video/EF-B"
    assert "bert/1" in found["problems"][0]["clips"]
    assert deepfusion("verify", corpus.folder / "nothing").returncode == 2
