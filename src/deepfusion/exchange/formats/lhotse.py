"""lhotse: cuts.jsonl.gz with a cut per clip, arrays as numpy files under arrays/.

The spectrogram is the cut's `features`; all else is a temporal array in its custom fields, "EF-A" as EF_A. lhotse
assumes a fixed shift between rows, here the cut's duration divided by the number of rows; the true times are in the
fields time, audio_time, ..., on the clip's clock; the cut starts at the time `clock_start` of it. Clips without any row
are left out.
"""

import gzip
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepfusion.atomic import write_atomically
from deepfusion.exchange.tables import features, file_name, intervals, rows_of, time_of
from deepfusion.store import FeatureStore
from deepfusion.store.reader import Clip

log = logging.getLogger(__name__)

FOLDER = "arrays"


def export(store: FeatureStore, out: Path, keys: Sequence[str] | None) -> None:
    """Write the cuts and the arrays."""
    wanted = features(store, keys)
    wanted = list(dict.fromkeys([*wanted, *(time_of(store, key) for key in wanted), "valid"]))
    cuts = [cut for clip in store if (cut := _cut(store, clip, out, wanted))]
    if missing := len(store) - len(cuts):
        log.warning("%d clips have neither video nor audio, and no cut", missing)
    text = "".join(json.dumps(cut, ensure_ascii=False) + "\n" for cut in cuts)
    write_atomically(out / "cuts.jsonl.gz", lambda part: part.write_bytes(gzip.compress(text.encode(), mtime=0)))


def _cut(store: FeatureStore, clip: Clip, out: Path, keys: Sequence[str]) -> dict | None:
    times = {key: clip[time_of(store, key)] for key in keys}
    spans = {key: intervals(time, centred=rows_of(store, key) != "video") for key, time in times.items() if len(time)}
    if not spans:
        return None
    first = min(float(span[0, 0]) for span in spans.values())
    duration = max(float(span[-1, 1]) for span in spans.values()) - first
    row, custom, held = store.clips.loc[clip.id], dict[str, Any](clock_start=first), None
    for key, span in spans.items():
        # lhotse selects rows by counting shifts: with this one, a whole cut has all rows.
        array, shift = _save(out, clip, key), duration / len(span)
        if key == "spectrogram":
            held = _features(store, array, shift, duration, clip.id)
        else:
            custom[key.replace("-", "_")] = {"array": array, "temporal_dim": 0, "frame_shift": shift, "start": 0.0}
    about = {"emotion": row["label"], "split": row["split"]}
    supervision = {"id": clip.id, "recording_id": clip.id, "start": 0.0, "duration": duration, "channel": 0}
    speaker = {"speaker": row["speaker"]} if row["speaker"] else {}
    cut = {"id": clip.id, "start": 0.0, "duration": duration, "channel": 0, "custom": custom, "type": "MonoCut"}
    return {
        **cut,
        "supervisions": [{**supervision, **speaker, "custom": about}],
        **({"features": held} if held else {}),
    }


def _save(out: Path, clip: Clip, key: str) -> dict:
    name, values = f"{key}/{file_name(clip.id)}.npy", clip[key]

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.save(file, values)

    write_atomically(out / FOLDER / name, write)
    where = {"storage_type": "numpy_files", "storage_path": str(out / FOLDER), "storage_key": name}
    return {**where, "shape": list(values.shape)}


def _features(store: FeatureStore, array: dict, shift: float, duration: float, clip: str) -> dict:
    rows, bins = array["shape"]
    about = {"type": "deepfusion-spectrogram", "num_frames": rows, "num_features": bins, "frame_shift": shift}
    rate = int(store.attributes("spectrogram").get("rate", 16000))
    where = {key: value for key, value in array.items() if key != "shape"}
    return {
        **about,
        "sampling_rate": rate,
        "start": 0.0,
        "duration": duration,
        **where,
        "recording_id": clip,
        "channels": 0,
    }
