"""A table of frames per clip, as `deepfusion predict --csv` writes it; clips.csv lists the clips."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from deepfusion.errors import UserError
from deepfusion.exchange.tables import columns, frames, landmarks, rows_of, tables_per_clip
from deepfusion.store import FeatureStore
from deepfusion.store.reader import Clip


def export(store: FeatureStore, out: Path, keys: Sequence[str] | None) -> None:
    """Write frames/<id>.csv and clips.csv; `keys` of the video are further columns, such as landmarks or EF-A."""
    if other := [key for key in keys or () if rows_of(store, key) != "video"]:
        raise UserError(f"--keys {other[0]}: a table of frames holds keys with one row per frame; this is not one")

    def table(clip: Clip) -> pd.DataFrame:
        more = [landmarks(store, clip) if key == "landmarks" else columns(key, clip[key]) for key in keys or ()]
        return pd.concat([frames(store, clip), *more], axis=1)

    tables_per_clip(store, out, table)
