"""Publish the figures of a corpus that the workflow has finished: results/<corpus> -> docs/results/<corpus>.json.

python benchmarks/corpus.py results/javsed --made-by 'snakemake fusion_study --configfile benchmarks/javsed.yaml'
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from provenance import publish

from deepfusion import FeatureStore

STAGES = ("faces", "networks", "spectrogram", "audio_encoder", "fbp", "study")


def stages(folder: Path, names: list[str]) -> dict:
    """Time and memory of these stages, from Snakemake's measurements of each job."""
    found = {}
    for stage in names:
        files = sorted((folder / "benchmarks" / stage).glob("*.tsv"))
        jobs = pd.concat([pd.read_csv(file, sep="\t") for file in files])
        found[stage] = {
            "jobs": len(jobs),
            "job_seconds_sum": round(float(jobs["s"].sum()), 1),
            "cpu_seconds_sum": round(float(pd.to_numeric(jobs["cpu_time"], errors="coerce").sum()), 1),
            "peak_memory_mb": round(float(pd.to_numeric(jobs["max_rss"], errors="coerce").max())),
        }
    return found


def extraction(folder: Path) -> dict:
    """Contents of the store."""
    with FeatureStore(folder / "features.h5") as store:
        clips = store.clips
        frames, faces = int(clips["frames"].sum()), int(clips["faces"].sum())
        by_speaker = clips.groupby("speaker")[["frames", "faces"]].sum()
        return {
            "clips": len(clips),
            "speakers": int(clips["speaker"].nunique()),
            "video_status": clips["video_status"].value_counts().to_dict(),
            "audio_status": clips["audio_status"].value_counts().to_dict(),
            "frames": frames,
            "frames_with_face": faces,
            "share_with_face": faces / frames,
            "lowest_share_of_a_speaker": float((by_speaker["faces"] / by_speaker["frames"]).min()),
            "clips_without_any_face": int((clips["faces"] == 0).sum()),
            "seconds_of_video": round(float(clips["video_duration"].sum()), 1),
            "store_bytes": (folder / "features.h5").stat().st_size,
            "networks": {slot: card["network"] for slot, card in store.networks.items()},
        }


# Published figures of a model: means over speakers, never those of a single speaker.
KEPT = ("accuracy", "uar", "macro_f1")


def compact(metrics: dict) -> dict:
    """Metrics as `train-fbp` and `fusion-study` write them, without figures of single speakers."""
    models = {}
    for name, of in metrics["models"].items():
        face = of["with_face"]
        models[name] = {
            "labels": of["labels"],
            **{f"{key}_{what}": of[f"{key}_{what}"] for key in KEPT for what in ("mean", "std")},
            "overall": {"clips": of["overall"]["clips"]},
            "recall": of["recall"],
            "ece": of["ece"],
            "with_face": face and {f"accuracy_{what}": face[f"accuracy_{what}"] for what in ("mean", "std")},
        }
    return {**{key: metrics[key] for key in ("words", "notes", "attention", "comparisons")}, "models": models}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="results/<corpus>")
    parser.add_argument("--made-by", action="append", default=[], help="command that made the folder; may be repeated")
    parser.add_argument(
        "--by-speaker",
        type=Path,
        help="results/<corpus> in another folder, of train_fbp with fusion.normalisation: speaker",
    )
    args = parser.parse_args()
    made = [name for name in STAGES if (args.folder / "benchmarks" / name).exists()]
    figures = {"corpus": args.folder.name, "extraction": extraction(args.folder), "stages": stages(args.folder, made)}
    folders = {
        "train_fbp": args.folder / "fusion/fbp",
        "study": args.folder / "fusion/study/training",
        "study_by_speaker": args.folder / "fusion/study/speaker",
    }
    if args.by_speaker:
        folders["train_fbp_by_speaker"] = args.by_speaker / "fusion/fbp"
    for name, folder in folders.items():
        if (path := folder / "metrics.json").exists():
            figures[name] = compact(json.loads(path.read_text()))
    publish(Path("docs/results") / f"{args.folder.name}.json", figures, made_by=args.made_by)


if __name__ == "__main__":
    main()
