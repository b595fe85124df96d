"""The whole networks on ragged batches: what is beside a clip, or missing in it, must not reach it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_store import BINS, SETTINGS, dataset_of, make_clips, write_store

from deepfusion.fusion.data import Clip, collate
from deepfusion.fusion.models import MODELS, Sizes
from deepfusion.networks.audio_encoder import SHORTEST
from deepfusion.store import FeatureStore

SIZES = Sizes(bins=BINS, features=7, classes=3)


def clip(name, windows, frames):
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    sound, faces = torch.randn(windows, BINS, generator=generator), torch.randn(frames, 7, generator=generator)
    return Clip(name, 0, sound, faces, 0.0, np.arange(frames) / 25)


CLIPS = [clip("both", 100, 4), clip("long", 230, 9), clip("mute", 0, 3), clip("hidden", 80, 0), clip("empty", 0, 0)]


def trained(name):
    """A model whose running means are no longer zero."""
    torch.manual_seed(3)
    model = MODELS[name](SIZES, SETTINGS).train()
    model(collate(CLIPS))
    return model.double().eval()


def double(batch):
    return type(batch)(
        **{
            n: v.double() if isinstance(v, torch.Tensor) and v.is_floating_point() else v
            for n, v in vars(batch).items()
        }
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_clip_alone_and_in_a_batch_gives_the_same(name):
    model = trained(name)
    together = model(double(collate(CLIPS)))
    for i, one in enumerate(CLIPS):
        assert torch.allclose(model(double(collate([one])))[0], together[i], atol=1e-12), one.id


@pytest.mark.parametrize("name", MODELS)
def test_every_missing_modality_gives_a_finite_answer_and_gradient(name):
    torch.manual_seed(3)
    model = MODELS[name](SIZES, SETTINGS).train()
    logits = model(collate(CLIPS))
    assert logits.shape == (len(CLIPS), 3)
    assert logits.isfinite().all()
    logits.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_without_sound_fbp_judges_by_the_face_beside_the_mean_voice():
    model = trained("fbp")
    mute = double(collate([CLIPS[2]]))
    v, _, _ = model.video(mute)
    expected = model.classifier(model.fbp(model.audio.impute.mean[None], v))
    assert torch.allclose(model(mute), expected, atol=1e-12)
    assert model.audio.impute.mean.abs().max() > 0


def test_without_a_face_fbp_judges_by_the_voice_beside_the_mean_face():
    model = trained("fbp")
    hidden = double(collate([CLIPS[3]]))
    a, _, _ = model.audio(hidden)
    expected = model.classifier(model.fbp(a, model.video.impute.mean[None]))
    assert torch.allclose(model(hidden), expected, atol=1e-12)


def test_the_mean_that_stands_in_knows_only_clips_that_have_the_modality():
    torch.manual_seed(3)
    model = MODELS["video"](SIZES, SETTINGS).train()
    model(collate(CLIPS))
    stands_in = model.video.impute.mean.clone()
    seen = torch.stack([model.video(collate([CLIPS[i]]))[0][0] for i in (0, 1, 2)])
    assert torch.allclose(stands_in, seen.mean(0), atol=1e-5)


def test_prediction_does_not_move_the_mean():
    model = trained("fbp")
    before = model.audio.impute.mean.clone()
    model(double(collate(CLIPS)))
    assert torch.equal(model.audio.impute.mean, before)


def test_additive_is_the_sum_of_both_scores():
    model = trained("additive")
    batch = double(collate(CLIPS))
    assert torch.allclose(model(batch), model.of_audio(batch) + model.of_video(batch))


def test_attention_sees_no_frame_without_a_face(dataset, store):
    with FeatureStore(store) as opened:
        for i, id_ in enumerate(opened.clips.index):
            valid = opened[id_]["valid"]
            assert len(dataset[i].faces) == valid.sum()
            assert dataset[i].faces.isfinite().all()


def test_short_sound_is_filled_up_with_silence(tmp_path):
    clips = make_clips(clips=1)
    clips[0] = replace(clips[0], sound=clips[0].sound[:10])
    spectrogram = dataset_of(write_store(tmp_path, clips))[0].spectrogram
    assert spectrogram.shape == (SHORTEST, BINS)
    assert (spectrogram[10:] == -100).all()
    assert torch.equal(spectrogram[:10], torch.from_numpy(clips[0].sound))
