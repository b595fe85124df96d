"""Pictures resampled as dlib does it, against dlib."""

import os
import subprocess
import sys

import dlib
import numpy as np
import pytest

from deepfusion.faces.fast.dlib_resize import columns, rows, transposed


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (760, 1290), dtype=np.uint8)


@pytest.mark.parametrize("width", [2, 3, 131, 132, 719, 720, 1280, 1290])
@pytest.mark.parametrize("height", [2, 97, 576, 757])
def test_shrunk_and_enlarged(noise, height, width):
    picture = np.ascontiguousarray(noise[:height, :width])
    for size in ((height * 5 // 6, width * 5 // 6), (2 * height + 1, 2 * width + 2)):
        if min(size) > 1:
            expected = dlib.resize_image(picture, *size)
            found = transposed(picture, rows(height, size[0]), columns(width, size[1])).T
            differs = found != expected
            assert differs.mean() <= 2e-5 or differs.sum() == 1
            assert np.abs(found.astype(int) - expected).max() <= 1


def test_twice_is_upright_and_a_part_is_cut_from_the_whole(noise):
    picture = np.ascontiguousarray(noise[:300, :401])
    down, across = rows(300, 250), columns(401, 334)
    whole = transposed(picture, down, across)
    again = transposed(whole, columns(334, 278), rows(250, 208))
    expected = dlib.resize_image(dlib.resize_image(picture, 250, 334), 208, 278)
    assert again.shape == expected.shape and (again != expected).mean() < 1e-4

    top, left = int(down.first[40]), int(across.first[51])
    bottom, right = int(down.first[199]) + 2, int(across.first[320]) + 2
    part = np.ascontiguousarray(picture[top:bottom, left:right])
    found = transposed(part, down.part(40, 200, top), across.part(51, 321, left))
    np.testing.assert_array_equal(found, whole[51:321, 40:200])


def test_where_what_is_compiled_cannot_be_kept():
    program = "from deepfusion.faces.fast.dlib_resize import _mix; print(type(_mix._cache).__name__)"
    nowhere = os.environ | {"NUMBA_CACHE_LOCATOR_CLASSES": "IPythonCacheLocator"}
    ran = subprocess.run([sys.executable, "-c", program], env=nowhere, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "NullCache"
