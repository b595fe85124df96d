"""Contrast of the pages' colours, by WCAG 2.2's formula."""

import itertools
import re

import pytest

from deepfusion.report.base_template import DARK, LIGHT, SERIES

SCHEMES = pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])


def rgb(colour):
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def luminance(channels):
    """Relative luminance of sRGB channels, 0..255."""
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_formula_on_black_and_white():
    assert contrast(rgb("#000000"), rgb("#ffffff")) == pytest.approx(21)
    assert contrast(rgb("#777777"), rgb("#ffffff")) == pytest.approx(4.48, abs=0.01)  # WebAIM's example


@SCHEMES
def test_text_has_4_5_to_1(colours):
    for text, ground in itertools.product(("ink", "dim", "bar", "warn"), ("paper", "panel")):
        assert contrast(rgb(colours[text]), rgb(colours[ground])) >= 4.5, (text, ground)


@SCHEMES
def test_text_on_every_shade_of_a_heat_map_has_4_5_to_1(colours):
    for share in range(101):
        ends = zip(rgb(colours["heat"]), rgb(colours["paper"]), strict=True)
        shade = [(a * share + b * (100 - share)) / 100 for a, b in ends]
        assert contrast(rgb(colours["ink"]), shade) >= 4.5, share


@SCHEMES
def test_marks_and_borders_of_fields_have_3_to_1(colours):
    marks = ["bar", "other", "edge", *(f"series{i}" for i in range(SERIES))]
    for mark, ground in itertools.product(marks, ("paper", "panel")):
        assert contrast(rgb(colours[mark]), rgb(colours[ground])) >= 3, (mark, ground)


def test_both_schemes_have_the_same_roles():
    assert list(LIGHT) == list(DARK)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in (*LIGHT.values(), *DARK.values()))
