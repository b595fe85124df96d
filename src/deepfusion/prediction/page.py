"""Predictions as one offline HTML page: for each clip, probabilities over time, attention and inputs."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import cv2
import numpy as np
from markupsafe import Markup

from deepfusion.cache_key import digest
from deepfusion.evaluation.attention import effective_share
from deepfusion.extract.pictures import face_of
from deepfusion.prediction.page_template import PAGE, SCRIPT, SECTION, STYLE
from deepfusion.prediction.result import EMOTIONS, STATUSES, Prediction
from deepfusion.prediction.windows import span
from deepfusion.report import base_template, html, timeline

if TYPE_CHECKING:
    from deepfusion.prediction.records import Records

DETAILED = 200  # clips shown in detail; all others only have a row in the table
POSTER, THUMBNAIL = 480, 96  # longest side of a picture, px
THUMBNAILS = 4  # number of most attended frames, and of least attended ones
APART = 0.2  # minimum distance of the shown frames, s
POINTS = 300  # maximum points of a curve
SILENT = 10  # windows without an answer shown one by one
# Okabe and Ito's colours, distinguishable for colour-blind people; further curves are dashed.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#b8860b")

Pictures = Callable[[Any, list[float], int], dict[float, np.ndarray]]


def section(
    prediction: Prediction,
    found: Mapping[str, Any],
    *,
    folder: Path,
    pictures: Pictures | None,
    table: str = "",
) -> str:
    """The HTML of one clip.

    Args:
        prediction: Of the clip.
        found: Its `to_dict`.
        folder: Folder of the page; the link to the media file is relative to it.
        pictures: Returns frames of the clip by time; None: no frames are shown.
        table: The per-frame csv, relative to `folder`; "" if there is none.
    """
    clip = prediction.clip
    begin, end = span(clip) if any(len(clip.get(key, ())) for key in ("time", "audio_time")) else (0.0, 0.0)
    poster, thumbnails = _pictures_of(prediction, pictures) if pictures and prediction.frame_count else ("", [])
    return html.render(
        SECTION,
        found=found,
        anchor=anchor(prediction.id),
        media=quote(Path(os.path.relpath(prediction.path, folder)).as_posix()),
        is_video=prediction.frame_count > 0,
        status=STATUSES[prediction.status],
        labels=prediction.labels,
        uniform=1 / len(prediction.labels),
        ranked=sorted(found["probabilities"].items(), key=lambda item: -item[1]),
        poster=poster,
        thumbnails=thumbnails,
        begin=begin,
        end=end,
        ticks=timeline.ticks(begin, end) if end > begin else [],
        lanes=_lanes(prediction, begin, end) if end > begin else [],
        gaps=timeline.gaps(clip, begin, end),
        size={"width": timeline.WIDTH, "height": timeline.HEIGHT},
        table=quote(table),
        note=prediction.facts.get("audio_note", ""),
    )


def _lanes(prediction: Prediction, begin: float, end: float) -> list[dict[str, Any]]:
    """The diagrams over time, from top to bottom."""
    clip, attention, lanes = prediction.clip, prediction.attention, []
    if prediction.parts:
        windows = prediction.windows
        middles = ((windows["start"] + np.minimum(windows["end"], end)) / 2).to_numpy()
        first = prediction.parts[0]
        title = f"Prediction of each window of {first.end - first.start:g} s"
        values = windows[list(prediction.labels)].to_numpy(np.float64)
        lane = _curves(title, *timeline.binned(middles, values, POINTS), prediction.labels, (begin, end))
        silent = [vars(part) for part in prediction.parts if part.answer is None]
        lanes.append(lane | {"silent": silent[:SILENT], "more": max(0, len(silent) - SILENT)})
    if "emotion" in clip and clip["valid"].any():
        times, values = timeline.binned(clip["time"], clip["emotion"], POINTS)
        lanes.append(_curves("Emotion in each frame by the face networks", times, values, EMOTIONS, (begin, end)))
    if "video" in attention:
        share = effective_share(attention["video"].weight)
        lanes.append(
            {
                "kind": "band",
                "title": f"Attention to the frames (effective share {100 * share:.0f} %)",
                "image": timeline.frame_band(clip["time"], attention["video"], begin, end),
            }
        )
    if len(clip.get("audio_time", ())):
        lane = {
            "kind": "spectrogram",
            "title": "Spectrogram",
            "image": timeline.spectrogram_image(clip, begin, end),
            "highest": prediction.facts.get("highest_hz", 4000.0) / 1000,
        }
        if "audio" in attention:
            share = effective_share(attention["audio"].weight)
            lane["title"] += f"; orange: attention above the uniform weight (effective share {100 * share:.0f} %)"
            lane["over"] = timeline.audio_band(attention["audio"], 1000 * lane["highest"], begin, end)
        lanes.append(lane)
    return lanes


def _curves(
    title: str, times: np.ndarray, values: np.ndarray, names: Sequence[str], axis: tuple[float, float]
) -> dict[str, Any]:
    curves = timeline.curves(times, values, names, *axis)
    for i, curve in enumerate(curves):
        curve |= {"colour": COLOURS[i % len(COLOURS)], "dash": "" if i < len(COLOURS) else "6 4"}
    strongest = max(curves, key=lambda curve: curve["mean"])["name"]
    return {"kind": "curves", "title": title, "curves": curves, "strongest": strongest}


def _pictures_of(prediction: Prediction, pictures: Pictures) -> tuple[str, list[dict[str, Any]]]:
    """The poster, a frame with the face's box, and the thumbnails of the most and least attended frames."""
    clip, attention = prediction.clip, prediction.attention.get("video")
    chosen = []
    if attention is not None:
        order = np.argsort(-np.asarray(attention.weight), kind="stable")
        chosen = [("most", i) for i in _apart(attention.time, order)]
        taken = {i for _, i in chosen}
        chosen += [("least", i) for i in _apart(attention.time, order[::-1]) if i not in taken]
    frames = {i: int(np.searchsorted(clip["time"], attention.time[i] - 1e-6)) for _, i in chosen}
    shown = frames[chosen[0][1]] if chosen else int(np.argmax(clip["valid"]))
    times = {float(clip["time"][i]) for i in (*frames.values(), shown)}
    images = pictures(prediction, sorted(times), POSTER)
    poster = images.get(float(clip["time"][shown]))
    uri = "" if poster is None else timeline.jpeg(_boxed(poster, clip["box"][shown], prediction.facts))
    thumbnails = []
    for which, i in chosen:
        image = images.get(float(clip["time"][frames[i]]))
        if image is not None:
            scale = image.shape[1] / prediction.facts["width"]
            face = face_of(image, scale * clip["box"][frames[i]], THUMBNAIL)
            time, weight = float(attention.time[i]), float(attention.weight[i]) * len(attention.weight)
            thumbnails.append({"which": which, "time": time, "weight": weight, "image": timeline.jpeg(face)})
    return uri, thumbnails


