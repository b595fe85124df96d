"""A fusion study as one HTML file that needs no other: tables, claims in words, every curve."""

import io
import json
from pathlib import Path

import matplotlib as mpl
from jinja2 import Environment
from matplotlib.figure import Figure

from deepfusion.atomic import write_atomically
from deepfusion.fusion.absent import EXPLAINED
from deepfusion.ledger import totals
from deepfusion.report.costs import HEAD, cells, words
from deepfusion.report.study import HEADINGS
from deepfusion.report.summary import store_summary
from deepfusion.store import FeatureStore

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Fusion study: {{ title }}</title>
<style>
 body { font: 16px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
 table { border-collapse: collapse; margin: 1rem 0 }
 td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd }
 td:first-child, th:first-child { text-align: left }
 figure { display: inline-block; margin: 0 1rem 1rem 0 }
 pre { background: #f5f5f5; padding: .7rem; overflow-x: auto }
</style>
<h1>Fusion study: {{ title }}</h1>
<pre>{{ summary }}</pre>
{% if costs %}<h2>What the features cost</h2>
<table>
<tr>{% for name in head %}<th>{{ name }}{% endfor %}</tr>
{% for row in costs %}<tr>{% for cell in row %}<td>{{ cell }}{% endfor %}</tr>
{% endfor %}</table>
<p>{{ cost_words }}</p>
{% endif %}{% for study in studies %}
<h2>{{ study.heading }}</h2>
<h3>What is supported</h3>
<ul>{% for sentence in study.words %}<li>{{ sentence }}</li>{% else %}<li>no claim could be tested</li>{% endfor %}</ul>
{% for sentence in study.absent %}<p>{{ sentence }}</p>
{% endfor %}<h3>Models</h3>
<table>
<tr><th>model<th>accuracy<th>UAR<th>macro-F1<th>accuracy, clips with a face</tr>
{% for name, cells in study.rows %}<tr><td>{{ name }}{% for cell in cells %}<td>{{ cell }}{% endfor %}</tr>
{% endfor %}</table>
<p>Per cent, mean ± standard deviation over the speakers; chance {{ study.chance }}. {{ study.seeds }} seeds,
{{ study.folds }} folds.</p>
<h3>{{ study.explained }}: confusion matrix</h3>
<table><tr><th>label{% for label in study.labels %}<th>{{ label }}{% endfor %}</tr>
{% for label, row in study.confusion %}<tr><td>{{ label }}{% for n in row %}<td>{{ n }}{% endfor %}</tr>
{% endfor %}</table>
<p>Per cent of the label's clips, all seeds.</p>
{% if study.curves %}<h3>FBP over one setting</h3>
<p>Inner folds of the training speakers; no test speaker has a part in these curves, and they choose nothing. Bars:
standard deviation over the outer folds, whose training speakers overlap.</p>
{% for curve in study.curves %}<figure>{{ curve | safe }}</figure>{% endfor %}
{% endif %}<h3>What the inner folds chose</h3>
<table><tr><th>model<th>window of speech, s<th>learning rate</tr>
{% for name, windows, rates in study.chosen %}<tr><td>{{ name }}<td>{{ windows }}<td>{{ rates }}</tr>
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


def _percent(figures: dict | None, name: str) -> str:
    return f"{100 * figures[f'{name}_mean']:.1f} ± {100 * figures[f'{name}_std']:.1f}" if figures else "no such clip"


def _study(found: dict, normalisation: str, labels: list[str]) -> dict:
    models, choices = found["models"], found["choices"]
    explained = next(name for name in EXPLAINED if name in models)
    return {
        "heading": HEADINGS[normalisation],
        "words": found["words"],
        "absent": found.get("absent", []),  # older studies have none
        "explained": explained,
        "rows": [
            (
                name,
                [
                    *(_percent(figures, what) for what in ("accuracy", "uar", "macro_f1")),
                    _percent(figures["with_face"], "accuracy"),
                ],
            )
            for name, figures in models.items()
        ],
        "chance": f"{100 / len(labels):.1f}",
        "seeds": len(choices["seeds"]),
        "folds": len(choices["folds"]),
        "labels": labels,
        "confusion": [
            (label, [f"{100 * n / max(1, sum(row)):.0f}" for n in row])
            for label, row in zip(labels, models[explained]["confusion"], strict=True)
        ],
        "curves": [curve(what, points) for what, points in choices["sweeps"].items()],
        "chosen": [
            (name, *(_counts([c[key] for c in chosen]) for key in ("window", "learning_rate")))
            for name, chosen in choices["chosen"].items()
        ],
    }


def write_page(study: Path, store: Path, out: Path) -> None:
    """Write the page.

    Args:
        study: `study.json`, as `deepfusion study-results` writes it.
        store: The feature store that was studied.
        out: HTML file.
    """
    result = json.loads(study.read_text())
    with FeatureStore(store) as opened:
        summary, spent = store_summary(opened), opened.ledger
    costs = None if spent.empty else totals(spent)
    page = (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            title=out.parent.name,
            summary=summary,
            head=HEAD,
            costs=[] if costs is None else cells(costs),
            cost_words="" if costs is None else words(costs),
            studies=[_study(result[name], name, result["labels"]) for name in HEADINGS if name in result],
        )
    )
    write_atomically(out, lambda part: part.write_text(page, encoding="utf-8"))
