"""The contact sheet: what is shown of each clip, what is not, and that the page needs nothing else."""

import re
import shutil
import subprocess
from dataclasses import replace

import av
import numpy as np
import pytest
from small_store import make_clips, write_store

from deepfusion.errors import UserError
from deepfusion.report.faces_page import PER_CLIP, write_page


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of four clips; of the media files the first is there, the second is no video, the others are missing."""
    folder = tmp_path_factory.mktemp("sheet")
    first, second, third, fourth = make_clips(speakers=1, clips=4)
    first = replace(first, faces=np.zeros((6, 7), np.float32), valid=np.array([True, True, False, False, True, True]))
    second = replace(second, valid=np.zeros(len(second.valid), bool))
    fourth = replace(fourth, failed="no such <clip>")
    path = write_store(folder, [first, second, third, fourth])
    with av.open(str(folder / f"{first.id}.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 255, (6, 240, 320, 3), np.uint8)
        for image in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    (folder / f"{second.id}.mp4").write_bytes(b"no video")
    return path


def sections(store, tmp_path, **options):
    """Clip id -> its part of the page, in the page's order; and the page."""
    out = tmp_path / "faces.html"
    shown = write_page(store, out, **options)
    page = out.read_text(encoding="utf-8")
    parts = {re.search(r"<h2>(.*?)</h2>", part)[1]: part for part in page.split("<section")[1:]}
    assert shown == len(parts)
    return parts, page


def test_lowest_coverage_first_with_reasons_and_pictures(store, tmp_path):
    parts, page = sections(store, tmp_path, media=store.parent)
    assert next(iter(parts)) == "s0-1" and list(parts)[-1] == "s0-3"  # no coverage is known of a failed clip
    first = parts["s0-0"]
    assert "66.7 %" in first and "4 of 6 frames" in first and "no face: 0." in first
    assert first.count("<img") == 6 and first.count('class="lost"') == 2
    assert "no such &lt;clip&gt;" in parts["s0-3"] and "<img" not in parts["s0-3"]
    assert "some images are missing: s0-1.mp4" in parts["s0-1"]
    assert "the file s0-2.mp4 is missing" in parts["s0-2"] and "<rect" in parts["s0-2"]
    assert all(of.startswith("data:image/jpeg") for of in re.findall(r'src="([^"]*)"', page))
    assert "http" not in re.sub(r'src="data:[^"]*"', "", page).replace("http-equiv", "")


def test_a_long_clip_has_twelve_pictures(tmp_path):
    clip = replace(make_clips(speakers=1, clips=1)[0], faces=np.zeros((40, 7)), valid=np.ones(40, bool))
    store = write_store(tmp_path, [clip])
    with av.open(str(tmp_path / f"{clip.id}.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(40):
            frame = av.VideoFrame.from_ndarray(np.zeros((240, 320, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    parts, _ = sections(store, tmp_path, media=tmp_path)
    assert parts[clip.id].count("<img") == PER_CLIP


def test_blurred_pictures_differ_and_none_are_shown_where_none_are_wanted(store, tmp_path):
    sharp = sections(store, tmp_path, media=store.parent)[0]["s0-0"]
    blurred = sections(store, tmp_path, media=store.parent, blur=True)[0]["s0-0"]
    assert blurred.count("<img") == sharp.count("<img") and len(blurred) < len(sharp) / 2  # noise became smooth
    parts, page = sections(store, tmp_path, media=store.parent, images=False)
    assert "<img" not in page and "not there" not in page and "<rect" in parts["s0-0"]


def test_without_a_manifest_it_says_why_there_are_no_pictures(store, tmp_path):
    parts, page = sections(store, tmp_path)
    assert "<img" not in page and "no manifest.csv next to the store" in parts["s0-0"]


def test_clips_by_their_ids(store, tmp_path):
    parts, page = sections(store, tmp_path, clips=["s0-2", "s0-0"], images=False)
    assert list(parts) == ["s0-2", "s0-0"] and "2 of the 4 clips" in page
    with pytest.raises(UserError, match="did you mean 's0-0'"):
        write_page(store, tmp_path / "none.html", clips=["s0-00"])
    assert not (tmp_path / "none.html").exists()


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_the_filter_in_a_browser(store, tmp_path):
    _, page = sections(store, tmp_path, media=store.parent)
    script = """<script>
    document.getElementById("below").value = "60"; filter();
    const few = document.getElementById("count").textContent;
    search.value = "S0-1"; filter();
    document.title = JSON.stringify([few, clips.filter((clip) => !clip.hidden).map((clip) => clip.id).length]);
    </script></body>"""
    path = tmp_path / "tried.html"
    path.write_text(page.replace("</body>", script), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert '<title>["2 of 4 clips",1]</title>' in dom
