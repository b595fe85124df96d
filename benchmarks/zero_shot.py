"""Zero-shot emotion of a clip from `video/emotion` alone, by the pooling over frames.

python benchmarks/zero_shot.py results/javsed/features.h5

Classes are matched by name; emotions that the corpus does not have are left out. Every pooling is tried on all clips.
Poolings with `prior` are relative to the mean of the clips of all other speakers, which needs no labels; those with
`speaker` to the mean of the speaker's own clips, which needs several of them (transductive). The honest figure is
`chosen`: for each speaker, the pooling without `speaker` that has the highest accuracy on all other speakers. Writes
docs/results/zero_shot.json.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from provenance import publish

from deepfusion import FeatureStore

TOP = (0.05, 0.1, 0.2, 0.4)  # shares of the frames
SMALLEST = 1e-4

Pooling = Callable[[np.ndarray], np.ndarray]
"""(L, C) probabilities of the frames -> (C,) scores of the clip, logarithms."""


def log(p: np.ndarray) -> np.ndarray:
    """Logarithm, clipped from below."""
    return np.log(np.maximum(p, SMALLEST))


def top_mean(p: np.ndarray, share: float) -> np.ndarray:
    """(L, C) -> (C,) mean of each class over its own highest share of the frames, one at least."""
    count = max(1, round(share * len(p)))
    return np.sort(p, axis=0)[-count:].mean(0)


def rises(p: np.ndarray, share: float) -> np.ndarray:
    """Rise of each class above its usual value in the clip, which cancels the face's resting expression."""
    logs = log(p)
    return top_mean(logs - np.median(logs, axis=0), share)


POOLINGS: dict[str, Pooling] = {
    "mean": lambda p: log(p.mean(0)),
    "log_mean": lambda p: log(p).mean(0),
    "max": lambda p: log(p.max(0)),
    **{f"top_{share:g}": lambda p, share=share: log(top_mean(p, share)) for share in TOP},
    **{f"rise_{share:g}": lambda p, share=share: rises(p, share) for share in TOP},
}


def recall(right: np.ndarray, label: np.ndarray, classes: list[str]) -> dict[str, float]:
    """Share of correctly predicted clips per class."""
    return {name: float(right[label == i].mean()) for i, name in enumerate(classes)}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results/zero_shot.json"))
    args = parser.parse_args()
    with FeatureStore(args.store) as store:
        emotions = store.attributes("emotion")["classes"]
        classes = [name for name in emotions if name in store.labels]
        columns = [emotions.index(name) for name in classes]
        usable = store.clips[store.clips["label"].isin(classes) & (store.clips["faces"] > 0)]
        label = np.array([classes.index(name) for name in usable["label"]])
        speakers = usable["speaker"].to_numpy()
        frames = []
        for id_ in usable.index:
            clip = store[id_]
            p = clip["emotion"][clip["valid"]][:, columns].astype(np.float64)
            frames.append(p / p.sum(1, keepdims=True))
    scores = {name: np.stack([pooling(p) for p in frames]) for name, pooling in POOLINGS.items()}
    for name, score in list(scores.items()):
        scores[f"{name}_prior"] = score - np.stack([score[speakers != one].mean(0) for one in speakers])
        scores[f"{name}_speaker"] = score - np.stack([score[speakers == one].mean(0) for one in speakers])
    right = {name: score.argmax(1) == label for name, score in scores.items()}
    chosen, picked = np.zeros(len(label), bool), {}
    for speaker in sorted(set(speakers)):
        held = speakers == speaker
        others = {name: of[~held].mean() for name, of in right.items() if not name.endswith("_speaker")}
        best = max(others, key=others.get)
        chosen[held], picked[speaker] = right[best][held], best
    figures = {
        "clips": len(label),
        "classes": classes,
        "chance": 1 / len(classes),
        "poolings": {
            name: {"accuracy": float(of.mean()), "recall": recall(of, label, classes)} for name, of in right.items()
        },
        "chosen": {
            "accuracy": float(chosen.mean()),
            "recall": recall(chosen, label, classes),
            "poolings": sorted(picked.values()),
            "by_speaker": sorted(float(chosen[speakers == speaker].mean()) for speaker in picked),
        },
    }
    for name, of in sorted(figures["poolings"].items(), key=lambda item: -item[1]["accuracy"]):
        print(f"{name:22} {of['accuracy']:.3f}")
    print(f"chosen by the other speakers: {chosen.mean():.3f}")
    publish(args.out, figures)


if __name__ == "__main__":
    main()
