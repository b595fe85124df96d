"""deepfusion diff: what differs, where and by how much."""

import json

import numpy as np
import pytest

from deepfusion.store.diff import diff, lines

ATTRS = {"network": "net of EF-A", "sha256": "ab" * 32, "licence": "MIT", "citation": "Someone, 2018"}


def test_equal(finished, tmp_path, kit):
    other = kit.Corpus(tmp_path, block=4).build()  # other shards, other cost
    found = diff(finished.path, other)
    assert found["equal"] and not any(value for name, value in found.items() if name != "equal")
    assert lines(found) == ["equal"]


def test_numbers(finished, corpus):
    values = corpus.features["EF-A"]["cleo/2"]["EF-A"]
    row = int(np.flatnonzero(np.isfinite(values[:, 0]))[0])
    values[row, 0] += 0.25
    corpus.video["EF-A"] = corpus.shards("EF-A", corpus.features["EF-A"], ATTRS)
    found = diff(finished.path, corpus.build())
    assert [name for name, value in found.items() if value] == ["features"]
    (result,) = found["features"].values()
    clean = np.concatenate([finished.expected[clip]["EF-A"] for clip in finished.ids if clip != "anna/ä-2"])
    clean = clean[np.isfinite(clean)].astype(np.float64)
    assert result["clips"] == {"cleo/2": pytest.approx(0.25, rel=1e-5)} and result["changed"] == 1
    assert result["largest"] == pytest.approx(0.25, rel=1e-5)
    assert result["mean"] == pytest.approx(0.25 / clean.size, rel=1e-5)
    assert result["relative"] == pytest.approx(0.25 / np.sqrt(np.mean(clean**2)), rel=1e-5)
    assert lines(found)[0].startswith("EF-A: 1 numbers differ, largest difference 0.25 (")


def test_valid_flags_and_nan(finished, corpus):
    track = corpus.tracks["cleo/2"]
    row = int(np.flatnonzero(track["reason"] == 0)[3])
    track["reason"][row] = 2
    corpus.video["faces"] = corpus.shards("faces", corpus.tracks)
    corpus.features["EF-B"]["cleo/2"]["EF-B"][row] = np.nan
    corpus.video["EF-B"] = corpus.shards("EF-B", corpus.features["EF-B"], ATTRS | {"network": "net of EF-B"})
    found = diff(finished.path, corpus.build())
    assert found["features"]["valid"]["changed"] == 1 and found["features"]["reason"]["largest"] == 2
    assert found["features"]["EF-B"]["only_one_finite"] == 3 and found["features"]["EF-B"]["changed"] == 0
    assert set(found["features"]) == {"valid", "reason", "EF-B"}
    assert list(found["table"]) == ["faces"]


def test_frames_types_and_clips(finished, tmp_path, kit):
    corpus = kit.Corpus(tmp_path, dtype=np.float16)
    sound = corpus.sounds["cleo/2"]
    for name in ("time", "spectrogram"):
        sound[name] = sound[name][:-2]
    attrs = {"rate": 16000, "bins": 200, "floor_db": -100.0}
    corpus.audio = corpus.shards("spectrogram", corpus.sounds, attrs)
    found = diff(finished.path, corpus.build())
    assert found["features"]["spectrogram"]["rows"] == {"cleo/2": [16, 14]}
    assert found["features"]["spectrogram"]["types"] == [["float32", "float16"]]
    assert found["features"]["spectrogram"]["clips"]["cleo/2"] is None
    assert found["features"]["audio_time"]["rows"] == {"cleo/2": [16, 14]}
    assert 0 < found["features"]["EF-A"]["largest"] < 1e-3


def test_clips_table_and_settings(finished, corpus):
    corpus.manifest.loc[0, "speaker"] = "dora"
    corpus.manifest["sentence"] = "s"
    path = corpus.build(
        attrs={"config": json.dumps({"faces": {"size": 3}}), "code_version": "1", "corpus": "six clips"}
    )
    other = finished.build(
        path.parent / "b.h5", attrs={"config": json.dumps({"faces": {"size": 4}}), "corpus": "other"}
    )
    found = diff(other, path)
    assert found["table"] == {"speaker": {"anna/ä-1": ["anna", "dora"]}}
    assert found["columns_only_b"] == ["sentence"]
    assert found["attributes"] == {
        "": {"corpus": ["other", "six clips"], "code_version": [None, "1"], "config: faces.size": [4, 3]}
    }


def test_clips_of_one_of_them_and_their_order(finished, corpus, kit, tmp_path):
    half = kit.Corpus(tmp_path / "half", block=2)
    half.manifest = half.manifest[:2]
    half.video = {name: shards[:1] for name, shards in half.video.items()}
    half.audio, half.encoder = half.audio[:1], half.encoder[:1]
    path = half.build()
    found = diff(finished.path, path)
    assert found["only_a"] == finished.ids[2:] and not found["only_b"] and not found["features"]
    assert lines(diff(path, finished.path))[0].startswith("clips only in B: bert/1")
    corpus.manifest = corpus.manifest.iloc[[2, 3, 0, 1, 4, 5]]
    corpus.video = {name: [shards[1], shards[0], shards[2]] for name, shards in corpus.video.items()}
    for shards in (corpus.audio, corpus.encoder):
        shards[:2] = shards[1::-1]
    found = diff(finished.path, corpus.build())
    assert found["order"] and [name for name, value in found.items() if value] == ["order"]


def test_another_audio_encoder(finished, corpus):
    corpus.positions["bert/1"]["positions"][1, 2, 3] += 0.5
    attrs = {"sha256": "ef" * 32, "frequency": np.array([620.0, 1260.0, 1900.0, 2540.0, 3000.0])}
    corpus.encoder = corpus.shards("AF", corpus.positions, attrs)
    found = diff(finished.path, corpus.build())
    assert {name: result["clips"] for name, result in found["features"].items()} == {
        "AF": {"bert/1": pytest.approx(0.5, rel=1e-5)}
    }
    assert found["attributes"]["AF"]["sha256"] == ["cd" * 32, "ef" * 32]
    assert found["attributes"]["AF"]["frequency"][1][-1] == 3000
    found = diff(finished.path, corpus.build(encoder=[]))
    assert found["keys_only_a"] == ["AF", "AF_time"] and not found["features"]


def test_command(finished, corpus, deepfusion):
    done = deepfusion("diff", finished.path, corpus.path)
    assert (done.returncode, done.stdout) == (0, "equal\n")
    corpus.manifest["label"] = "calm"
    done = deepfusion("diff", finished.path, corpus.build())
    assert done.returncode == 1 and done.stdout.startswith("clips/label: anna/ä-1: 'sad' -> 'calm', ")
    done = deepfusion("diff", "--json", finished.path, corpus.path)
    assert done.returncode == 1 and not json.loads(done.stdout)["equal"]
