"""A model trained on a store predicts for a file what it predicts for the same clip of the store."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import deepfusion
from mediafiles import Audio, Video, numbered, write
from small_corpus import extract, portrait, voice
from small_model import SLOTS

from deepfusion.errors import UserError
from deepfusion.fusion.model import load_model
from deepfusion.prediction.predictor import load
from deepfusion.store import FeatureStore

SPEAKERS, PITCH = ("anna", "bert", "cara"), {"dark": 130, "light": 240}
FAST = {"epochs": 3, "learning_rates": (1e-2,), "axes": (4,), "inner_folds": 2, "seeds": (0,), "members": 2}
STREAMS = {
    "training": {},
    "speaker": {"audio": ("AF", "AF-clip"), "normalisation": "speaker"},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """The manifest of clips whose brightness and pitch are their class, three of which lack a modality."""
    folder = tmp_path_factory.mktemp("trained")
    options = {"options": {"preset": "ultrafast", "crf": "18"}}
    rows = ["id,path,label,speaker"]
    for i, speaker in enumerate(SPEAKERS):
        for label, pitch in PITCH.items():
            images = [image // (2 if label == "dark" else 1) for image in portrait(8 + i)]
            write(folder / f"{speaker}-{label}.mp4", Video(images, **options), voice(1.0 + i / 4, pitch=pitch + 9 * i))
            rows.append(f"{speaker}-{label},{speaker}-{label}.mp4,{label},{speaker}")
    write(folder / "mute.mp4", Video(portrait(8), **options))
    write(folder / "voice.wav", audio=Audio(voice(pitch=200).pieces, rate=16000))
    write(folder / "nobody.mp4", Video(numbered(8, 320, 256), **options), voice(pitch=140))
    rows += ["mute,mute.mp4,light,anna", "voice,voice.wav,light,bert", "nobody,nobody.mp4,dark,cara"]
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def store(clips) -> Path:
    torch.set_num_threads(1)
    return extract(clips, clips.parent / "results", slots=SLOTS, engine="auto")


@pytest.fixture(scope="module", params=STREAMS)
def model_folder(request, store, clips) -> Path:
    """What `snakemake train_fbp` leaves."""
    folder = clips.parent / request.param
    folds = json.dumps([{"name": "fold1", "test": SPEAKERS[:1]}])
    settings = json.dumps({**FAST, **STREAMS[request.param]})
    command = ["train-fbp", "--store", str(store), "--folds", folds, "--out", str(folder)]
    done = deepfusion(*command, "--settings", settings, "--device", "cpu", cwd=clips.parent)
    assert done.returncode == 0, done.stderr
    return folder


def of_the_store(model, store) -> dict:
    """Clip id -> what the model answers for what the store holds of it."""
    with FeatureStore(store) as opened:
        found = {clip.id: clip for clip in opened}
        if model.card["normalisation"] == "training":
            return {id_: model.predict(clip) for id_, clip in found.items()}
        speaker = opened.clips["speaker"]
        statistics = {
            who: model.statistics(clip for id_, clip in found.items() if speaker[id_] == who) for who in SPEAKERS
        }
        return {id_: model.predict(clip, statistics[speaker[id_]]) for id_, clip in found.items()}


def test_a_file_and_its_clip_of_the_store_have_the_same_answer(model_folder, store, clips):
    wanted = of_the_store(load_model(model_folder), store)
    with load(model_folder, device="cpu") as model:
        found = {prediction.id: prediction for prediction in model.predict(clips)}
    assert {id_: prediction.status for id_, prediction in found.items() if prediction.status != "ok"} == {
        "mute": "video_only",
        "voice": "audio_only",
        "nobody": "audio_only",
    }
    assert found.keys() == wanted.keys()
    for id_, answer in wanted.items():
        there = found[id_]
        np.testing.assert_allclose(there.probabilities, answer.probabilities, rtol=0, atol=1e-6, err_msg=id_)
        assert there.answer.used == answer.used and there.probabilities.sum() == pytest.approx(1)
        assert set(there.by_modality.index) == set(answer.by_modality) == set(answer.used)
        for modality, alone in answer.by_modality.items():
            np.testing.assert_allclose(there.by_modality.loc[modality], alone, rtol=0, atol=1e-6)
        for modality, attention in answer.attention.items():
            np.testing.assert_allclose(there.attention[modality].weight, attention.weight, rtol=0, atol=1e-6)
            np.testing.assert_array_equal(there.attention[modality].time, attention.time)
            assert attention.weight.sum() == pytest.approx(1, abs=1e-5)
    answers = np.array([answer.probabilities for answer in wanted.values()])
    assert np.ptp(answers[:, 0]) > 1e-3  # a model that answers the same for all would pass


def test_the_command_line_gives_the_same(model_folder, store, clips, tmp_path):
    model, given = load_model(model_folder), clips.parent / "anna-light.mp4"
    with FeatureStore(store) as opened:
        clip = opened["anna-light"]
        # Without a speaker, the clip itself is all that is known of the person.
        alone = None if model.card["normalisation"] == "training" else model.statistics([clip])
        wanted = model.predict(clip, alone)
    command = ["predict", str(given), "--model", str(model_folder), "--out", "out", "--window", "0.3"]
    norm = ["--norm", "none" if alone is None else "clip-set"]
    done = deepfusion(*command, *norm, "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "on unseen speakers: accuracy" in done.stdout and "acted emotion" in done.stdout
    assert "1 of 1 clips were used to train this model" in done.stdout
    (found,) = json.loads((tmp_path / "out" / "predict.json").read_text())["clips"]
    assert list(found["probabilities"].values()) == pytest.approx(wanted.probabilities.tolist(), abs=1e-6)
    assert len(found["windows"]) == 3 and all(window["label"] for window in found["windows"])
    page = (tmp_path / "out" / "predict.html").read_text()
    assert "anna-light" in page and "orange: attention" in page


def test_what_a_model_is_not_trained_for_is_refused(model_folder, clips, tmp_path):
    with load(model_folder, device="cpu") as model:
        trained = model.card["normalisation"]
        with pytest.raises(UserError, match=f"normalised by {trained}"):
            list(model.predict(clips, norm="speaker" if trained == "training" else "none"))
    with pytest.raises(UserError, match="holds no model"):
        load(tmp_path)
