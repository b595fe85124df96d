"""What face features are worth: found where they carry the class, chance where they do not, without test speakers."""

import json
import sys
from dataclasses import replace

import face_networks
import h5py
import numpy as np
import pandas as pd
import pytest
from face_networks import (
    attention_predictions,
    difference,
    inner_folds,
    pool,
    pooled_predictions,
    slot_sets,
    summary,
)
from sklearn.preprocessing import StandardScaler
from small_store import LABELS, SETTINGS, make_clips, without, write_store
from tables import face_networks as table

from deepfusion import FeatureStore
from deepfusion.store.layout import seal_attributes


def labelled(clips, *, shuffled=False):
    """The same clips with the class that EF-A shows and EF-B does not, or with classes that nothing shows."""
    labels = [LABELS[int(clip.id.split("-")[1]) % 2] for clip in clips]
    if shuffled:
        np.random.default_rng(0).shuffle(labels)
    return [replace(clip, label=label) for clip, label in zip(clips, labels, strict=True)]


def written(folder, clips):
    folder.mkdir(exist_ok=True)
    path = write_store(folder, clips)
    with h5py.File(path, "r+") as file:
        for slot in ("EF-A", "EF-B"):
            file["video"][slot].attrs.update(network=f"network of {slot}", fingerprint="version 1")
        seal_attributes(file)
    return path


def judged(path, slot):
    with FeatureStore(path) as store:
        return pooled_predictions(store.clips, pool(store, slot), store.labels)[0]


def test_features_that_carry_the_class_are_all_right_and_others_chance(tmp_path):
    clips = make_clips(speakers=6, clips=20)
    path = written(tmp_path / "true", labelled(clips))
    assert summary(judged(path, "EF-A"))["overall"]["accuracy"] == 1
    shuffled = written(tmp_path / "shuffled", labelled(clips, shuffled=True))
    for predictions in (judged(path, "EF-B"), judged(shuffled, "EF-A")):
        assert summary(predictions)["overall"]["clips"] == 120
        # Three standard deviations of 120 throws of a coin.
        assert abs(summary(predictions)["accuracy_mean"] - 0.5) < 0.14


def test_pooling_is_mean_and_deviation_of_the_frames_with_a_face(tmp_path):
    clips = make_clips(speakers=2, clips=2)
    clips[1] = without(clips[1], "face")
    with FeatureStore(written(tmp_path, clips)) as store:
        pooled = pool(store, "EF-A")
        assert slot_sets(store) == [("EF-A",), ("EF-B",), ("EF-A", "EF-B")]
    seen = clips[0].faces[clips[0].valid, :4]
    np.testing.assert_allclose(pooled[0], [*seen.mean(0), *seen.std(0)], rtol=1e-5)
    assert np.isnan(pooled).any(1).tolist() == [False, True, False, False]


def test_no_fit_sees_the_tested_speaker_and_inner_folds_are_whole_speakers(tmp_path, monkeypatch):
    clips = [replace(clip, faces=clip.faces.copy()) for clip in labelled(make_clips(speakers=5, clips=4))]
    for clip in clips:
        clip.faces[:, 1] = int(clip.speaker[1:])  # a column that tells who is fitted on
    fitted = []

    class Recording(StandardScaler):
        def fit(self, x, *args, **kwargs):
            fitted.append(x[:, 1].astype(int).tolist())
            return super().fit(x, *args, **kwargs)

    monkeypatch.setattr(face_networks, "StandardScaler", Recording)
    judged(written(tmp_path, clips), "EF-A")
    fits_of_fold = len(face_networks.GRID) * 4 + 1  # four training speakers make four inner folds; and the last fit
    assert len(fitted) == 5 * fits_of_fold
    for tested in range(5):
        *inner, last = fitted[tested * fits_of_fold : (tested + 1) * fits_of_fold]
        assert set(last) == set(range(5)) - {tested}
        for speakers in inner:
            assert len(set(speakers) - {tested}) == len(set(speakers)) == 3
            assert all(speakers.count(speaker) == 4 for speaker in set(speakers))


def test_inner_folds_of_uneven_speakers_are_disjoint():
    speakers = np.array(["a"] * 5 + ["b"] + ["c"] * 3 + ["d"] * 9 + ["e", "f", "g"])
    division = inner_folds(speakers)
    assert len(division) == face_networks.INNER_FOLDS
    assert all(not set(speakers[learning]) & set(speakers[choosing]) for learning, choosing in division)
    assert sorted(np.concatenate([choosing for _, choosing in division])) == list(range(len(speakers)))


