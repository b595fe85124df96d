"""The report of a corpus and its fusion models: one self-contained HTML page."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from markupsafe import Markup

from deepfusion import __version__
from deepfusion.costs import bottleneck, totals
from deepfusion.errors import UserError
from deepfusion.evaluation.metrics import read_predictions
from deepfusion.evaluation.significance import LEVEL, least_p
from deepfusion.evaluation.summary import NORMALISATIONS, summary_markdown
from deepfusion.report import base_template, comparison, findings, html, timeline
from deepfusion.report.attention_examples import examples
from deepfusion.report.charts import line_chart
from deepfusion.report.costs import HEAD, cells, words
from deepfusion.report.page_template import PAGE, SCRIPT, STYLE
from deepfusion.report.summary import coverage
from deepfusion.store import FeatureStore
from deepfusion.versions import ENCODER, VERSIONS, installed_version

LISTED = 20  # clips shown per finding
CLIPS = 2000  # maximum rows of the table of clips
SHORT = {"training": "normalised by training speakers", "speaker": "normalised per speaker"}
LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "h5py", "av", "dlib-bin", "dlib", "librosa", "snakemake")
# Other pages of a corpus, linked if they are in the same folder.
PAGES = {"report.html": "FBP", "study.html": "fusion study", "faces.html": "contact sheet"}
METHODS = (
    "Y. Zhang, Z.-R. Wang, J. Du, Deep Fusion: An Attention Guided Factorized Bilinear Pooling for Audio-video Emotion "
    "Recognition, IJCNN 2019 (arXiv:1901.04889): attention and FBP",
    "S. Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6 (1979): "
    "correction for the number of comparisons",
    "Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages, "
    "Psychometrika 12 (1947): test over clips",
    "R. A. Fisher, The Design of Experiments (1935), section 21: sign-flip test over speakers",
    "A. C. Davison, D. V. Hinkley, Bootstrap Methods and their Application (1997), section 3.8: intervals",
    "C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017: ECE and temperature",
)


@dataclass(frozen=True)
class Result:
    """The results in a folder of `train-fbp` or `fusion-study`."""

    folder: Path
    metrics: dict
    choices: dict
    predictions: pd.DataFrame

    @property
    def heading(self) -> str:
        """How its features are normalised."""
        return NORMALISATIONS[self.metrics["normalisation"]]

    @property
    def markdown(self) -> str:
        """Its tables and sentences."""
        return f"{self.heading}:\n\n{summary_markdown(self.metrics, self.metrics['notes'])}"


def read_results(folders: Sequence[Path]) -> list[Result]:
    """Read the results of `train-fbp` or `fusion-study`.

    Raises:
        UserError: A folder lacks a file, or one cannot be read.
    """
    found = []
    for folder in folders:
        try:
            files = [
                json.loads((folder / name).read_text(encoding="utf-8")) for name in ("metrics.json", "choices.json")
            ]
            found.append(Result(folder, *files, read_predictions(folder / "predictions.csv")))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{folder}: no results to report ({error}); `snakemake train_fbp` or `fusion_study` makes them"
            ) from error
    return found


def write_page(results: Sequence[Result], store: Path, out: Path) -> None:
    """Write the page.

    Args:
        results: Of one corpus, such as one per normalisation.
        store: Their feature store.
        out: HTML file.
    """
    with FeatureStore(store) as opened:
        values = _corpus(opened) | _setup(opened, results)
        studies = [_study(result, opened, out.parent) for result in results]
    html.write_page(
        out,
        PAGE,
        title=out.parent.name,
        style=Markup(base_template.STYLE + STYLE),
        script=Markup(base_template.TABLES + SCRIPT),
        hatch=Markup(base_template.HATCH),
        links=_links(out),
        tiles=_tiles(values, studies),
        studies=studies,
        level=LEVEL,
        listed=LISTED,
        size={"width": timeline.WIDTH, "height": timeline.HEIGHT},
        **values,
    )


def _links(out: Path) -> list[dict[str, str]]:
    others = {name: text for name, text in PAGES.items() if name != out.name}
    return [{"address": name, "text": text} for name, text in others.items() if out.with_name(name).is_file()]


def _corpus(store: FeatureStore) -> dict[str, Any]:
    """Values of the page on clips and extraction costs."""
    clips, spent = store.clips, store.ledger
    balance = findings.balance(clips)
    costs = None if spent.empty else totals(spent)
    limit = None if costs is None else bottleneck(costs)
    return {
        "clips": clips,
        "clip_count": len(clips),
        "findings": findings.findings(clips, findings.frame_intervals(store)),
        "left_out": str(store.attrs.get("left_out", "")).splitlines(),
        "balance": balance,
        "top_share": max((label["share"] for label in balance["labels"]), default=1),
        "bins": findings.coverage_bins(clips),
        "rows": findings.clip_rows(clips, CLIPS),
        "head": HEAD,
        "limit": limit,
        "costs": []
        if costs is None
        else [
            (of, share, name == limit)
            for of, share, name in zip(cells(costs), costs["share"], costs.index, strict=True)
        ],
        "cost_words": "" if costs is None else words(costs),
    }


def _tiles(values: Mapping[str, Any], studies: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The figures at the head of the page."""
    clips = values["clips"]
    seconds = {name: clips[name].sum() for name in ("video_duration", "audio_duration") if name in clips}
    share = coverage(clips).mean()
    tiles = [
        ("clips", str(len(clips)), f"{len(values['balance']['labels']) or 'no'} classes"),
        ("speakers", str(clips["speaker"][clips["speaker"].ne("")].nunique() or "unknown"), ""),
        ("media", " / ".join(f"{s / 60:.3g}" for s in seconds.values()) + " min", "video / audio") if seconds else None,
        ("face coverage", "no video" if pd.isna(share) else f"{share:.1%}", "mean of the clips"),
        ("bottleneck", values["limit"], "of the extraction") if values["limit"] else None,
    ]
    for study in studies:
        best = max(study["rows"], key=lambda row: (row["accuracy"], row["name"] == study["explained"]))
        tiles.append(
            (
                f"accuracy of {study['explained']}",
                f"{100 * study['own']:.1f} %",
                f"{study['short']}; highest: {best['name']} {100 * best['accuracy']:.1f} %",
            )
        )
    return [dict(zip(("name", "value", "more"), tile, strict=True)) for tile in tiles if tile]


