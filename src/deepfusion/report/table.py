"""The figures of several models side by side."""

import json
from pathlib import Path

from deepfusion.atomic import write_atomically


def write_results(metrics: list[Path], out: Path) -> str:
    """Write the figures of all models into one JSON file, and return them as a Markdown table.

    Args:
        metrics: `metrics.json` of each model, in a folder that bears the model's name.
        out: JSON: {"labels", "models": {name: figures}}.
    """
    models = {path.parent.name: json.loads(path.read_text()) for path in metrics}
    labels = next(iter(models.values()))["labels"]
    text = json.dumps({"labels": labels, "models": models}, indent=1) + "\n"
    write_atomically(out, lambda part: part.write_text(text))
    return markdown(models)


def markdown(models: dict[str, dict]) -> str:
    """A table: mean and standard deviation over speakers, in per cent, and the share on clips with a face."""
    lines = [
        "| model | accuracy | UAR | macro-F1 | accuracy, clips with a face | clips |",
        "|---|---|---|---|---|---|",
    ]
    for name, figures in models.items():
        cells = [
            f"{100 * figures[f'{f}_mean']:.1f} ± {100 * figures[f'{f}_std']:.1f}"
            for f in ("accuracy", "uar", "macro_f1")
        ]
        face = figures["with_face"]
        cells.append(
            f"{100 * face['accuracy_mean']:.1f} ± {100 * face['accuracy_std']:.1f}" if face else "no such clip"
        )
        lines.append(f"| {name} | {' | '.join(cells)} | {figures['overall']['clips']} |")
    classes = len(next(iter(models.values()))["labels"])
    return "\n".join([*lines, "", f"per cent, mean ± standard deviation over the speakers; chance {100 / classes:.1f}"])
