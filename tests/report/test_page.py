"""The report page, as text and in a browser: what was measured, and nothing from elsewhere."""

import html
import json
import re
import shutil
from dataclasses import replace

import pytest
from browser import in_browser, needs_browser
from small_results import write_corpus
from small_store import make_clips

from deepfusion.errors import UserError
from deepfusion.report.base_template import DARK, LIGHT
from deepfusion.report.page import read_results, write_page


@pytest.fixture(scope="module")
def text(corpus):
    return (corpus / "report.html").read_text()


@pytest.fixture(scope="module")
def metrics(corpus):
    return json.loads((corpus / "fbp" / "metrics.json").read_text())


def test_figures_claims_and_choices_stand_in_the_page(text, metrics):
    figures = metrics["models"]["fbp"]
    for words in (
        f"{100 * figures['accuracy_mean']:.1f} ± {100 * figures['accuracy_std']:.1f}",
        f"{100 * figures['ece']:.1f}",
        "Leave one speaker out, 8 folds, 2 seeds,",
        "2 classes, 8 test speakers",
        "fbp/predictions.csv",
        "64: 1, 128: 1",
        "87.3 % of a clip",
        "no model EF-B: &lt;why&gt;",
        "factorized bilinear pooling",
        "1 clip</summary>",
        "the file has no audio",
        "cross-entropy, nats over learning rate",
        "0123abc",
        "learning_rates:",
        "arXiv:1901.04889",
        "2 clips left out, its file cannot be &lt;read&gt;: x, y.",
    ):
        assert words in text, words
    assert all(html.escape(sentence, quote=False) in text.replace("&#39;", "'") for sentence in metrics["words"])
    assert "transductive" not in text  # no such study was made


def test_confusions_of_all_models_have_numbers(text, metrics):
    for name, figures in metrics["models"].items():
        part = text.split(f'aria-label="Confusion matrix of {html.escape(name)}"')[1].split("</table>")[0]
        shares = [f"{100 * n / sum(row):.0f}" for row in figures["confusion"] for n in row]
        assert re.findall(r"%\">(\d+)</td>", part) == shares
        assert [int(n) for n in re.findall(r'"plain">(\d+)', part)] == [sum(row) for row in figures["confusion"]]


def test_names_cannot_break_the_page(text):
    assert "svm_a &lt;b&gt;" in text and "<b>" not in text


def test_the_page_loads_nothing(text):
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert sources and all(source.startswith(("data:", "#")) for source in sources)
    assert "http" not in re.sub(r"data:[^\"]*", "", text).replace("http-equiv", "")
    assert "<link" not in text and "@import" not in text and "default-src 'none'" in text


def test_a_reader_without_eyes_or_mouse_finds_everything(text):
    assert all(re.search(r'alt="[^"]*"', image) for image in re.findall(r"<img[^>]*>", text))
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    linked = re.findall(r'(?:href="#|for="|aria-controls=")([^"]+)"', text)
    assert linked and set(linked) <= set(ids)
    assert all('scope="' in head or "aria-hidden" in head for head in re.findall(r"<th\b[^>]*>", text))
    assert 'lang="en"' in text and text.count("<h1>") == 1
    assert all('aria-label="' in chart for chart in re.findall(r'<svg class="chart"[^>]*>', text))
    # What scrolls can be scrolled by the keyboard.
    assert all('tabindex="0"' in box for box in re.findall(r'<div class="scroll"[^>]*>|<pre[^>]*>', text))


def test_the_same_results_make_the_same_page_and_other_pages_are_linked(corpus, text, tmp_path):
    folder = tmp_path / "corpus"
    shutil.copytree(corpus, folder)
    (folder / "study.html").write_text("")
    write_page(read_results([folder / "fbp"]), folder / "features.h5", folder / "report.html")
    again = (folder / "report.html").read_text()
    assert '<a href="study.html">fusion study</a>' in again
    assert again.replace('<a href="study.html">fusion study</a>.\n', "") == text


