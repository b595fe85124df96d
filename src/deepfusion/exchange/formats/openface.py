"""OpenFace's csv: frame (from 1), face_id, timestamp, confidence, success, and the 68 points in px.

A frame without a face has empty cells where OpenFace writes zeros. Gaze, pose in mm and action units are not computed.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from deepfusion.exchange.tables import frames, landmarks, tables_per_clip
from deepfusion.store import FeatureStore
from deepfusion.store.reader import Clip

HEAD = ["frame", "face_id", "timestamp", "confidence", "success"]


def export(store: FeatureStore, out: Path, keys: Sequence[str] | None) -> None:
    """Write frames/<id>.csv and clips.csv; `keys` are not used."""

    def table(clip: Clip) -> pd.DataFrame:
        found = frames(store, clip)[HEAD]
        return found.assign(frame=found["frame"] + 1).join(landmarks(store, clip))

    tables_per_clip(store, out, table)
