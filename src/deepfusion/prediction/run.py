"""`deepfusion predict`: predictions of many clips as lines on the terminal, csv, JSON and an HTML page."""

import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deepfusion.atomic import write_atomically
from deepfusion.errors import UserError
from deepfusion.prediction.card import model_lines, trained_on
from deepfusion.prediction.file_names import file_name
from deepfusion.prediction.normalisation import Normalisation, check_normalisation
from deepfusion.prediction.predictor import Predictor, check_window
from deepfusion.prediction.records import Records, together
from deepfusion.prediction.result import Prediction, clip_row, line, window_columns, window_row, write_table
from deepfusion.progress import track

log = logging.getLogger(__name__)

OUTPUTS = ("csv", "json", "html")
UNANSWERED = ("no_answer", "failed")
PAGE_WINDOW = 2.0, 0.5  # length and hop of the page's curves if no windows are requested, s
EXIT_ALL, EXIT_SOME = 0, 3
"""Exit status: every clip has an answer; some have none."""


@dataclass(frozen=True)
class Options:
    """What to predict and what to write.

    Attributes:
        window: Length of windows, s; None: whole clips only.
        hop: Distance between window starts, s; None: the length of a window.
        norm: Normalisation; None: that of the model's training.
        top: Number of classes per line.
        outputs: Any of "csv", "json", "html".
        thumbnails: Whether the page shows frames of the video.
        landmarks: Whether the per-frame tables have the 68 points.
        overwrite: Whether to repeat predictions that are up to date.

    Raises:
        UserError: See `check_window`.
    """

    window: float | None = None
    hop: float | None = None
    norm: Normalisation | None = None
    top: int = 2
    outputs: Collection[str] = ()
    thumbnails: bool = True
    landmarks: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_window(self.window, self.hop)


def run(
    predictor: Predictor, clips: pd.DataFrame, out: Path | None, options: Options, show: Callable[[str], None] = print
) -> int:
    """Predict all clips, show one line each, and write the requested outputs.

    Args:
        predictor: The model; it is left open.
        clips: Rows of a manifest, as `inputs.clips_of` gives them.
        out: Folder for the results; None: none are written.
        options: What to predict and write.
        show: Prints a line of text.

    Returns:
        The exit status.

    Raises:
        UserError: The normalisation does not fit the model.
        MachineError: The folder cannot be written.
    """
    norm = check_normalisation(predictor.card, options.norm, name=predictor.name)
    about = model_lines(predictor, norm)
    if known := trained_on(predictor.card, clips):
        about.append(
            f"{len(known)} of {len(clips)} clips were used to train this model, so their predictions do not show its "
            f"accuracy: {_listed(known)}"
        )
    for text in about:
        show(text)
    if out is None:
        predicted = _each(predictor, clips, options)
        rows = [_shown(next(predicted).to_dict(), options, show) for _ in _tracked(clips)]
    else:
        rows = list(_recorded(predictor, clips, out, options, norm, about, show))
    without = [row["id"] for row in rows if row["status"] in UNANSWERED]
    if without:
        log.warning("%d of %d clips have no answer: %s", len(without), len(rows), _listed(without))
    return EXIT_SOME if without else EXIT_ALL


def _each(predictor: Predictor, clips: pd.DataFrame, options: Options) -> Iterator[Prediction]:
    window, hop = options.window, options.hop
    if window is None and "html" in options.outputs:
        window, hop = PAGE_WINDOW
    return predictor.each(clips, window=window, hop=hop, norm=options.norm)


def _tracked(clips: pd.DataFrame) -> Iterator[str]:
    """Ids of the clips, with their progress if there are several."""
    return track(clips["id"].tolist(), "predict", unit="clips") if len(clips) > 1 else iter(clips["id"])


def _shown(found: dict[str, Any], options: Options, show: Callable[[str], None]) -> dict[str, Any]:
    """Show a clip's line; returns its id and status."""
    show(line(found, options.top))
    return {name: found[name] for name in ("id", "status")}


