"""Groups of alike faces as speakers."""

import numpy as np
import pandas as pd
import pytest

from deepfusion.corpora.needs import SOURCE
from deepfusion.errors import UserError
from deepfusion.extract.speakers import groups, is_untuned, mean_face, with_speakers
from deepfusion.store import ShardWriter, build_store


def test_alike_faces_are_one_group():
    rng = np.random.default_rng(0)
    people = rng.normal(size=(4, 16))
    who = np.array([0, 1, 1, 2, 3, 3, 3, 0, 1, 1])
    faces = people[who] + rng.normal(0, 0.01, (10, 16))
    faces[3] = np.nan
    made = groups(faces, distance=0.6)
    assert made[1] == made[2] == made[8] == "group0001"  # the largest
    assert len(set(made)) == 4 and made[0] == made[7] and made[4] == made[5] == made[6]
    assert made.count(made[3]) == 1
    assert len(set(groups(np.full((3, 4), np.nan), distance=1))) == 3
    assert groups(people[:1], distance=1) == ["group0001"]


def test_only_recognition_networks_tell_people_apart():
    assert is_untuned("dlib-resnet29") and is_untuned("vggface2-resnet50")
    assert not is_untuned("dlib-resnet29-fer2013") and not is_untuned("compact-vgg-fer2013") and not is_untuned("x")


def test_mean_of_the_frames_with_a_face():
    assert mean_face(np.array([[1.0, 3], [np.nan, np.nan], [3, 5]])).tolist() == [2, 4]
    assert np.isnan(mean_face(np.full((2, 3), np.nan))).all()


def write(folder, network):
    ids = [f"c{i}" for i in range(6)]
    people = np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32)
    shards = {name: folder / f"{name}.h5" for name in ("faces", "EF-A", "spectrogram")}
    with (
        ShardWriter(shards["faces"], stage="faces") as track,
        ShardWriter(shards["EF-A"], stage="EF-A", attrs={"network": network}) as faces,
        ShardWriter(shards["spectrogram"], stage="spectrogram") as audio,
    ):
        track.column("time", dtype=np.float64)
        track.column("reason", dtype=np.uint8)
        faces.column("EF-A", (8,), np.float32)
        audio.column("time", dtype=np.float64)
        audio.column("spectrogram", (4,), np.float32)
        for i, id_ in enumerate(ids):
            rows = {track: {"time": np.arange(3.0), "reason": np.zeros(3, np.uint8)}}
            rows |= {faces: {"EF-A": np.tile(people[i % 2], (3, 1))}, audio: {}}
            for shard, columns in rows.items():
                shard.begin(id_)
                for name, values in columns.items():
                    shard.append(name, values)
                shard.end()
    manifest = pd.DataFrame({"id": ids, "path": [f"/x/{id_}.mp4" for id_ in ids], "label": "", "speaker": ""})
    manifest = manifest.assign(split="", start=np.nan, end=np.nan)
    video = {name: [shards[name]] for name in ("faces", "EF-A")}
    build_store(folder / "s.h5", manifest, video=video, audio=[shards["spectrogram"]], labels=[], attrs={})
    return manifest, folder / "s.h5"


def test_a_manifest_gets_its_speakers_from_a_store(tmp_path):
    manifest, store = write(tmp_path, "dlib-resnet29")
    made = with_speakers(manifest.iloc[::-1], store)
    assert (
        made.sort_values("id")["speaker"].tolist() == ["group0001", "group0002"] * 3
        or made.sort_values("id")["speaker"].tolist() == ["group0002", "group0001"] * 3
    )
    (source,) = made[SOURCE].unique()
    assert source == "groups of similar faces (dlib-resnet29, distance 0.4), which may split or merge people"
    assert made["path"].tolist() == manifest["path"].tolist()[::-1]
    with pytest.raises(UserError, match="lacks 1 clips of the manifest, first 'new'"):
        with_speakers(pd.concat([manifest, manifest.iloc[:1].assign(id="new")]), store)


@pytest.mark.parametrize(
    ("network", "settings", "said"),
    [
        ("sface-fer2013", {}, "has no recognition network without fine-tuning"),
        (
            "sface-fer2013",
            {"slot": "EF-A"},
            "EF-A is not from a recognition network without fine-tuning: sface-fer2013",
        ),
        ("sface", {}, "no default distance for sface: give --distance"),
    ],
)
def test_a_store_that_cannot_tell(tmp_path, network, settings, said):
    manifest, store = write(tmp_path, network)
    with pytest.raises(UserError, match=said):
        with_speakers(manifest, store, **settings)