def _study(result: Result, store: FeatureStore, beside: Path) -> dict[str, Any]:
    """Values of the page on one comparison of models; `beside` is the folder of the page."""
    metrics, choices, predictions = result.metrics, result.choices, result.predictions
    labels, models = metrics["labels"], metrics["models"]
    explained = metrics["attention"]["model"]
    rows = comparison.model_rows(metrics, predictions)
    chance = 1 / len(labels)
    compared = metrics["comparisons"]
    known = predictions["speaker"][predictions["speaker"].ne("")].nunique()
    best = max(models, key=lambda name: models[name]["accuracy_mean"])
    file = result.folder / "attention.h5"
    # The final model is trained on all clips: its choice is no outer fold.
    tested_folds = set(predictions["fold"])
    tested = [i for i, fold in enumerate(choices["folds"]) if fold in tested_folds]
    return {
        "heading": result.heading,
        "short": SHORT[metrics["normalisation"]],
        "words": metrics["words"],
        "notes": metrics["notes"],
        "explained": explained,
        "own": models[explained]["accuracy_mean"],
        "shown": list(dict.fromkeys([explained, best])),
        "rows": rows,
        "chance": chance,
        "ends": comparison.axis([row["interval"] for row in rows], chance),
        "comparisons": compared,
        "difference_ends": comparison.axis([of["interval"] for of in compared], 0),
        "by_speaker": comparison.speaker_rows(metrics),
        "seeds": len(choices["seeds"]),
        "protocol": _protocol(predictions),
        "folder": os.path.relpath(result.folder, beside),
        "model": (result.folder / "model").is_dir(),
        "least_p": least_p(len(compared), known),
        "speakers": f"{known} test speakers" if known else "test speakers unknown",
        "labels": labels,
        "confusions": {name: comparison.confusion_rows(of, labels) for name, of in models.items()},
        "attention": [
            f"{modality}: spread as if {100 * of['effective_share']:.1f} % of a clip's rows had equal "
            f"weight (mean; {100 * of['least']:.1f} % in the most selective 5 % of the clips; 100 % is the plain mean)."
            for modality, of in metrics["attention"].items()
            if modality != "model"
        ],
        "examples": examples(store, file, predictions) if file.is_file() else [],
        "searches": {name: _search(curve, tested) for name, curve in choices.get("curves", {}).items()},
        "sweeps": [chart for what, points in choices.get("sweeps", {}).items() for chart in _sweep(what, points)],
        "chosen": [
            (
                name,
                *(
                    comparison.counts([of[key] for i in tested for of in members[i]])
                    for key in ("learning_rate", "axes")
                ),
            )
            for name, members in choices["chosen"].items()
        ],
    }


