"""Pre-training on toy speech, from files to an encoder that is read back."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from toy_speech import SETTINGS, write_corpus

from deepfusion import media
from deepfusion import spectrogram as spectrograms
from deepfusion.config import SpectrogramSettings
from deepfusion.errors import UserError
from deepfusion.networks.audio_encoder import load_encoder
from deepfusion.speech import measure, pretrain
from deepfusion.speech.manifest import read
from deepfusion.speech.network import TrainingNetwork
from deepfusion.speech.prepare import load, prepare
from deepfusion.speech.train import draw, masked_cross_entropy, stretches, task

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The file of `prepare`; one of the clips is damaged."""
    folder = tmp_path_factory.mktemp("toy")
    clips = read(write_corpus(folder), SETTINGS)
    (folder / "tones-2-5.wav").write_bytes(b"RIFF")
    prepare(clips, folder / "speech.h5", settings=SpectrogramSettings(), workers=1)
    return folder / "speech.h5"


def test_prepared_levels_are_the_spectrograms(prepared):
    data = load(prepared)
    assert len(data.clips) == len(data.lengths()) == 35  # the damaged one is left out
    assert not data.clips.path.str.endswith("tones-2-5.wav").any()
    for i in (0, 34):
        samples = media.read_audio(data.clips.path[i], rate=16000).samples
        assert np.abs(data.decibels(i) - spectrograms.spectrogram(samples)).max() <= 0.251
    assert np.array_equal(data.decibels(3, 5, 9), data.decibels(3)[5:9])


def test_another_file_is_refused(tmp_path, prepared):
    for content in (b"no HDF5", prepared.read_bytes()[:5000]):
        (tmp_path / "x.h5").write_bytes(content)
        with pytest.raises(UserError, match="not a whole file of prepared speech"):
            load(tmp_path / "x.h5")


def test_speakers_are_held_out_whole(prepared):
    clips = load(prepared).clips
    trains, held_out = pretrain.split(clips, SETTINGS)
    assert set(clips.corpus[trains]) == set(clips.corpus[held_out]) == {"tones"}
    assert len(set(clips.speaker[held_out])) == 1
    assert not set(clips.speaker[trains]) & set(clips.speaker[held_out])
    assert len(pretrain.split(clips, SETTINGS.model_copy(update={"held_out": 0}))[1]) == 0


def test_draws_follow_size_and_class(prepared):
    lesson = task(load(prepared).clips, np.arange(9), SETTINGS)
    lesson = replace(
        lesson,
        corpus=np.array([0, 0, 0, 0, 0, 0, 0, 0, 1]),
        label=np.array([0, 0, 0, 0, 0, 0, 0, 1, 1]),
        kind=np.array([0, 0]),
        present=np.array([[True, True], [False, True]]),
    )
    picked = draw(lesson, 4000, 0.5, np.random.default_rng(0))
    counts = np.bincount(picked, minlength=9) / 4000
    share = 8**0.5 / (8**0.5 + 1)  # of the larger corpus
    assert counts[8] == pytest.approx(1 - share, abs=0.03)
    assert counts[7] == pytest.approx(share / 2, abs=0.03)


def test_a_short_clip_is_repeated(prepared):
    data = load(prepared)
    (stretch,) = stretches(data, data.levels_on(CPU), np.array([0]), 200, np.random.default_rng(0)).numpy()
    length = data.lengths()[0]
    assert length < 100
    assert np.array_equal(stretch[:length], stretch[length : 2 * length])


def test_absent_classes_do_not_count():
    logits, label = torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1])
    present = torch.tensor([[True, True, False, False]] * 5)
    expected = F.cross_entropy(logits[:, :2], label, label_smoothing=0.1)
    assert masked_cross_entropy(logits, label, present, smoothing=0.1) == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("kind", [0, 1])
def test_folding_changes_nothing(prepared, kind):
    torch.manual_seed(0)
    architecture = pretrain.Architecture(
        pretrain.LAYERS, 64, 70.0, {"rate": 16000, "window_ms": 40, "shift_ms": 10, "dft": 800, "bins": 200}, ("a", "b")
    )
    network = TrainingNetwork(architecture, kinds=2, dropout=0.2)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean):
                torch.nn.init.normal_(values, 0.5, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    network.eval()
    encoder = network.folded(kind)
    decibels = torch.from_numpy(load(prepared).decibels(0))[None]
    length = torch.tensor([decibels.shape[1]])
    with torch.no_grad():
        expected = network(network.front(decibels, length), torch.tensor([kind]))[0]
        found = encoder.logits(encoder(decibels, length)[0][0])
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max())


def test_an_interrupted_run_resumes_and_gives_the_same_weights(prepared, tmp_path, monkeypatch):
    pretrain.pretrain(prepared, tmp_path / "whole", settings=SETTINGS, device=CPU)
    written = pretrain.held_out_recall
    calls = []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:  # in the second epoch
            raise KeyboardInterrupt
        return written(*arguments)

    monkeypatch.setattr(pretrain, "held_out_recall", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain(prepared, tmp_path / "killed", settings=SETTINGS, device=CPU)
    pretrain.pretrain(prepared, tmp_path / "killed", settings=SETTINGS, device=CPU)
    assert len(calls) == 4  # epochs 1 and 2, epoch 2 again, the final one
    first, second = (load_encoder(tmp_path / name / "encoder.safetensors") for name in ("whole", "killed"))
    # Convolutions may round otherwise where memory is aligned otherwise; a lost moment of AdamW changes far more.
    for name, value in first.state_dict().items():
        assert (value - second.state_dict()[name]).abs().mean() < 1e-4, name


def test_it_learns_and_its_card_says_what_from(prepared, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 4, "steps": 15})
    pretrain.pretrain(prepared, tmp_path, settings=settings, device=CPU)
    encoder = load_encoder(tmp_path / "encoder.safetensors")
    card = json.loads((tmp_path / "encoder.json").read_text())
    assert encoder.card == card
    assert card["uar"]["held_out_speakers"]["tones"] > 0.8
    assert set(card["uar"]["unseen_corpora"]) == {"others"}
    assert card["uar"]["unseen_corpora"]["others"]["linear_probe"] > 0.6  # chance 0.33
    assert card["data"]["tones"]["clips"] == 12 and len(card["data"]["tones"]["held_out_speakers"]) == 1
    assert "CC0-1.0" in card["licence"]
    assert (tmp_path / "curve.csv").read_text().count("\n") == 5


def test_recall_and_the_classifiers_own_labels():
    label = np.array(["a", "a", "a", "b", "c"])
    assert measure.recall(label[:4], np.array(["a", "a", "b", "b"])) == pytest.approx((2 / 3 + 1) / 2)
    # d never occurs and is no answer; c is no label of the classifier and is left out.
    logits = np.array([[2, 1, 9], [2, 1, 9], [1, 2, 9], [1, 2, 9], [0, 0, 9]])
    assert measure.zero_shot(logits, label, ("a", "b", "d")) == pytest.approx((2 / 3 + 1) / 2)


def test_the_probe_does_not_see_the_tested_speaker():
    """What is constant within a speaker predicts the label only where the speaker is known."""
    rng = np.random.default_rng(0)
    speaker = np.repeat([f"s{i}" for i in range(6)], 10)
    label = np.where(rng.random(60) < 0.5, "a", "b")
    vectors = np.eye(6)[np.repeat(np.arange(6), 10)]
    assert measure.linear_probe(vectors, label, speaker) < 0.7
    separable = np.column_stack([vectors, label == "a"]).astype(float)
    assert measure.linear_probe(separable, label, speaker) == 1
