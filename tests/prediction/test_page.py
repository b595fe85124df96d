"""The page of predictions, as text and in a browser."""

import html
import re
from urllib.parse import unquote

import numpy as np
import pytest
from browser import in_browser, needs_browser
from small_model import LABELS, predict_all

from deepfusion.faces.face_track import Reason
from deepfusion.report import timeline


@pytest.fixture(scope="module")
def pages(media, predictor, tmp_path_factory):
    """Folder with the page of all clips (`many`) and of one (`one`)."""
    out = tmp_path_factory.mktemp("pages")
    predict_all(predictor, [media / "manifest.csv"], out / "many", "csv", "html")
    predict_all(predictor, [media / "clips" / "hidden.mp4"], out / "one", "html", window=0.2)
    return out


def test_the_page_needs_no_other_file_but_media_and_tables(pages):
    for name in ("many", "one"):
        text = (pages / name / "predict.html").read_text()
        linked = {unquote(html.unescape(found)) for found in re.findall(r'(?:src|href|poster)="([^"]+)"', text)}
        files = {found for found in linked if not found.startswith(("data:", "#"))}
        assert files and all((pages / name / file).is_file() for file in files)
        assert "http" not in re.sub(r"data:[^\"]*", "", text).replace("http-equiv", "")
        assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img[^>]*>", text))


def test_what_it_says(pages):
    text = (pages / "many" / "predict.html").read_text()
    for words in (
        "A test.",
        "by audio alone: no face in 10 frames",
        "broken.mp4: Invalid data",
        "no face, 0.",
        "Audio alone",
    ):
        assert words in text, words
    rows = text.split("<tr data-clip")[1:]
    probabilities = [float(re.search(r'data-value="([\d.]+)"', row)[1]) for row in rows]
    assert len(rows) == 9 and probabilities == sorted(probabilities, reverse=True)
    assert "0 of 0" not in text and ".<a" not in text
    assert text.count("<details") == 9


def test_no_picture_of_a_person_where_none_is_wanted(media, predictor, tmp_path):
    predict_all(predictor, [media / "clips" / "good.mp4"], tmp_path, "html", thumbnails=False)
    text = (tmp_path / "predict.html").read_text()
    assert "poster=" not in text and 'data-time="' not in text and "Spectrogram" in text


def test_a_single_prediction_writes_its_page(found, tmp_path):
    found["good"].to_html(tmp_path / "good.html")
    text = (tmp_path / "good.html").read_text()
    assert 'poster="data:image/jpeg' in text and found["good"].label in text
    found["good"].to_html(tmp_path / "plain.html", thumbnails=False)
    assert "poster=" not in (tmp_path / "plain.html").read_text()


SCRIPT = """
  const clip = document.querySelector("details.clip:has(button[data-time]):has(.over)");
  clip.open = true;
  const media = clip.querySelector("video"), line = clip.querySelector(".time"), box = line.getBoundingClientRect();
  line.dispatchEvent(new MouseEvent("click", { clientX: box.left + box.width / 2, bubbles: true }));
  found.half = media.currentTime;
  line.dispatchEvent(new KeyboardEvent("keydown", { key: "Home", bubbles: true }));
  found.home = media.currentTime;
  line.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
  found.right = media.currentTime;
  found.head = clip.querySelector(".head").style.left;
  clip.querySelector("button[data-time]").click();
  found.thumbnail = [media.currentTime, +clip.querySelector("button[data-time]").dataset.time];
  found.span = [+line.dataset.begin, +line.dataset.end];
  const over = clip.querySelector("input[data-over]");
  over.click();
  found.over = clip.querySelector(".over").hidden;
  found.images = [...document.querySelectorAll("details[open] img")].map((image) => image.naturalWidth);
  found.wide = document.documentElement.scrollWidth > innerWidth;
  const search = document.querySelector("input[type=search]");
  if (search) {
    search.value = "no face";
    search.dispatchEvent(new Event("input"));
    found.shown = [...document.querySelectorAll("tbody tr:not([hidden]) td:first-child")]
      .map((cell) => cell.textContent);
    found.count = document.querySelector("[role=status]").textContent;
    search.value = "";
    search.dispatchEvent(new Event("input"));
    document.querySelector("th button").click();
    document.querySelector("th button").click();
    found.sorted = [...document.querySelectorAll("tbody td:first-child")].map((cell) => cell.textContent);
  }
  found.duration = media.duration || null;
"""


