"""The contact sheet: which faces were followed in the clips of a store, when and why the person was lost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from markupsafe import Markup

from deepfusion.cache_key import digest
from deepfusion.config import DEFAULT_LIMITS
from deepfusion.corpora.manifest import read_manifest
from deepfusion.errors import ClipError
from deepfusion.extract.pictures import begin, face_of, shrunk
from deepfusion.extract.workers import Workers
from deepfusion.report import base_template, html, timeline
from deepfusion.report.faces_template import PAGE, SCRIPT, SECTION, STYLE
from deepfusion.report.summary import coverage
from deepfusion.store import Clip, FeatureStore

PER_CLIP = 12  # images per clip
PAGE_NAME = "faces.html"  # next to the report page, which links to it
THUMBNAIL = 96  # px
DECODED = 1280  # longest side of the frames from which faces are cut, px
BLURRED = 7  # side to which an image is reduced for blurring, px
MOST = 500  # maximum clips per page
# Names of detectors in words.
DETECTORS = {"DLIB": "dlib", "DLIB_WEAK": "dlib (weak)", "YUNET": "YuNet"}
COLOURS = [f"var(--series{i})" for i in range(base_template.SERIES)]


def write_page(
    store: Path,
    out: Path,
    *,
    clips: Sequence[str] = (),
    media: Path | None = None,
    images: bool = True,
    blur: bool = False,
) -> int:
    """Write the page as one self-contained file.

    Args:
        store: A feature store.
        out: HTML file.
        clips: Ids of the clips; none: those of the lowest coverage, `MOST` at most.
        media: Base folder of the store's paths; None: paths come from the manifest next to the store.
        images: Whether to show faces.
        blur: Whether to make them unrecognisable.

    Returns:
        How many clips the page has.

    Raises:
        UserError: The store cannot be read, or has no such clip.
    """
    with FeatureStore(store) as opened, Workers(begin, limits=DEFAULT_LIMITS) as processes:
        table = opened.clips
        share = coverage(table)
        ids = [opened[clip_id].id for clip_id in clips] or share.sort_values(kind="stable").index[:MOST].tolist()
        files = _files(opened, media) if images else {}
        legend = _legend(opened)
        sections = (
            Markup(  # rendered with escaping
                html.render(
                    SECTION,
                    **_facts(opened[clip_id], table.loc[clip_id], legend),
                    **_strip(opened[clip_id], table.loc[clip_id], files.get(clip_id), processes, images, blur),
                )
            )
            for clip_id in ids
        )
        frames, faces = int(table["frames"].sum()), int(table["faces"].sum())
        html.write_page(
            out,
            PAGE,
            store=store,
            shown=len(ids),
            chosen=bool(clips),
            clips=len(table),
            frames=frames,
            faces=faces,
            share=100 * faces / frames if frames else 0.0,
            legend=legend,
            images=images,
            blur=blur,
            sections=sections,
            hatch=Markup(base_template.HATCH),
            style=Markup(STYLE),
            script=Markup(SCRIPT),
        )
    return len(ids)


def _files(store: FeatureStore, media: Path | None) -> dict[str, Path]:
    """Clip id -> media file; empty if unknown."""
    if media is not None:
        return {clip_id: media / path for clip_id, path in store.clips["path"].items()}
    manifest = store.path.parent / "manifest.csv"
    if not manifest.is_file():
        return {}
    return read_manifest(manifest, labels=None).set_index("id")["path"].map(Path).to_dict()


def _legend(store: FeatureStore) -> dict[int, dict[str, str]]:
    """Code of a detector -> its name and colour; empty if the store has no column `detector`."""
    if "detector" not in store.keys:
        return {}
    codes = (text.split() for text in store.attributes("detector")["codes"].split(", "))
    named = {int(code): DETECTORS.get(name, name.lower()) for code, name in codes if int(code)}
    return {code: {"name": name, "colour": COLOURS[i % len(COLOURS)]} for i, (code, name) in enumerate(named.items())}


def _facts(clip: Clip, row: pd.Series, legend: Mapping[int, Mapping[str, str]]) -> dict[str, Any]:
    """The text and the timeline of a clip."""
    time, valid = clip["time"], clip["valid"]
    found = {"time": time, "reason": clip["reason"]}
    first, last = (float(time[0]), float(time[-1])) if len(time) else (0.0, 0.0)
    gaps = timeline.gaps(found, first, last) if last > first else []
    for gap in gaps:  # gaps reach half a frame beyond the first and last frame
        gap |= {"from": max(gap["from"], first), "to": min(gap["to"], last)}
    runs, shares = [], []
    if legend and len(time):
        codes = np.where(valid, clip["detector"], 0)
        shares = [(of["name"], 100 * np.mean(codes == code)) for code, of in legend.items() if (codes == code).any()]
        runs = [run | legend[run["code"]] for run in _runs(time, codes, first, last) if run["code"]]
    elif len(time):
        runs = [run | {"name": "face", "colour": COLOURS[0]} for run in _runs(time, valid, first, last) if run["code"]]
    lost = pd.DataFrame(gaps, columns=["reason", "from", "to"])
    lost["length"] = lost["to"] - lost["from"]
    return {
        "id": clip.id,
        "anchor": f"clip-{digest(clip.id)}",
        "about": [text for text in (row["speaker"], row["label"]) if text],
        "status": "" if row["video_status"] == "ok" else f"{row['video_status']}: {row['video_reason']}",
        "frames": len(time),
        "faces": int(valid.sum()),
        "share": 100 * float(valid.mean()) if len(time) else 0.0,
        "shares": shares,
        "runs": runs,
        "gaps": gaps,
        "lost": [
            {
                "reason": reason,
                "times": len(of),
                "seconds": of["length"].sum(),
                "longest": of.loc[of["length"].idxmax()],
            }
            for reason, of in lost.groupby("reason", sort=False)
        ],
        "ticks": timeline.ticks(first, last) if last > first else [],
        "width": timeline.WIDTH,
    }


def _runs(time: np.ndarray, codes: np.ndarray, begin: float, end: float) -> list[dict[str, Any]]:
    """Stretches of frames with the same code: code, and x and width in units of SVG."""
    if end <= begin:
        return []
    starts = np.flatnonzero(np.diff(codes.astype(int), prepend=-1))
    edges = timeline.place(timeline.borders(time), begin, end)
    stops = [*starts[1:], len(codes)]
    return [
        {"code": int(codes[a]), "x": round(edges[a], 1), "width": round(max(edges[b] - edges[a], 1), 1)}
        for a, b in zip(starts, stops, strict=True)
    ]


def _strip(
    clip: Clip, row: pd.Series, path: Path | None, processes: Workers, images: bool, blur: bool
) -> dict[str, Any]:
    """Evenly spaced images of a clip: the face, or the whole frame where the person is lost."""
    time = clip["time"]
    if not images or not len(time):
        return {"tiles": [], "note": ""}
    if path is None:
        return {"tiles": [], "note": "no images: no manifest.csv next to the store with the path of the clip"}
    if not path.is_file():
        return {"tiles": [], "note": f"no images: the file {path.name} is missing"}
    edges = timeline.borders(time)
    wanted = edges[0] + (edges[-1] - edges[0]) * (np.arange(PER_CLIP) + 0.5) / PER_CLIP
    chosen = {float(time[i]): int(i) for i in np.unique(np.searchsorted(edges, wanted) - 1)}
    tiles: dict[float, dict[str, Any]] = {}
    note = ""
    try:
        for moment, image in processes.stream((str(path), sorted(chosen), DECODED)):
            tiles[moment] = _tile(clip, chosen[moment], image, row, blur) | {"time": moment}
    except ClipError as error:
        note = f"some images are missing: {error}"
    return {"tiles": list(tiles.values()), "note": note}


def _tile(clip: Clip, frame: int, image: np.ndarray, row: Mapping[str, Any], blur: bool) -> dict[str, Any]:
    found = bool(clip["valid"][frame])
    if found:
        picture = face_of(image, clip["box"][frame] * (image.shape[1] / row["width"]), THUMBNAIL)
    else:
        picture = shrunk(image, THUMBNAIL)
    if blur:
        small = cv2.resize(picture, (BLURRED, BLURRED), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return {"found": found, "image": timeline.jpeg(picture)}
