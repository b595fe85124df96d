"""Line charts: well-formed, described in words, with round ticks that hold all bars."""

import xml.etree.ElementTree as ET

import pytest

from deepfusion.report import charts
from deepfusion.report.charts import line_chart


def test_a_chart_is_well_formed_and_says_its_figures():
    series = [{"name": "a <b>", "values": [[1.0, 1.2], None, [0.9]]}, {"name": "c", "values": [[2.0], [3.0], [4.0]]}]
    text = line_chart("lambda", ["0", "0.3", "learned"], "loss", series)
    root = ET.fromstring(text)
    assert root.get("aria-label") == "loss over lambda. a <b>: 0: 1.1, learned: 0.9; c: 0: 2, 0.3: 3, learned: 4"
    circles = [float(circle.get("cy")) for circle in root.iter("circle")]
    assert len(circles) == 5 and all(charts.TOP <= y <= charts.BOTTOM for y in circles)
    assert text == line_chart("lambda", ["0", "0.3", "learned"], "loss", series)


@pytest.mark.parametrize(("low", "high"), [(0.62, 0.74), (0, 100), (5, 5), (-3, 0.001), (1e-6, 2e-6), (0, 0)])
def test_ticks_are_round_few_and_hold_both_ends(low, high):
    ticks = charts._ticks(low, high)
    assert 2 <= len(ticks) <= charts.TICKS + 3
    assert ticks[0] <= low + 1e-12 and ticks[-1] >= high - 1e-12
    assert float(f"{ticks[1] - ticks[0]:.0e}") == pytest.approx(ticks[1] - ticks[0])