def test_two_normalisations_are_kept_apart(corpus, metrics, tmp_path):
    other = tmp_path / "speaker"
    shutil.copytree(corpus / "fbp", other)
    (other / "metrics.json").write_text(
        json.dumps(metrics | {"normalisation": "speaker", "comparisons": [], "words": []})
    )
    out = tmp_path / "study.html"
    write_page(read_results([corpus / "fbp", other]), corpus / "features.h5", out)
    text = out.read_text()
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert "transductive" in text and "Models: normalised per speaker" in text and "no difference was tested" in text


def test_a_corpus_without_speakers_or_any_video(tmp_path):
    clips = [replace(clip, speaker="", failed="no packets") for clip in make_clips()]
    text = (write_corpus(tmp_path / "corpus", clips) / "report.html").read_text()
    for words in (
        "test speakers unknown",
        "<dd>unknown<small>",
        "no video",
        "Speaker-independent folds are impossible",
    ):
        assert words in text, words
    assert "Accuracy by speaker" not in text and "Clips per speaker" not in text


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(UserError, match="no results to report"):
        read_results([tmp_path])


SCRIPT = """
  const column = (table, i) => all("#" + table + " tbody tr:not([hidden])")
    .map((row) => row.cells[i].textContent.trim());
  const models = "models-table-1", filter = document.getElementById("clips").closest("details");
  found.wide = document.documentElement.scrollWidth > innerWidth;
  found.colour = getComputedStyle(document.body).backgroundColor;
  const buttons = all("#" + models + " th button");
  buttons[1].click();
  found.down = column(models, 1).map(parseFloat);
  buttons[1].click();
  found.up = column(models, 1).map(parseFloat);
  found.state = buttons[1].parentElement.getAttribute("aria-sort");
  buttons[0].click();
  found.names = all("#" + models + " tbody th").map((cell) => cell.firstChild.textContent);
  filter.open = true;
  const search = filter.querySelector("input");
  search.value = "s3 odd";
  search.dispatchEvent(new Event("input"));
  found.speakers = column("clips", 2);
  found.count = search.nextElementSibling.textContent;
  found.others = all("#" + models + " tbody tr[hidden]").length;
  found.images = all(".example img").map((image) => image.naturalWidth);
  found.focus = all("button, input, summary, a[href], .scroll").filter((part) => part.checkVisibility())
    .every((part) => { part.focus(); return document.activeElement === part; });
  found.plots = all(".plot").map((cell) => [...cell.children].every((mark) => {
    const inner = mark.getBoundingClientRect(), outer = cell.getBoundingClientRect();
    return inner.left >= outer.left - 7 && inner.right <= outer.right + 7; }));
  dispatchEvent(new Event("beforeprint"));
  found.printed = all("details.print").every((part) => part.open);
"""


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(1200, LIGHT), (420, DARK)], ids=["wide, light", "narrow, dark"])
def test_sorting_filter_keyboard_and_colours_in_a_browser(corpus, metrics, width, scheme):
    found = in_browser(
        corpus / "report.html", SCRIPT, f"--blink-settings=preferredColorScheme={int(scheme is LIGHT)}", width=width
    )
    assert found["errors"] == [] and found["requests"] == [] and not found["wide"]
    assert found["colour"] == f"rgb{tuple(int(scheme['paper'][i : i + 2], 16) for i in (1, 3, 5))}"
    assert found["down"] == sorted(found["down"], reverse=True) == found["up"][::-1] and len(found["up"]) == 7
    assert found["state"] == "ascending"
    assert found["names"] == sorted(metrics["models"], reverse=True, key=str.lower)
    assert found["speakers"] and set(found["speakers"]) == {"s3"}
    assert found["count"] == f"{len(found['speakers'])} of 48 clips"
    assert found["others"] == 0 and found["images"] and all(found["images"])
    assert found["focus"] and all(found["plots"]) and found["printed"]