@needs_browser
@pytest.mark.parametrize("width", [1200, 420])
def test_seeking_filter_and_order_in_a_browser(pages, width):
    found = in_browser(pages / "many" / "predict.html", SCRIPT, width=width)
    begin, end = found["span"]
    assert found["errors"] == [] and found["images"] and all(found["images"])
    assert found["half"] == pytest.approx((begin + end) / 2, abs=0.02)
    assert found["home"] == begin and found["right"] == pytest.approx(begin + (end - begin) / 40, abs=1e-3)
    assert found["head"] == "2.5%" and found["thumbnail"][0] == pytest.approx(found["thumbnail"][1], abs=1e-3)
    assert found["over"] is True and not found["wide"]
    assert found["shown"] == ["nobody"] and found["count"] == "1 of 9 clips"
    assert found["sorted"] == sorted(found["sorted"])
    assert found["duration"] is None or found["duration"] > 0.5  # None: a browser without H.264


@needs_browser
def test_a_page_of_one_clip_in_a_browser(pages):
    found = in_browser(pages / "one" / "predict.html", SCRIPT)
    assert found["errors"] == [] and found["half"] > 0 and "shown" not in found


def test_gaps_are_stretches_of_one_reason():
    time = np.arange(10) * 0.1
    reason = np.array([0, 1, 1, 2, 0, 0, 1, 0, 2, 2])
    found = timeline.gaps({"time": time, "reason": reason}, 0.0, 0.9)
    assert [gap["reason"] for gap in found] == [timeline.REASONS[Reason(code)] for code in (1, 2, 1, 2)]
    assert found[0]["from"] == pytest.approx(0.05) and found[0]["to"] == pytest.approx(0.25)
    assert found[-1]["x"] + found[-1]["width"] == pytest.approx(timeline.WIDTH)
    assert timeline.gaps({}, 0.0, 1.0) == []


def test_curves_break_at_gaps():
    values = np.array([[0.2, 0.8], [0.4, 0.6], [np.nan, np.nan], [1.0, 0.0]])
    first, second = timeline.curves([0, 1, 2, 3], values, ["a", "b"], 0.0, 3.0)
    assert first["path"] == "M0.0 128.0h0L333.3 96.0M1000.0 0.0h0"
    assert second["mean"] == pytest.approx(1.4 / 3)


def test_attention_lies_where_it_belongs(monkeypatch):
    from deepfusion.fusion.model import Attention

    drawn = []
    monkeypatch.setattr(timeline, "transparent", drawn.append)
    weight = np.zeros((4, 2))
    weight[2, 1] = 1.0  # 2 s to 3 s, the higher band
    timeline.audio_band(Attention(weight, np.arange(4) + 0.5, np.array([1000.0, 3000.0])), 4000.0, 0.0, 4.0)
    rows, columns = np.nonzero(drawn[0])
    assert rows.max() < timeline.SPECTROGRAM_PIXELS / 2  # the top half
    assert columns.min() == drawn[0].shape[1] / 2 and columns.max() < 3 * drawn[0].shape[1] / 4
    timeline.frame_band(np.arange(10) * 0.1, Attention(np.array([0.2, 0.8]), np.array([0.0, 0.5])), 0.0, 0.9)
    columns = np.nonzero(drawn[1][0] == 1)[0] / drawn[1].shape[1] * 0.9
    assert columns.min() == pytest.approx(0.45, abs=0.03) and columns.max() == pytest.approx(0.55, abs=0.03)


def test_many_points_become_few_and_gaps_stay():
    times, values = np.arange(1000.0), np.tile(np.arange(1000.0)[:, None], (1, len(LABELS)))
    values[100:200] = np.nan
    few, means = timeline.binned(times, values, 100)
    assert few.shape == (100,) and np.isnan(means[10:20]).all() and np.isfinite(means[20:]).all()
    assert means[50, 0] == pytest.approx(few[50])


@pytest.mark.parametrize(
    ("begin", "end", "seconds"),
    [
        (0, 1.2, [0, 0.2, 0.4, 0.6, 0.8, 1, 1.2]),
        (3.4, 9.0, range(4, 10)),
        (0, 95, range(0, 91, 10)),
        (0, 4000, range(0, 3601, 600)),
        (10, 10.1, [10]),
    ],
)
def test_ticks_are_few_and_round(begin, end, seconds):
    shares = [tick["x"] / 100 for tick in timeline.ticks(begin, end)]
    np.testing.assert_allclose(shares, (np.array(seconds) - begin) / (end - begin), atol=1e-4)
