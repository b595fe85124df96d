"""One numpy archive per clip with all its data; clips.csv and store.json next to them."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepfusion.atomic import write_atomically
from deepfusion.exchange.tables import file_name, write_clips
from deepfusion.store import FeatureStore


def export(store: FeatureStore, out: Path, keys: Sequence[str] | None) -> None:
    """Write clips/<id>.npz: an array per key, in the type of the store."""
    keys, files = list(keys or store.keys), {}
    for clip in store:
        files[clip.id] = f"clips/{file_name(clip.id)}.npz"
        arrays = {key: clip[key] for key in keys}
        write_atomically(out / files[clip.id], lambda part, arrays=arrays: _save(part, arrays))
    write_clips(store, out, files)
    about = {"store": store.attrs, "keys": {key: store.attributes(key) for key in keys}}
    text = json.dumps(about, indent=1, default=str) + "\n"
    write_atomically(out / "store.json", lambda part: part.write_text(text, encoding="utf-8"))


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # given a name, numpy would add a suffix
        np.savez(file, **arrays)
