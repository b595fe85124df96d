"""Crops of 48 px images and how they are varied, against loops from the definition."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from deepfusion.fer2013 import augment

RNG = np.random.default_rng(0)
IMAGES = torch.tensor(RNG.integers(0, 256, (3, 48, 48), dtype=np.uint8))
IDENTITY = np.repeat(np.eye(3)[None, :2], 3, axis=0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_crop_that_is_the_image_gives_it_back():
    theta = augment.thetas(IDENTITY, 48)
    assert torch.equal(theta, torch.eye(3).expand(3, 3, 3))
    crops = augment.crops(IMAGES, theta, 48)
    assert crops.shape == (3, 1, 48, 48) and crops.dtype == torch.float32
    torch.testing.assert_close(crops[:, 0], IMAGES.float(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [30, 48, 150])
def test_crops_are_bilinear_and_repeat_the_edge(size):
    # A turn, a scale and a shift that brings a part of the crop outside of the image.
    angle, scale = np.array([0.3, -1.0, 2.0]), size / np.array([40.0, 60.0, 24.0])
    matrix = np.zeros((3, 2, 3))
    matrix[:, 0, 0] = matrix[:, 1, 1] = scale * np.cos(angle)
    matrix[:, 1, 0] = scale * np.sin(angle)
    matrix[:, 0, 1] = -matrix[:, 1, 0]
    matrix[:, :, 2] = (size - 1) / 2 - (matrix[:, :, :2] @ [[20], [26]])[..., 0]
    ours = augment.crops(IMAGES, augment.thetas(matrix, size), size)[:, 0].numpy()
    y, x = np.mgrid[:size, :size]
    for image, m, crop in zip(IMAGES.numpy().astype(float), matrix, ours, strict=True):
        place = np.linalg.solve(m[:, :2], np.stack([x.ravel(), y.ravel()]) - m[:, 2:])
        theirs = map_coordinates(image, place[::-1], order=1, mode="nearest").reshape(size, size)
        np.testing.assert_allclose(crop, theirs, atol=0.05)


def test_variation_stays_within_its_bounds():
    # Behind a map that is no similarity: the change is of the crop, so that it stands on the right.
    start = torch.tensor([[2.0, 0.3, 0.1], [-0.2, 0.5, 0.4], [0, 0, 1]])
    change = torch.linalg.inv(start) @ augment.augmented(start.expand(4000, 3, 3), seeded())
    np.testing.assert_allclose(change[:, 2], np.tile([0, 0, 1], (4000, 1)), atol=1e-6)
    linear, shift = change[:, :2, :2].double(), change[:, :2, 2]
    area = torch.linalg.det(linear)
    scale = area.abs().sqrt()
    # A similarity: orthogonal columns of one length.
    torch.testing.assert_close(
        linear.mT @ linear, scale.square()[:, None, None] * torch.eye(2).double(), atol=1e-5, rtol=0
    )
    assert scale.log().abs().max() <= augment.SCALE + 1e-5 and scale.log().std() == pytest.approx(0.2 / 3**0.5, rel=0.1)
    assert shift.abs().max() <= augment.SHIFT + 1e-5 and shift.std() == pytest.approx(0.16 / 3**0.5, rel=0.1)
    turn = torch.atan2(-linear[:, 0, 1], linear[:, 1, 1])
    assert turn.abs().max() <= augment.TURN + 1e-5 and turn.std() == pytest.approx(0.1, rel=0.15)
    assert (area < 0).double().mean() == pytest.approx(0.5, abs=0.03)
    unlike = np.corrcoef(torch.stack([scale, *shift.T.double(), turn, area.sign()]).numpy()) - np.eye(5)
    assert np.abs(unlike).max() < 0.06  # none depends on another


def test_reflection_is_of_the_crop():
    theta = augment.thetas(IDENTITY[:1], 48)
    for seed in range(20):
        change = augment.augmented(theta, seeded(seed))[0]
        if torch.linalg.det(change) < 0:
            assert change[0, 0] < 0 < change[1, 1]  # left and right, never top and bottom
            break
    else:
        pytest.fail("no reflection")


def test_tones_stay_in_range():
    flat = torch.stack([torch.zeros(1, 20, 20), torch.full((1, 20, 20), 255.0)]).repeat(50, 1, 1, 1)
    for grey in (augment.crops(IMAGES, augment.thetas(IDENTITY, 48), 48).repeat(40, 1, 1, 1), flat):
        toned = augment.toned(grey, seeded())
        assert toned.shape == grey.shape
        assert toned.min() >= 0 and toned.max() <= 255
        assert not torch.equal(toned, grey)


def test_contrast_and_brightness(monkeypatch):
    monkeypatch.setattr(augment, "ERASE", 0.0)
    grey = 128 + 10 * torch.tensor(RNG.standard_normal((2000, 1, 8, 8)).clip(-3, 3), dtype=torch.float32)
    toned = augment.toned(grey, seeded())
    contrast = toned.std((1, 2, 3)) / grey.std((1, 2, 3))
    brightness = toned.mean((1, 2, 3)) - grey.mean((1, 2, 3))
    low, high = augment.CONTRAST
    assert low - 1e-4 <= contrast.min() < low + 0.05 and high - 0.05 < contrast.max() <= high + 1e-4
    assert 0.95 * augment.BRIGHTNESS < brightness.abs().max() <= augment.BRIGHTNESS + 1e-3
    assert abs(brightness.mean()) < 2
    middle = grey.mean((1, 2, 3), keepdim=True)
    theirs = (grey - middle) * contrast[:, None, None, None] + middle + brightness[:, None, None, None]
    torch.testing.assert_close(toned, theirs, atol=1e-3, rtol=0)


def test_a_square_of_every_second_crop_is_erased(monkeypatch):
    monkeypatch.setattr(augment, "CONTRAST", (1.0, 1.0))
    monkeypatch.setattr(augment, "BRIGHTNESS", 0.0)
    size = 40
    grey = torch.tensor(RNG.uniform(10, 240, (600, 1, size, size)), dtype=torch.float32)
    toned = augment.toned(grey, seeded())
    erased = (toned - grey).abs() > 1e-2
    some = erased.flatten(1).any(1)
    assert some.double().mean() == pytest.approx(augment.ERASE, abs=0.06)
    longest = augment.ERASED[1] * size + 1
    sides = []
    for crop, before, gone in zip(toned[some, 0], grey[some, 0], erased[some, 0], strict=True):
        rows, columns = (gone.any(axis).nonzero().ravel() for axis in (1, 0))
        square = torch.zeros_like(gone)
        square[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        assert (gone == square).double().mean() > 0.99  # a pixel may have the mean's value before
        assert len(rows) <= longest and len(columns) <= longest
        torch.testing.assert_close(crop[square], before.mean().expand(int(square.sum())), atol=1e-2, rtol=0)
        sides.append(max(len(rows), len(columns)))
    assert max(sides) > 0.45 * size
    # The edge of the crop cuts squares off, so that the middle of those that are whole is what counts.
    assert erased.double().mean() < augment.ERASE * augment.ERASED[1] ** 2


def test_the_same_seed_gives_the_same_crops():
    def made(seed):
        generator = seeded(seed)
        theta = augment.augmented(augment.thetas(IDENTITY, 60), generator)
        return augment.toned(augment.crops(IMAGES, theta, 60), generator)

    assert torch.equal(made(7), made(7))
    assert not torch.equal(made(7), made(8))
    torch.rand(3)  # the global generator has no part in it
    assert torch.equal(made(7), made(7))
