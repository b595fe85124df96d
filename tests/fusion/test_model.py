"""The model folder: it reproduces every probability of the networks it was made of, and refuses what is not whole."""

import json

import numpy as np
import pytest
import torch
from small_store import SETTINGS

from deepfusion.corpora.folds import Fold
from deepfusion.errors import UserError
from deepfusion.fusion import experiment, rows
from deepfusion.fusion.batched_training import predict
from deepfusion.fusion.corpus import read_corpus
from deepfusion.fusion.model import load_model
from deepfusion.fusion.parts import part
from deepfusion.fusion.search import choose, places_of, train_row
from deepfusion.fusion.train_fbp import train_fbp
from deepfusion.store import FeatureStore

EVERYONE, CPU = Fold("everyone", ()), torch.device("cpu")


def settings(**changes):
    return SETTINGS.model_validate({**SETTINGS.model_dump(by_alias=True), "members": 2, **changes})


def made(store, folder, **changes):
    chosen = [Fold("fold01", ("s0",)), Fold("fold02", ("s1",))]
    train_fbp(store, folder, chosen, everyone=EVERYONE, settings=settings(**changes), device=CPU)
    return folder


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    return made(store, tmp_path_factory.mktemp("fbp"))


@pytest.mark.parametrize("normalisation", ["training", "speaker"])
def test_the_folder_alone_reproduces_every_probability(store, folder, tmp_path, monkeypatch, normalisation):
    """Against the networks in training's own data: the corpus read at once, all clips in one batch."""
    of = settings(normalisation=normalisation)
    if normalisation == "speaker":
        monkeypatch.setattr("deepfusion.fusion.corpus.FITTED", 48)  # two rows per clip: a sample of longer ones
    model = load_model(folder if normalisation == "training" else made(store, tmp_path, normalisation=normalisation))
    streams = rows.default_streams(of, ["EF-A", "EF-B"], encoder=True)
    fbp = rows.base(streams)[-1]
    corpus = read_corpus(store, rows.streams_of(rows.base(streams)), purpose="test")
    everyone = part(corpus.table, EVERYONE, inner_folds=of.inner_folds)
    bench = experiment.bench(corpus, [everyone], of, CPU)
    choice = choose(bench, fbp)
    networks = train_row(bench, fbp, places_of(choice, 0, everyone, of.seeds[0]), lambda i, *trained: trained)
    positions = [i for i in range(len(corpus.table)) if corpus.has("audio")[i] and corpus.has("video")[i]]
    wanted = np.mean(
        [
            (predict(*trained, positions)[0] / member.temperature).softmax(1).numpy()
            for trained, member in zip(networks, choice.members[0], strict=True)
        ],
        axis=0,
    )
    with FeatureStore(store) as opened:
        for i, p in zip(positions, wanted, strict=True):
            own = None
            if normalisation == "speaker":
                speaker = corpus.speakers[i]
                own = model.statistics(opened[c] for c in corpus.table.index[corpus.table["speaker"] == speaker])
            answer = model.predict(opened[corpus.table.index[i]], own)
            np.testing.assert_allclose(answer.probabilities, p, atol=1e-6)
            assert answer.used == ("audio", "video")


def test_a_clip_without_a_modality_is_answered_by_the_other_and_says_so(store, folder, clips):
    model = load_model(folder)
    with FeatureStore(store) as opened:
        for position, used in ((1, "video"), (8, "audio")):
            answer = model.predict(opened[clips[position].id])
            assert answer.used == (used,)
            np.testing.assert_array_equal(answer.probabilities, answer.by_modality[used])
            assert set(answer.attention) == {used}
        with pytest.raises(UserError, match="nothing to predict from"):
            model.predict(opened[clips[15].id])


def test_attention_of_each_row_with_its_time(store, folder):
    model = load_model(folder)
    with FeatureStore(store) as opened:
        clip = opened["s0-0"]
        attention = model.predict(clip).attention
        np.testing.assert_allclose(attention["video"].time, clip["time"][clip["valid"]])
    for of in attention.values():
        assert of.weight.sum() == pytest.approx(1, abs=1e-5)
        assert of.weight.shape == of.time.shape


def test_the_audio_encoder_s_positions_have_a_frequency(store, tmp_path):
    model = load_model(made(store, tmp_path, audio=["AF"]))
    with FeatureStore(store) as opened:
        clip = opened["s0-0"]
        attention = model.predict(clip).attention["audio"]
        np.testing.assert_allclose(attention.time, clip["AF_time"])
        np.testing.assert_allclose(attention.frequency, opened.attributes("AF")["frequency"])
    assert attention.weight.shape == (len(attention.time), len(attention.frequency))


def test_the_card_says_what_to_expect(folder):
    card = load_model(folder).card
    metrics = json.loads((folder / "metrics.json").read_text())
    assert card["metrics"]["accuracy_mean"] == metrics["models"]["fbp"]["accuracy_mean"]
    assert card["labels"] == ["even", "odd"]
    assert card["clips"] == 24
    assert card["speakers"] == 4
    assert set(load_model(folder).needs) == {"spectrogram", "EF-A", "EF-B"}


def spoil_weights(folder):
    path = folder / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def spoil_format(folder):
    path = folder / "model" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 0}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_weights, "is damaged"),
        (spoil_format, "train it again"),
        (lambda folder: (folder / "model" / "model.safetensors").unlink(), r"model.safetensors is missing"),
        (lambda folder: (folder / "model" / "model.json").write_text("{"), "cannot be read"),
    ],
)
def test_what_is_not_whole_is_refused_in_one_line(folder, tmp_path, spoil, message):
    copy = tmp_path / "copy" / "model"
    copy.mkdir(parents=True)
    for file in (folder / "model").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    spoil(copy.parent)
    with pytest.raises(UserError, match=message) as error:
        load_model(copy.parent)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no model"):
        load_model(tmp_path)
