"""The pre-trained audio encoder: its numbers depend on the clip alone, its positions are where it says."""

import json
import shutil

import numpy as np
import pytest
import torch

from deepfusion.errors import UserError
from deepfusion.networks import audio_encoder
from deepfusion.networks.audio_encoder import (
    SHIPPED_ENCODER,
    SILENCE_DB,
    Architecture,
    Layer,
    SpeechEncoder,
    load_encoder,
    save_encoder,
)

SPECTROGRAM = {"rate": 16000, "window_ms": 40, "shift_ms": 10, "dft": 800, "bins": 200}
# Strides, pools and even lengths of every kind.
ARCHITECTURES = {
    "mel": Architecture(
        (Layer(8, (5, 5), (2, 2)), Layer(8, (3, 3), (2, 1), (1, 2)), Layer(6, (3, 3), (2, 2))),
        32,
        70.0,
        SPECTROGRAM,
        ("a", "b", "c"),
    ),
    "linear": Architecture(
        (Layer(8, (11, 11), (4, 4), (2, 2)), Layer(8, (5, 3), pool=(2, 2)), Layer(5, (3, 3))),
        0,
        70.0,
        SPECTROGRAM,
        ("a", "b"),
    ),
}


@pytest.fixture(params=ARCHITECTURES)
def encoder(request):
    torch.manual_seed(0)
    made = SpeechEncoder(ARCHITECTURES[request.param]).eval()
    for name, value in made.named_parameters():
        if name.endswith("bias"):  # what would leak out of a padded end
            torch.nn.init.normal_(value)
    torch.nn.init.normal_(made.front.mean, -40, 5)
    torch.nn.init.uniform_(made.front.deviation, 8, 14)
    return made


def clip(frames, seed=0):
    """(frames, 200) dB, louder at low frequencies and in some frames."""
    rng = np.random.default_rng(seed)
    loud = rng.uniform(-40, 0, (frames, 1))
    return (loud - 30 * np.linspace(0, 1, 200) + rng.normal(0, 6, (frames, 200)) - 20).astype(np.float32)


def test_a_batch_gives_what_each_clip_gives_alone(encoder):
    lengths = [encoder.shortest, 33, 97, 160]
    clips = [clip(length, i) for i, length in enumerate(lengths)]
    padded = np.full((len(clips), 160, 200), 30, np.float32)  # loud after the end: nothing of it may be seen
    for row, one in zip(padded, clips, strict=True):
        row[: len(one)] = one
    with torch.no_grad():
        found, inside = encoder(torch.from_numpy(padded), torch.tensor(lengths))
    for i, one in enumerate(clips):
        alone = encoder.positions(one)
        assert inside[i].sum() == len(alone) == encoder.output_length(len(one))
        assert np.allclose(found[i][inside[i]].numpy(), alone, rtol=1e-4, atol=1e-5)


def test_a_long_clip_in_parts_is_the_same(encoder, monkeypatch):
    whole = clip(1003)
    wanted = encoder.positions(whole)
    for long in (200, 331, 1002):
        monkeypatch.setattr(audio_encoder, "LONG", long)
        found = encoder.positions(whole)
        assert found.shape == wanted.shape and np.allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_shapes(encoder):
    for frames in (1, encoder.shortest, 50, 300):
        a = encoder.positions(clip(frames))
        assert a.dtype == np.float32
        assert a.shape == (max(1, encoder.output_length(frames)), encoder.bands, encoder.channels)
        assert len(encoder.frames(len(a))) == len(a) and len(encoder.bins()) == encoder.bands
        assert encoder.probabilities(clip(frames)).sum() == pytest.approx(1, abs=1e-5)
    assert encoder.positions(np.zeros((0, 200), np.float32)).shape == (0, encoder.bands, encoder.channels)


def test_the_attended_vector_is_equations_1_to_3(encoder):
    a = encoder.positions(clip(200))
    x = torch.from_numpy(a).flatten(0, 1)
    with torch.no_grad():
        e = torch.tanh(x @ encoder.W.weight.T + encoder.W.bias) @ encoder.u.weight[0]
        alpha = e.exp() / e.exp().sum()
        mean = alpha @ x
        _, weights = encoder.pooled(torch.from_numpy(a))
    found = encoder.attended(a)
    assert found.shape == (2 * encoder.channels,)
    assert np.allclose(found[: encoder.channels], mean.numpy(), rtol=1e-4, atol=1e-5)
    assert np.allclose(weights.flatten().numpy(), alpha.numpy(), atol=1e-6)


def test_a_short_clip_is_filled_with_silence():
    encoder = SpeechEncoder(ARCHITECTURES["linear"]).eval()
    assert encoder.shortest > 3
    short = clip(3)
    filled = np.pad(short, ((0, encoder.shortest - 3), (0, 0)), constant_values=SILENCE_DB)
    assert np.array_equal(encoder.positions(short), encoder.positions(filled))


