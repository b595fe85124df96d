"""Features of other tools train like the store's own; the output of training states shared and unknown speakers."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_model import SmallModel
from small_store import SETTINGS, make_clips, without, write_store

from deepfusion.corpora.folds import Fold, folds
from deepfusion.corpora.needs import divide
from deepfusion.errors import UserError
from deepfusion.exchange.importing import add_stream
from deepfusion.fusion.streams import check, keys
from deepfusion.fusion.train_fbp import train_fbp
from deepfusion.prediction.predictor import Predictor
from deepfusion.store import FeatureStore

FAST = {"seeds": (0,), "axes": (2,), "learning_rates": (1e-2,), "epochs": 2}
EVERYONE = Fold("everyone", ())


def run(store, folder, chosen, **changes):
    settings = SETTINGS.model_validate({**SETTINGS.model_dump(by_alias=True), **FAST, **changes})
    metrics = train_fbp(store, folder, chosen, everyone=EVERYONE, settings=settings, device=torch.device("cpu"))
    return metrics, json.loads((folder / "model/model.json").read_text())


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A store of three speakers, one clip without audio, with imported EF-MORE and AX-MORE that tell the class."""
    folder = tmp_path_factory.mktemp("imported")
    clips = make_clips(speakers=3)
    clips[1] = without(clips[1], "audio")
    store = write_store(folder, clips)
    rng = np.random.default_rng(0)
    for name in ("EF-MORE", "AX-MORE"):
        (folder / name).mkdir()
        for clip in clips:
            rows = rng.normal(size=(len(clip.faces) if name == "EF-MORE" else 5, 3))
            np.save(folder / name / f"{clip.id}.npy", rows + 3 * (clip.label == "odd"))
        out = folder / f"with-{name}.h5"
        add_stream(store, folder / name, out, name=name, shift=0.2)
        store = out
    return store


def test_imported_streams_train(imported, tmp_path):
    with FeatureStore(imported) as opened:
        chosen = folds(opened.clips["speaker"], protocol="loso")
    streams = {"audio": ("AX-MORE", "AX-MORE-clip", "speech-clip"), "video": ("EF-A", "EF-MORE")}
    metrics, card = run(imported, tmp_path, chosen, epochs=12, **streams)
    assert metrics["models"]["fbp"]["accuracy_mean"] > 0.8
    assert set(card["streams"]) == {*streams["audio"], *streams["video"]}


def test_without_a_list_the_imported_faces_are_used(imported):
    from deepfusion.fusion.rows import streams_in

    with FeatureStore(imported) as opened:
        streams = streams_in(opened, SETTINGS.model_copy(update={"video": None}))
    assert "EF-MORE" in streams["video"] and not any(name.startswith("AX-") for name in streams["audio"])


def test_keys_and_times_of_imported_audio():
    assert keys(["AX-MORE", "AX-MORE-clip", "EF-MORE"]) == ["AX-MORE", "EF-MORE"]
    there = ["spectrogram", "AX-MORE", "EF-A"]
    check({"audio": ["AX-MORE", "speech-clip"], "video": ["EF-A"]}, there)
    with pytest.raises(
        UserError, match="speech and AX-MORE have different times: take one, and the other as AX-MORE-clip"
    ):
        check({"audio": ["speech", "AX-MORE"]}, there)
    with pytest.raises(UserError, match=r"no stream 'AX-MORE'; there are EF-\.\.\., "):
        check({"video": ["AX-MORE"]}, there)


def test_a_model_of_imported_features_predicts_no_media_file():
    with pytest.raises(UserError, match="the model uses EF-MORE, which was imported into its store"):
        Predictor(SmallModel(needs={"EF-A", "EF-MORE"}), device="cpu")


def test_shared_speakers_are_told_in_tables_and_cards(tmp_path):
    clips = [replace(clip, split="test" if i % 3 == 0 else "train") for i, clip in enumerate(make_clips(speakers=3))]
    store = write_store(tmp_path, clips)
    with FeatureStore(store) as opened:
        table = opened.clips.reset_index()
    named = {"protocol": "split", "k": 4, "purpose": "training", "origin": "the store"}
    with pytest.raises(UserError, match="leakage: speakers both trained and tested on"):
        run(store, tmp_path / "refused", divide(table, **named))
    metrics, card = run(store, tmp_path / "out", divide(table, shared_speakers=True, **named))
    said = "training has the speakers of 100.0 % of the test clips (6 of 6), as declared by protocol.shared_speakers"
    assert any(said in note for note in metrics["notes"])
    assert said in card["caution"] and any(said in note for note in card["metrics"]["notes"])


def test_clips_without_a_label_do_not_train(tmp_path):
    clips = make_clips(speakers=4)
    clips = [replace(clip, label="", split="unlabelled") if clip.speaker == "s3" else clip for clip in clips]
    store = write_store(tmp_path, clips)
    chosen = folds(["s0", "s1", "s2"], protocol="loso")
    metrics, card = run(store, tmp_path / "out", chosen)
    assert card["clips"] == metrics["models"]["fbp"]["overall"]["clips"] == 18