def test_clips_without_a_face_get_the_most_frequent_class_and_are_counted(tmp_path):
    clips = labelled(make_clips(speakers=4, clips=6))
    # One more "odd" than "even" wherever s0 is left out.
    clips[6] = replace(clips[6], label="odd")
    clips[0], clips[1] = without(clips[0], "face"), without(clips[1], "face")
    path = written(tmp_path, clips)
    predictions = judged(path, "EF-A").set_index("clip")
    assert len(predictions) == 24
    assert (predictions.loc[["s0-0", "s0-1"], "p(odd)"] == 1).all()
    assert predictions.loc["s0-2":"s0-5", "p(odd)"].tolist() == [0, 1, 0, 1]
    # Nobody of a speaker has a face.
    path = written(tmp_path, [without(clip, "face") if clip.speaker == "s3" else clip for clip in clips])
    assert judged(path, "EF-A").query("speaker == 's3'")["p(even)"].nunique() == 1


def test_difference_is_mcnemar_s():
    def predictions(said):
        return pd.DataFrame(
            {"clip": list("abcdefgh"), "speaker": ["s"] * 4 + ["t"] * 4, "label": "x"}
            | {"p(x)": np.array(said, float), "p(y)": 1 - np.array(said, float)}
        )

    before, after = predictions([1, 0, 0, 0, 0, 0, 0, 1]), predictions([0, 1, 1, 1, 1, 1, 0, 1]).iloc[::-1]
    found = difference(before, after)
    assert (found["wrong_to_right"], found["right_to_wrong"]) == (5, 1)
    assert found["mcnemar_p"] == pytest.approx(2 * (1 + 6) / 2**6)
    assert found["accuracy_mean"] == pytest.approx((0.5 + 0.5) / 2)
    assert (found["speakers_up"], found["speakers_down"]) == (2, 0)
    assert difference(before, before)["mcnemar_p"] == 1


def test_attention_is_trained_on_the_other_speakers_for_each_set_of_slots(tmp_path):
    clips = labelled(make_clips(speakers=4, clips=8))
    settings = SETTINGS.model_copy(update={"seeds": (face_networks.SEED,), "epochs": 60})
    sets = [("EF-A",), ("EF-B",), ("EF-A", "EF-B")]
    found = attention_predictions(written(tmp_path, clips), sets, settings)
    assert list(found) == sets
    for predictions, candidates in found.values():
        assert sorted(predictions["clip"]) == sorted(clip.id for clip in clips)
        assert predictions.groupby("fold")["speaker"].nunique().tolist() == [1] * 4
        assert list(candidates) == ["fold01", "fold02", "fold03", "fold04"]
    shows, shows_not = (summary(found[slots][0])["accuracy_mean"] for slots in sets[:2])
    assert shows > 0.9
    assert abs(shows_not - 0.5) < 0.27  # three standard deviations of 32 throws of a coin


def test_two_stores_from_the_command_line_to_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    clips = make_clips(speakers=3, clips=4)
    before = written(tmp_path / "javsed-untuned", labelled(clips))
    after = written(tmp_path / "javsed", labelled([without(clips[0], "face"), *clips[1:]]))
    monkeypatch.setattr(face_networks, "FusionSettings", lambda: SETTINGS)
    monkeypatch.setattr(sys, "argv", ["face_networks.py", str(before), str(after), "--out", "found.json"])
    published = {}
    monkeypatch.setattr(face_networks, "publish", lambda out, figures, made_by: published.update(figures))
    face_networks.main()
    assert capsys.readouterr().out.count(": attention ") == 6
    figures = json.loads(json.dumps(published))
    assert len(figures["stores"]["javsed"]["slots"]["EF-A"]["attention"]["chosen_of_fold"]) == 3
    assert [store["clips_without_face"] for store in figures["stores"].values()] == [0, 1]
    assert len(figures["differences"]) == 6
    assert {(d["of"], d["minus"]) for d in figures["differences"]} == {("javsed", "javsed-untuned")}
    lines = table(figures).splitlines()
    assert lines[0].split(" | ")[1:3] == ["pooled, un-tuned", "pooled, fine-tuned"]
    assert [line.split(" | ")[0] for line in lines[2:5]] == [
        "| EF-A: network of EF-A",
        "| EF-B: network of EF-B",
        "| EF-A + EF-B, joined",
    ]
    assert all(line.count("±") == 4 for line in lines[2:5])


def test_stores_of_other_clips_are_refused(tmp_path, monkeypatch, capsys):
    clips = make_clips(speakers=2, clips=2)
    paths = [written(tmp_path / "a", clips), written(tmp_path / "b", clips[:-1])]
    monkeypatch.setattr(sys, "argv", ["face_networks.py", *map(str, paths)])
    with pytest.raises(SystemExit):
        face_networks.main()
    assert "different clips" in capsys.readouterr().err