def _recorded(
    predictor: Predictor,
    clips: pd.DataFrame,
    out: Path,
    options: Options,
    norm: Normalisation,
    about: list[str],
    show: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """`_shown` for each clip, without predicting those with an up-to-date record again; then write the tables."""
    what = [predictor.model.sha256, predictor.labels, options.window, options.hop, norm]
    records = Records(out, [*what, sorted(options.outputs), options.thumbnails, options.landmarks])
    group = "" if norm == "none" else together(clips)
    kept = {clip.id for clip in clips.itertuples() if not options.overwrite and records.kept(clip, together=group)}
    if group and len(kept) < len(clips):
        kept = set()  # all clips are normalised together
    if kept:
        log.info("%d of %d clips are up to date: kept", len(kept), len(clips))
    predicted = _each(predictor, clips[~clips["id"].isin(kept)], options)
    rows = {clip.id: clip for clip in clips.itertuples()}
    for clip_id in _tracked(clips):
        if clip_id in kept:
            yield _shown(records.found(clip_id), options, show)
            continue
        prediction = next(predicted)
        found = prediction.to_dict()
        section, files = _write_clip(prediction, found, predictor, out, options)
        records.write(rows[prediction.id], found, section=section, files=files, together=group)
        yield _shown(found, options, show)
    _write_tables(records, clips["id"].tolist(), predictor, norm, about, out, options)


def _write_clip(
    prediction: Prediction, found: Mapping[str, Any], predictor: Predictor, out: Path, options: Options
) -> tuple[str, list[str]]:
    """Write the per-frame table of a clip; returns its HTML and the files written."""
    files = []
    if "csv" in options.outputs and prediction.frame_count:
        files.append(f"frames/{file_name(prediction.id)}.csv")
        prediction.to_csv(out / files[0], landmarks=options.landmarks)
    if "html" not in options.outputs:
        return "", files
    from deepfusion.prediction.page import section

    pictures = predictor.pictures if options.thumbnails else None
    return section(prediction, found, folder=out, pictures=pictures, table=files[0] if files else ""), files


def _write_tables(
    records: Records,
    ids: list[str],
    predictor: Predictor,
    norm: Normalisation,
    about: list[str],
    out: Path,
    options: Options,
) -> None:
    header = {"model": predictor.name, "model_sha256": predictor.model.sha256, "normalisation": norm}
    header |= {"labels": list(predictor.labels), "window": options.window, "hop": options.hop}
    if "csv" in options.outputs:
        rows = [clip_row(found, predictor.labels) for found in records.all(ids)]
        write_table(out / "predictions.csv", pd.DataFrame(rows))
        if options.window:
            rows = [
                {"id": found["id"], **window_row(window, predictor.labels)}
                for found in records.all(ids)
                for window in found["windows"]
            ]
            write_table(out / "windows.csv", pd.DataFrame(rows, columns=["id", *window_columns(predictor.labels)]))
    if "json" in options.outputs:
        write_atomically(out / "predict.json", lambda part: _write_json(part, header, records.all(ids)))
    if "html" in options.outputs:
        from deepfusion.prediction.page import write_page

        write_page(out / "predict.html", about, records, ids, labels=predictor.labels)
    log.info("%s: %s", out, ", ".join(options.outputs))


def _write_json(path: Path, about: Mapping[str, Any], clips: Iterator[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(about, indent=1)[:-2] + ',\n "clips": [')
        for i, found in enumerate(clips):
            file.write(("," if i else "") + "\n  " + json.dumps(found, allow_nan=False))
        file.write("\n ]\n}\n")


def _listed(ids: list[str], shown: int = 10) -> str:
    more = f" and {len(ids) - shown} more" if len(ids) > shown else ""
    return ", ".join(ids[:shown]) + more


def outputs_of(csv: bool, json: bool, html: bool, out: Path | None) -> tuple[list[str], Path | None]:
    """Outputs and folder: the requested outputs; all of them if only a folder is given; else none.

    Raises:
        UserError: The folder is a file.
    """
    chosen = [name for name, wanted in zip(OUTPUTS, (csv, json, html), strict=True) if wanted]
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: give a folder")
    if out is None:
        return (chosen, Path("predictions")) if chosen else ([], None)
    return chosen or list(OUTPUTS), out
