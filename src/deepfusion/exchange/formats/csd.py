"""CMU-MultimodalSDK's computational sequences: <key>.csd for each feature, labels.csd for the classes.

`<key>/data/<id>/features` (L, D) and `intervals` (L, 2) s, metadata as JSON; a "/" in an id is written %2F.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import h5py
import numpy as np

from deepfusion import __version__
from deepfusion.atomic import replacing
from deepfusion.exchange.tables import features, intervals, rows_of, time_of
from deepfusion.store import FeatureStore

SAFE = "".join(chr(code) for code in range(33, 127) if chr(code) not in "%/") + " "  # not escaped in a name


def export(store: FeatureStore, out: Path, keys: Sequence[str] | None) -> None:
    """Write a file per key, in the store's own type; clips without rows are left out."""
    for key in features(store, keys):
        about = store.attributes(key)
        _write(store, out / f"{key}.csd", key, str(about.get("description", "")), _rows(store, key), about)
    _write(store, out / "labels.csd", "labels", f"class: {', '.join(store.labels)}", _labels(store), {})


def _rows(store: FeatureStore, key: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    time, centred = time_of(store, key), rows_of(store, key) != "video"
    for clip in store:
        rows = clip[key]
        yield clip.id, rows.reshape(len(rows), int(np.prod(rows.shape[1:]))), intervals(clip[time], centred=centred)


def _labels(store: FeatureStore) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for clip in store:
        label = store.clips.at[clip.id, "label"]
        times = np.concatenate([clip["time"], clip["audio_time"]])
        if label and len(times):
            yield clip.id, np.array([[store.labels.index(label)]], np.float32), np.array([[times.min(), times.max()]])


def _write(store: FeatureStore, path: Path, root: str, description: str, rows: Iterator, about: dict) -> None:
    metadata = {
        "root name": root,
        "computational sequence description": description,
        "computational sequence version": "1.0",
        "dimension names": None,
        "alignment compatible": True,
        "dataset name": str(store.attrs.get("corpus", "")),
        "dataset version": str(store.attrs.get("key", "")),
        "creator": f"Deep Fusion {__version__}",
        "contact": "",
        "featureset bib citation": str(about.get("citation", "")),
        "dataset bib citation": str(store.attrs.get("citation", "")),
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{store.attrs.get('key', '')} {root}")),
    }
    with replacing(path) as part, h5py.File(part, "w") as file:
        data = file.create_group(f"{root}/data", track_order=True)
        for id_, values, spans in rows:
            if len(values):
                clip = data.create_group(quote(id_, safe=SAFE))
                clip["features"], clip["intervals"] = values, spans
        held = file.create_group(f"{root}/metadata")
        for name, value in metadata.items():
            held.create_dataset(name, data=[json.dumps(value)], dtype=h5py.string_dtype())
