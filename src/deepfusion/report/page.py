"""Results as one HTML file that needs no other: tables, claims in words, every curve."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from jinja2 import Environment
from matplotlib.figure import Figure

from deepfusion.atomic import write_atomically
from deepfusion.costs import totals
from deepfusion.errors import UserError
from deepfusion.evaluation.summary import NORMALISATIONS, cells_of, summary_markdown
from deepfusion.report.costs import HEAD, cells, words
from deepfusion.report.summary import store_summary
from deepfusion.store import FeatureStore

FACES = "faces.html"  # next to the page: what `deepfusion faces-report` writes

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Deep Fusion: {{ title }}</title>
<style>
 body { font: 16px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
 table { border-collapse: collapse; margin: 1rem 0 }
 td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd }
 td:first-child, th:first-child { text-align: left }
 figure { display: inline-block; margin: 0 1rem 1rem 0 }
 pre { background: #f5f5f5; padding: .7rem; overflow-x: auto }
</style>
<h1>Deep Fusion: {{ title }}</h1>
<pre>{{ summary }}</pre>
{% if faces %}<p><a href="{{ faces }}">Contact sheet of the followed faces</a></p>
{% endif %}{% if costs %}<h2>What the features cost</h2>
<table>
<tr>{% for name in head %}<th>{{ name }}{% endfor %}</tr>
{% for row in costs %}<tr>{% for cell in row %}<td>{{ cell }}{% endfor %}</tr>
{% endfor %}</table>
<p>{{ cost_words }}</p>
{% endif %}{% for study in studies %}
<h2>{{ study.heading }}</h2>
<h3>What is supported</h3>
<ul>{% for sentence in study.words %}<li>{{ sentence }}</li>{% else %}<li>no claim could be tested</li>{% endfor %}</ul>
{% for sentence in study.notes %}<p>{{ sentence }}</p>
{% endfor %}<h3>Models</h3>
<table>
<tr><th>model<th>accuracy<th>UAR<th>macro-F1<th>ECE<th>accuracy, clips with a face</tr>
{% for name, cells in study.rows %}<tr><td>{{ name }}{% for cell in cells %}<td>{{ cell }}{% endfor %}</tr>
{% endfor %}</table>
<p>Per cent, mean ± standard deviation over the speakers; chance {{ study.chance }}. {{ study.seeds }} seeds,
{{ study.folds }} folds.</p>
<h3>{{ study.explained }}: confusion matrix</h3>
<table><tr><th>label{% for label in study.labels %}<th>{{ label }}{% endfor %}</tr>
{% for label, row in study.confusion %}<tr><td>{{ label }}{% for n in row %}<td>{{ n }}{% endfor %}</tr>
{% endfor %}</table>
<p>Rows: label; columns: prediction. Per cent of the label's clips, all seeds.</p>
{% if study.attention %}<h3>{{ study.explained }}: attention</h3>
{% for sentence in study.attention %}<p>{{ sentence }}</p>{% endfor %}
{% endif %}{% if study.curves %}<h3>FBP over one setting</h3>
<p>Inner folds of the training speakers; no test speaker has a part in these curves, and they choose nothing. Bars:
standard deviation over the outer folds, whose training speakers overlap.</p>
{% for curve in study.curves %}<figure>{{ curve | safe }}</figure>{% endfor %}
{% endif %}<h3>What the inner folds chose</h3>
<table><tr><th>model<th>learning rate<th>principal axes</tr>
{% for name, rates, axes in study.chosen %}<tr><td>{{ name }}<td>{{ rates }}<td>{{ axes }}</tr>
{% endfor %}</table>
<p>In so many folds each.</p>
{% endfor %}
</html>
"""


