"""Attention as arrays: it stands where and when it says, and belongs to the clip that it says."""

from dataclasses import replace
from itertools import pairwise

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from small_store import BINS, SETTINGS, dataset_of, make_clips, write_store

from deepfusion.fusion.data import collate
from deepfusion.fusion.explain import attention, write_attention
from deepfusion.fusion.fold import train_fold
from deepfusion.fusion.models import MODELS
from deepfusion.fusion.train import new_model
from deepfusion.networks.audio_encoder import AudioEncoder, centres
from deepfusion.store import FeatureStore

CPU = torch.device("cpu")


def heard_by(axis, positions):
    """Input places along an axis that change each output position, found with an impulse at every place."""
    encoder = AudioEncoder((1, 1, 1, 1, 1))
    for convolution in encoder.convolutions:
        torch.nn.init.ones_(convolution.weight)
    x = torch.eye(400)[:, None].expand(-1, 63, -1)  # the other axis is just long enough
    x = x.mT if axis == 0 else x
    with torch.inference_mode():
        a, clip = encoder(x, torch.full((400,), x.shape[2]))
    changed = a.reshape(400, -1) > 0  # (place, position)
    assert torch.equal(clip, torch.arange(400).repeat_interleave(changed.shape[1]))
    return [changed[:, position].nonzero()[:, 0].tolist() for position in positions]


@pytest.mark.parametrize("axis", [0, 1])
def test_the_centre_is_in_the_middle_of_what_a_position_hears(axis):
    for position, heard in zip((4, 5), heard_by(axis, (4, 5)), strict=True):
        assert heard == list(range(heard[0], heard[0] + 195))
        assert centres(8)[position] == (heard[0] + heard[-1]) / 2


def read(path):
    """Kind -> clip -> (weights, times)."""
    with h5py.File(path) as file:
        clips = file["clip"].asstr()[:]
        found = {}
        for kind in set(file) - {"clip"}:
            offsets, weight, time = (file[kind][name][:] for name in ("offsets", "weight", "time"))
            assert len(offsets) == len(clips) + 1 and offsets[-1] == len(weight) == len(time)
            rows = [slice(*pair) for pair in pairwise(offsets)]
            found[kind] = {clip: (weight[row], time[row]) for clip, row in zip(clips, rows, strict=True)}
        return found, dict(file.attrs), file["sound/frequency"][:] if "sound" in file else None


@pytest.mark.parametrize("name", MODELS)
def test_every_tested_clip_has_its_own_beside_the_predictions(name, store, tmp_path):
    train_fold(store, tmp_path, name=name, test=["s2", "s0"], fold="f", seed=3, settings=SETTINGS, device=CPU)
    found, attributes, frequency = read(tmp_path / "attention.h5")
    assert attributes == {"model": name, "fold": "f", "seed": 3}
    assert set(found) == {"audio": {"sound"}, "video": {"faces"}}.get(name, {"sound", "faces"})
    clips = pd.read_csv(tmp_path / "predictions.csv")["clip"].tolist()
    with FeatureStore(store) as opened:
        for kind, pieces in found.items():
            assert list(pieces) == clips
            for clip, (weight, time) in pieces.items():
                if kind == "faces":
                    np.testing.assert_array_equal(time, opened[clip]["time"][opened[clip]["valid"]])
                else:
                    heard = opened[clip]["audio_time"]
                    assert weight.shape == (len(time), 5)
                    # The grid lies on the windows of the store, from the 32nd on, every 32nd.
                    np.testing.assert_allclose(time, heard[31::32][: len(time)], atol=1e-9)
                if len(time):
                    assert weight.sum() == pytest.approx(1, abs=1e-5)
    if "sound" in found:
        assert frequency.tolist() == [620, 1260, 1900, 2540, 3180]
        assert len(found["sound"]["s0-1"][0]) == 0 and len(found["sound"]["s2-3"][0]) == 0  # have no sound
    if "faces" in found:
        assert len(found["faces"]["s2-3"][0]) == 0  # nor a face


def loud_at(place, band, frames=500):
    sound = np.full((frames, BINS), -100, np.float32)
    sound[place - 3 : place + 4, band - 3 : band + 4] = 0
    return sound


def test_attention_on_a_spot_is_written_at_its_time_and_frequency(tmp_path):
    """A model that attends to what is loud; the spots are known."""
    spots = {"s0-0": (159, 127), "s0-1": (319, 63), "s0-2": (127, 95)}  # frame, bin
    clips = make_clips(speakers=1, clips=3)
    clips = [replace(clip, sound=loud_at(*spots[clip.id])) for clip in clips]
    dataset = dataset_of(write_store(tmp_path, clips))
    model = new_model("audio", dataset, [], SETTINGS.model_copy(update={"lam": 1.0}), 0)
    model.audio.standardise.mean.fill_(-100)
    with torch.no_grad():
        for convolution in model.audio.encoder.convolutions:  # a peak in the middle: what is near counts most
            side = 1 - torch.linspace(-1, 1, convolution.kernel_size[0]).abs() / 1.5
            convolution.weight.copy_((side[:, None] * side).expand_as(convolution.weight))
        a, _ = model.audio.encoder(dataset[0].spectrogram.T[None] + 100, torch.tensor([500]))
        model.audio.attention.W.weight.copy_(torch.eye(4) / a.max())
        model.audio.attention.W.bias.zero_()
        model.audio.attention.u.weight.fill_(10)
    positions = [0, 1, 2]
    write_attention(tmp_path / "a.h5", dataset, positions, attention(model, dataset, positions, CPU))
    found, _, frequency = read(tmp_path / "a.h5")
    for clip, (frame, band) in spots.items():
        weight, time = found["sound"][clip]
        row, column = np.unravel_index(weight.argmax(), weight.shape)
        assert time[row] == pytest.approx(0.02 + frame / 100, abs=1e-9)
        assert frequency[column] == band * 20


def test_it_is_the_attention_that_the_model_judged_by(dataset):
    torch.manual_seed(0)
    model = new_model("fbp", dataset, [0, 2, 3], SETTINGS, 0).eval()
    positions = [5, 0, 2]
    found = attention(model, dataset, positions, CPU)
    with torch.inference_mode():
        for i, position in enumerate(positions):
            batch = collate([dataset[position]])
            a, _ = model.audio.encoder(model.audio.standardise(batch.spectrogram.mT).mT, batch.audio_length)
            pooled = torch.from_numpy(found["sound"][i]).T.flatten() @ a
            assert torch.allclose(pooled, model.audio(batch)[0][0], atol=1e-5)
            v = model.video.attention.W(model.video.standardise(batch.faces))
            assert torch.allclose(torch.from_numpy(found["faces"][i]) @ v, model.video(batch)[0][0], atol=1e-5)