def _protocol(predictions: pd.DataFrame) -> str:
    """Folds, and how the speakers are divided between them."""
    folds = predictions.groupby("fold")["speaker"].unique()
    count = f"{len(folds)} fold{'s' if len(folds) > 1 else ''}"
    speakers = [speaker for of in folds for speaker in of]
    if len(folds) < 2 or "" in speakers or len(speakers) > len(set(speakers)):
        return count
    return f"leave one speaker out, {count}" if len(speakers) == len(folds) else f"{count} by speaker"


def _search(curve: Sequence[Mapping[str, Any]], folds: Sequence[int]) -> Markup:
    measured = [{**point, "loss": [point["loss"][i] for i in folds]} for point in curve]
    rates, series = comparison.search_series(measured)
    return line_chart("learning rate", rates, "inner cross-entropy, nats", series)


def _sweep(what: str, points: Sequence[Mapping[str, Any]]) -> list[Markup]:
    x, charts = comparison.sweep_series(points)
    return [line_chart(what, x, f"inner {y}", [{"name": what, "values": values}]) for y, values in charts.items()]


def _setup(store: FeatureStore, results: Sequence[Result]) -> dict[str, Any]:
    """Networks, hashes, versions, configuration, citations."""
    features = {slot: store.attributes(slot) for slot in (*store.networks, ENCODER) if slot in store.keys}
    networks = [
        {
            "slot": slot,
            "name": of.get("network", ""),
            "sha256": of.get("fingerprint", of.get("sha256", "")),
            "licence": of.get("licence", ""),
        }
        for slot, of in features.items()
    ]
    hashes = [("Key of the store, which changes with any feature, label or speaker", store.attrs.get("key", ""))]
    configurations = [("Extraction", json.loads(store.attrs.get("config", "{}")))]
    for result in results:
        short = SHORT[result.metrics["normalisation"]]
        hashes.append(
            (f"Key of the store that the models were trained on ({short})", result.choices.get("store_key", ""))
        )
        configurations.append((f"Fusion models, {short}", result.choices.get("settings", {})))
    cited = [store.attrs.get("citation", ""), METHODS[0], *(of.get("citation", "") for of in features.values())]
    return {
        "networks": networks,
        "hashes": hashes,
        "code_version": store.attrs.get("code_version", ""),
        "versions": [
            f"deepfusion {__version__}",
            *(f"{name} {of}" for name in LIBRARIES if (of := installed_version(name))),
        ],
        "stages": VERSIONS,
        "configurations": [(name, yaml.safe_dump(of, sort_keys=False, width=100)) for name, of in configurations if of],
        "citations": list(dict.fromkeys(text for text in (*cited, *METHODS[1:]) if text)),
        "licence": store.attrs.get("licence", ""),
    }
