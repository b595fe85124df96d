"""Collect the ratios of docs/results/*.json in docs/performance.json, next to their goals.

python benchmarks/performance.py

The exit status is 1 if a file or a wanted ratio is missing: a line says which, and the others are written.
"""

import json
import sys
from pathlib import Path

RESULTS = Path("docs/results")
OUT = Path("docs/performance.json")

# File -> the ratios that it must have, each with its goal: a minimum, or a maximum if AT_MOST names it. None: no goal.
# Further ratios of the file are copied as well.
WANTED: dict[str, dict[str, float | None]] = {
    "front_end": {
        "front_end_576p_up0": 4,
        "front_end_576p_up1": 16,
        "front_end_720p_up0": 8,
        "front_end_720p_up1": 30,
        "hard_clips_recall": 0.97,
        "hard_clips_false_faces_per_frame": 0.003,
        "hard_clips_cost_against_yunet": 1.0,
    },
    "networks": {"networks_compact": 2.2},
    "end_to_end": {"end_to_end_compact": 3, "rerun": 500},
    "fusion_scale": {
        "train_fbp_10000_against_1000_clips": 12,
        "train_fbp_10000_clips_gb": 4,
        "networks_together_50": 8,
    },
    "dag": {"dag_100000_s": 30, "snakemake_share_10000": 0.01},
    "store": {"store_clip_ms": 0.2, "store_10000_against_100_clips": None},
}
AT_MOST = {
    *("dag_100000_s", "snakemake_share_10000", "store_clip_ms", "outside_large", "peak_mb_beside_weights"),
    *("train_fbp_10000_against_1000_clips", "train_fbp_10000_clips_gb"),
    *("hard_clips_false_faces_per_frame", "hard_clips_cost_against_yunet", "javsed_cost_of_yunet"),
}


def gathered(results: Path) -> tuple[dict, list[str]]:
    """Contents of performance.json, and one line per missing file or ratio."""
    ratios, goals, sources, provenance, missing = {}, {}, {}, {}, []
    for name, wanted in WANTED.items():
        file = results / f"{name}.json"
        if not file.exists():
            missing.append(f"{file} is missing: python benchmarks/{name}.py makes it")
            continue
        figures = json.loads(file.read_text())
        found = figures.get("ratios", {})
        missing += [f"{file} has no ratio {ratio!r}" for ratio in wanted if ratio not in found]
        ratios |= found
        goals |= {ratio: goal for ratio, goal in {**figures.get("goals", {}), **wanted}.items() if goal is not None}
        sources |= dict.fromkeys(found, f"{name}.json")
        provenance[f"{name}.json"] = figures["provenance"]
    at_most = sorted(AT_MOST & ratios.keys())
    made = {"ratios": ratios, "goals": goals, "at_most": at_most, "sources": sources, "provenance": provenance}
    return made, missing


def main() -> None:
    made, missing = gathered(RESULTS)
    OUT.write_text(json.dumps(made, indent=1) + "\n")
    print(f"{OUT} written: {len(made['ratios'])} ratios")
    if missing:
        sys.exit("\n".join(missing))


if __name__ == "__main__":
    main()
