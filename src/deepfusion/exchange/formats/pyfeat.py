"""py-feat's csv (Fex): box, 68 points, pose, emotions, `frame` from 0, `input`, `approx_time`; by py-feat's names.

Action units are not computed; pose and emotions are empty in a store that has none.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deepfusion.exchange.tables import frames, landmarks, tables_per_clip
from deepfusion.prediction.result import EMOTIONS
from deepfusion.store import FeatureStore
from deepfusion.store.reader import Clip

BOX = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"]
POSE = ["Pitch", "Roll", "Yaw"]


def export(store: FeatureStore, out: Path, keys: Sequence[str] | None) -> None:
    """Write frames/<id>.csv and clips.csv; `keys` are not used."""

    def table(clip: Clip) -> pd.DataFrame:
        found = frames(store, clip)
        pose = found.reindex(columns=POSE, fill_value=np.nan)
        last = {
            "input": store.clips.at[clip.id, "path"],
            "frame": found["frame"],
            "approx_time": found["timestamp"],
            "Identity": [f"Person_{number}" for number in found["face_id"]],
        }
        return pd.concat([found[BOX], landmarks(store, clip), pose, found[list(EMOTIONS)]], axis=1).assign(**last)

    tables_per_clip(store, out, table)