def test_the_level_of_a_recording_changes_nothing(encoder):
    quiet, loud = clip(120), clip(120) + 11
    assert np.allclose(encoder.positions(quiet), encoder.positions(loud), rtol=1e-3, atol=1e-4)


def test_a_single_click_does_not_set_the_level(encoder):
    clicked = clip(300)
    clicked[150] = 20
    before, after = encoder.positions(clip(300)), encoder.positions(clicked)
    far = np.abs(encoder.frames(len(before)) - 150) > 60
    assert far.sum() > 3
    assert np.abs(before - after)[far].max() < 0.1 * np.abs(before).max()


def test_positions_see_what_lies_around_their_time_and_frequency(encoder, monkeypatch):
    """The middle of what a position's gradient reaches is where it says; the input rows are mel bands or bins."""
    for convolution in encoder.convolutions:  # equal weights, no ReLU at its corner: every path counts
        torch.nn.init.constant_(convolution.weight, 0.01)
        torch.nn.init.constant_(convolution.bias, 10)
    monkeypatch.setattr(torch.nn.functional, "max_pool2d", torch.nn.functional.avg_pool2d)  # shares among equals
    encoder.front.forward = lambda decibels, length: decibels.mT[:, None]
    x = torch.zeros(1, 400, encoder.architecture.rows, requires_grad=True)
    a = encoder(x, torch.tensor([400]))[0][0]
    r, f = len(a) // 2, encoder.bands // 2
    (gradient,) = torch.autograd.grad(a[r, f].sum(), x)
    for axis, expected in ((1, encoder.frames(len(a))[r]), (2, encoder._centres(encoder.bands, 0)[f])):
        seen = gradient[0].abs().sum(2 - axis).nonzero()[:, 0]
        assert len(seen) < 120
        assert abs((seen.min() + seen.max()) / 2 - expected) <= 1


def test_frequencies_rise_within_the_spectrogram(encoder):
    frequency = encoder.bins()
    assert (np.diff(frequency) > 0).all()
    assert frequency[0] >= 0 and frequency[-1] < 4000


def test_what_was_stored_is_read(encoder, tmp_path):
    save_encoder(encoder, tmp_path / "e.safetensors", {"licence": "MIT"})
    read = load_encoder(tmp_path / "e.safetensors")
    assert read.architecture == encoder.architecture
    assert read.card == {"licence": "MIT"} and len(read.sha256) == 64
    assert read.requires == SPECTROGRAM and not read.training
    a, b = encoder.positions(clip(100)), read.positions(clip(100))
    assert np.abs(a - b).max() < 5e-3 * np.abs(a).max()  # half precision


def test_the_same_weights_make_the_same_file(tmp_path):
    made = [tmp_path / f"{i}.safetensors" for i in range(8)]
    for path in made:
        torch.manual_seed(0)
        save_encoder(SpeechEncoder(ARCHITECTURES["mel"]), path, {})
    assert len({path.read_bytes() for path in made}) == 1


def test_a_damaged_or_foreign_file_ends_in_one_line(tmp_path):
    path = tmp_path / "e.safetensors"
    save_encoder(SpeechEncoder(ARCHITECTURES["mel"]), path, {})
    with pytest.raises(UserError, match="there is no file"):
        load_encoder(tmp_path / "absent.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    with pytest.raises(UserError, match="not a complete audio encoder file"):
        load_encoder(path)
    path.write_bytes(content)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(UserError, match=r"e\.json: the encoder's card cannot be read"):
        load_encoder(path)
    shutil.copy(SHIPPED_ENCODER.with_name("sface-fer2013.safetensors"), path)
    with pytest.raises(UserError, match="not an audio encoder"):
        load_encoder(path)


def test_other_spectrograms_are_refused(encoder):
    encoder.require({**SPECTROGRAM, "floor_db": -120})
    with pytest.raises(UserError, match=r"it needs spectrogram\.shift_ms = 10, not 16"):
        encoder.require(SPECTROGRAM | {"shift_ms": 16})
    with pytest.raises(UserError, match="wanted"):
        encoder.positions(np.zeros((50, 257), np.float32))


def test_the_shipped_encoder_and_its_card():
    encoder = load_encoder()
    assert SHIPPED_ENCODER.stat().st_size < 1.5e6
    card = json.loads(SHIPPED_ENCODER.with_suffix(".json").read_text(encoding="utf-8"))
    assert card == encoder.card
    assert {"licence", "data", "languages", "labels", "seed", "command", "uar", "training"} <= set(card)
    assert tuple(card["labels"]) == encoder.labels
    for corpus in card["data"].values():
        assert corpus["licence"] and corpus["clips"] and corpus["speakers"]
        assert corpus["licence"] in card["licence"]
