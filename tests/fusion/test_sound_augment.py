"""Variations of the sound: each does what its name says, within its limits, and the generator decides."""

import math

import pytest
import torch
from small_store import VARIED

from deepfusion.config import AugmentSettings
from deepfusion.fusion.augment import cropped, frequency_masked, noisy, paced, time_masked, varied
from deepfusion.networks.audio_encoder import SHORTEST

BINS = 200
MEAN = torch.linspace(-70, -50, BINS)
DRAWS = 60


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sound(frames=300, seed=1):
    return -60 + 8 * torch.randn(frames, BINS, generator=generator(seed))


def test_pace_resamples_the_time_axis_within_its_limits():
    ramp = torch.arange(300.0)[:, None].expand(-1, BINS)  # says of each frame when it was
    lengths, draw = [], generator()
    for _ in range(DRAWS):
        other = paced(ramp, draw, by=0.1)
        lengths.append(len(other))
        when = (torch.arange(len(other)) + 0.5) * 300 / len(other) - 0.5
        assert torch.allclose(other, when.clamp(0, 299)[:, None], atol=1e-2)
    assert min(lengths) >= round(300 / 1.1) and max(lengths) <= round(300 / 0.9)
    assert min(lengths) < 280 and max(lengths) > 320


def test_a_crop_is_a_run_of_the_clip():
    when = torch.arange(300.0)[:, None].expand(-1, BINS)
    starts, lengths, draw = set(), set(), generator()
    for _ in range(DRAWS):
        run = cropped(when, draw, by=0.2)
        starts.add(int(run[0, 0]))
        lengths.add(len(run))
        assert torch.equal(run, when[int(run[0, 0]) :][: len(run)])
    assert min(lengths) >= 240 and max(lengths) <= 300
    assert len(starts) > 10 and len(lengths) > 10


def test_noise_has_the_power_that_the_ratio_says():
    x = sound()
    power = (10 ** (x / 10)).mean()
    other = 10 ** (noisy(x, generator(), snr=(10, 10)) / 10)
    assert other.mean() / power == pytest.approx(1.1, abs=0.01)


def test_where_the_clip_is_silent_the_noise_is_that_of_a_white_one():
    """The power in a bin of white noise is exponentially distributed: its standard deviation is its mean."""
    x = torch.full((300, BINS), -200.0)
    x[:, 0] = -20  # all the sound is here
    power = 10 ** (-20 / 10) / BINS
    silence = 10 ** (noisy(x, generator(), snr=(20, 20)).double()[:, 1:] / 10)
    assert silence.mean() == pytest.approx(power / 100, rel=0.02)
    assert silence.std() == pytest.approx(power / 100, rel=0.02)


def test_noise_digs_no_hole_below_the_floor():
    x = sound().clamp_min(-75)
    assert noisy(x, generator(), snr=(0, 0)).min() >= -75


def test_the_ratio_is_drawn_between_both():
    x, draw = sound(), generator()
    power = (10 ** (x / 10)).mean()
    added = [(10 ** (noisy(x, draw, snr=(0, 20)) / 10)).mean() / power - 1 for _ in range(DRAWS)]
    ratios = [-10 * math.log10(max(float(share), 1e-3)) for share in added]
    assert -0.5 < min(ratios) < 3 and 17 < max(ratios) < 22


def runs(masked):
    """Number of runs of True."""
    return int(masked[0]) + int((masked[1:] & ~masked[:-1]).sum())


@pytest.mark.parametrize(("mask", "axis", "size"), [(time_masked, 1, 300), (frequency_masked, 0, BINS)])
def test_masks_put_the_training_mean_into_two_runs_and_leave_the_rest(mask, axis, size):
    x, draw, shares, most = sound(), generator(), [], 0
    for _ in range(DRAWS):
        other = mask(x, draw, by=0.15, mean=MEAN)
        changed = other != x
        assert torch.equal(other[changed], MEAN.expand_as(x)[changed])
        masked = changed.any(axis)
        assert torch.equal(changed.all(axis), masked)  # whole frames, whole bins
        shares.append(masked.float().mean().item())
        most = max(most, runs(masked))
    assert most == 2
    assert max(shares) <= 0.3 and sum(shares) / DRAWS == pytest.approx(0.15, abs=0.04)


def test_the_same_state_draws_the_same_and_another_another():
    once, again, other = (varied(sound(), generator(s), settings=VARIED, mean=MEAN) for s in (3, 3, 4))
    assert torch.equal(once, again)
    assert once.shape != other.shape or not torch.equal(once, other)


@pytest.mark.parametrize("frames", [SHORTEST, SHORTEST + 5])
def test_a_short_clip_stays_long_enough(frames):
    draw = generator()
    most = AugmentSettings(speed=0.5, crop=0.9, time_mask=0.9, frequency_mask=0.9)
    for _ in range(DRAWS):
        other = varied(sound(frames), draw, settings=most, mean=MEAN)
        assert len(other) >= SHORTEST
        assert other.isfinite().all()


def test_no_sound_stays_none():
    assert varied(sound(0), generator(), settings=VARIED, mean=MEAN).shape == (0, BINS)


def test_by_default_nothing_changes():
    assert torch.equal(varied(sound(), generator(), settings=AugmentSettings(), mean=MEAN), sound())


@pytest.mark.parametrize("name", list(AugmentSettings.model_fields))
def test_each_setting_switches_its_own_on(name):
    alone = AugmentSettings(**{name: getattr(VARIED, name)})
    alike = [torch.equal(varied(sound(), generator(s), settings=alone, mean=MEAN), sound()) for s in range(9)]
    assert sum(alike) < 3