def _apart(times: np.ndarray, order: np.ndarray) -> list[int]:
    """The first `THUMBNAILS` indices of an order that are at least `APART` from one another in time."""
    found: list[int] = []
    for i in order:
        if all(abs(times[i] - times[j]) >= APART for j in found):
            found.append(int(i))
        if len(found) == THUMBNAILS:
            break
    return found


def _boxed(image: np.ndarray, box: np.ndarray, facts: Mapping[str, Any]) -> np.ndarray:
    if not np.isfinite(box).all():
        return image
    left, top, right, bottom = (round(float(side)) for side in box * (image.shape[1] / facts["width"]))
    return cv2.rectangle(image.copy(), (left, top), (right, bottom), timeline.ACCENT, 2)


def write_page(
    out: Path, about: Sequence[str], records: "Records", ids: Sequence[str], *, labels: Collection[str]
) -> None:
    """Write the page of a run.

    Args:
        out: HTML file.
        about: Lines on the model, its accuracy and its limits.
        records: Of all clips.
        ids: Of the clips.
        labels: The classes.
    """
    rows = [_row(records.found(id_)) for id_ in ids]
    order = sorted(range(len(ids)), key=lambda i: -(rows[i]["score"] or 0))
    shown = [ids[i] for i in order[:DETAILED]]
    write_html(out, about, [rows[i] for i in order], map(records.section, shown), labels=labels)


def page_of_one(prediction: Prediction, out: Path, *, thumbnails: bool) -> None:
    """Write the page of a single prediction; see `Prediction.to_html`."""
    from deepfusion.extract.pictures import read_pictures

    found = prediction.to_dict()
    text = section(prediction, found, folder=out.parent, pictures=read_pictures if thumbnails else None)
    about = [f"model {prediction.model} ({prediction.model_sha256[:8]}): {', '.join(prediction.labels)}"]
    write_html(out, about, [_row(found)], [text], labels=prediction.labels)


def write_html(
    out: Path, about: Sequence[str], rows: Sequence[Mapping], sections: Any, *, labels: Collection[str]
) -> None:
    """Write a page of sections, one in memory at a time."""
    html.write_page(
        out,
        PAGE,
        about=about,
        rows=rows,
        sections=(Markup(text) for text in sections),  # rendered with escaping
        detailed=DETAILED,
        labels=labels,
        style=Markup(STYLE),
        script=Markup(SCRIPT),
        hatch=Markup(base_template.HATCH),
        statuses=STATUSES,
    )


def anchor(clip_id: str) -> str:
    """Name of a clip's part of the page."""
    return f"clip-{digest(clip_id)}"


def _row(found: Mapping[str, Any]) -> dict[str, Any]:
    """A clip's row of the table."""
    alone = {name: max(values.items(), key=lambda item: item[1]) for name, values in found["by_modality"].items()}
    names = ("id", "label", "score", "status", "reason", "frames", "faces", "audio_seconds")
    return {name: found[name] for name in names} | {"alone": alone, "anchor": anchor(found["id"])}