def curve(what: str, points: list[dict]) -> str:
    """Inner accuracy and loss over the values of one setting, as SVG."""
    figure = Figure(figsize=(4.2, 2.9), layout="constrained")
    left = figure.add_subplot()
    right = left.twinx()
    x = range(len(points))
    for axes, key, factor, colour, name in (
        (left, "accuracy", 100, "tab:blue", "accuracy, %"),
        (right, "loss", 1, "tab:orange", "cross-entropy, nats"),
    ):
        mean = [factor * sum(p[key]) / len(p[key]) for p in points]
        spread = [
            factor * (sum((v - sum(p[key]) / len(p[key])) ** 2 for v in p[key]) / max(1, len(p[key]) - 1)) ** 0.5
            for p in points
        ]
        axes.errorbar(x, mean, spread, marker="o", capsize=3, color=colour)
        axes.set_ylabel(name, color=colour)
    left.set_xticks(x, [str(p["value"]) for p in points])
    left.set_xlabel(what)
    text = io.StringIO()
    # Without a date and with fixed ids the same figures make the same file.
    with mpl.rc_context({"svg.hashsalt": what}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _counts(values: list) -> str:
    return ", ".join(f"{value:g}: {values.count(value)}" for value in sorted(set(values)))


@dataclass(frozen=True)
class Result:
    """What a folder of `train-fbp` or `fusion-study` holds."""

    metrics: dict
    choices: dict

    @property
    def heading(self) -> str:
        """How its features are normalised."""
        return NORMALISATIONS[self.metrics["normalisation"]]

    @property
    def markdown(self) -> str:
        """Its tables and sentences."""
        return f"{self.heading}:\n\n{summary_markdown(self.metrics, self.metrics['notes'])}"


def read_results(folders: Sequence[Path]) -> list[Result]:
    """Read what `train-fbp` or `fusion-study` has written.

    Raises:
        UserError: A folder lacks a file, or one cannot be read.
    """
    found = []
    for folder in folders:
        try:
            files = [
                json.loads((folder / name).read_text(encoding="utf-8")) for name in ("metrics.json", "choices.json")
            ]
        except (OSError, ValueError) as error:
            raise UserError(
                f"{folder}: no results to report ({error}); `snakemake train_fbp` or `fusion_study` makes them"
            ) from error
        found.append(Result(*files))
    return found


def _study(result: Result) -> dict:
    metrics, choices = result.metrics, result.choices
    labels, models = metrics["labels"], metrics["models"]
    explained = metrics["attention"]["model"]
    return {
        "heading": result.heading,
        "words": metrics["words"],
        "notes": metrics["notes"],
        "explained": explained,
        "rows": [(name, cells_of(figures)) for name, figures in models.items()],
        "chance": f"{100 / len(labels):.1f}",
        "seeds": len(choices["seeds"]),
        "folds": len(choices["folds"]),
        "labels": labels,
        "confusion": [
            (label, [f"{100 * n / max(1, sum(row)):.0f}" for n in row])
            for label, row in zip(labels, models[explained]["confusion"], strict=True)
        ],
        "attention": [
            f"{modality}: attention is spread as if {100 * of['effective_share']:.1f} % of a clip's rows had equal "
            f"weight (mean; {100 * of['least']:.1f} % in the most selective 5 % of the clips; 100 % is the plain mean)."
            for modality, of in metrics["attention"].items()
            if modality != "model"
        ],
        "curves": [curve(what, points) for what, points in choices.get("sweeps", {}).items()],
        "chosen": [
            (name, *(_counts([c[key] for c in chosen]) for key in ("learning_rate", "axes")))
            for name, chosen in choices["chosen"].items()
        ],
    }


def write_page(results: Sequence[Result], store: Path, out: Path) -> None:
    """Write the page.

    Args:
        results: Of one corpus, such as one per normalisation.
        store: The feature store that they come from.
        out: HTML file.
    """
    with FeatureStore(store) as opened:
        summary, spent = store_summary(opened), opened.ledger
    costs = None if spent.empty else totals(spent)
    page = (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            title=out.parent.name,
            summary=summary,
            faces=FACES if (out.parent / FACES).is_file() else "",
            head=HEAD,
            costs=[] if costs is None else cells(costs),
            cost_words="" if costs is None else words(costs),
            studies=[_study(result) for result in results],
        )
    )
    write_atomically(out, lambda part: part.write_text(page, encoding="utf-8"))
