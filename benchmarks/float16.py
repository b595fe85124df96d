"""Precision loss of float16 in a feature store: python benchmarks/float16.py results/javsed/features.h5.

Every feature is rounded to float16 and compared with the stored float32; writes docs/results/float16.json.
"""

import sys
from pathlib import Path

import numpy as np
from provenance import publish

from deepfusion import FeatureStore


def loss(values: np.ndarray) -> dict:
    """Relative and absolute error of the rows, and of their direction."""
    rounded = values.astype(np.float16).astype(np.float64)
    values = values.astype(np.float64)
    lengths = np.linalg.norm(values, axis=1)
    cosine = (values * rounded).sum(1) / (lengths * np.linalg.norm(rounded, axis=1))
    return {
        "rows": len(values),
        "relative_error_median": float(np.median(np.linalg.norm(rounded - values, axis=1) / lengths)),
        "relative_error_max": float((np.linalg.norm(rounded - values, axis=1) / lengths).max()),
        "absolute_error_max": float(np.abs(rounded - values).max()),
        "one_minus_cosine_max": float((1 - cosine).max()),
    }


def main() -> None:
    with FeatureStore(sys.argv[1]) as store:
        valid = [clip["valid"] for clip in store]
        figures = {
            name: loss(np.concatenate([clip[name][keep] for clip, keep in zip(store, valid, strict=True)]))
            for name in store.networks
        }
        figures["spectrogram (dB)"] = loss(np.concatenate([clip["spectrogram"] for clip in store]))
    publish(Path("docs/results/float16.json"), {"features": figures})


if __name__ == "__main__":
    main()
