"""A folder that Hugging Face `datasets` loads by its path: data/<split>-....parquet with a row per clip, README.md."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from deepfusion.atomic import replacing, write_atomically
from deepfusion.exchange.tables import features, time_of
from deepfusion.store import FeatureStore

SPLITS = {"val": "validation"}  # other names stay
BYTES = 64_000_000  # of a row group, about
CARD = """---
pretty_name: {name}
license: other
tags: [emotion-recognition, audio, video]
configs:
- config_name: default
  data_files:
{files}
---

# {name}

Features extracted by Deep Fusion {version}: one row per clip. Classes: {labels}.

- licence of the corpus: {licence}
- citation: {citation}

| column | shape of a row | unit | what |
|---|---|---|---|
{columns}

Rows of a frame without a face are NaN, and `valid` is false there. Times are those of the media file, in seconds.
"""


def export(store: FeatureStore, out: Path, keys: Sequence[str] | None) -> None:
    """Write the clips of each split; those without one are train."""
    wanted = list(keys or features(store, None))
    wanted = list(dict.fromkeys([*(time_of(store, key) for key in wanted), *wanted, "valid"]))
    split = store.clips["split"].map(lambda name: SPLITS.get(name, re.sub(r"\W", "_", name) or "train"))
    files = {}
    for name in dict.fromkeys(split):
        files[name] = f"data/{name}-00000-of-00001.parquet"
        _write(store, out / files[name], split.index[split.eq(name)].tolist(), wanted)
    card = _card(store, files, wanted)
    write_atomically(out / "README.md", lambda part: part.write_text(card, encoding="utf-8"))


def _write(store: FeatureStore, path: Path, ids: list[str], keys: Sequence[str]) -> None:
    table = store.clips.drop(columns=[name for name in store.clips if name in keys])
    schema = pa.Schema.from_pandas(table.reset_index(), preserve_index=False).remove_metadata()
    for key in keys:
        kind = pa.from_numpy_dtype(store.dtype(key))
        for _ in range(len(store.shape(key)) + 1):
            kind = pa.list_(kind)
        schema = schema.append(pa.field(key, kind))
    held, size = [], 0
    with replacing(path) as part, pq.ParquetWriter(part, schema) as writer:
        for id_ in ids:
            arrays = {key: store[id_][key] for key in keys}
            row = pa.Table.from_pandas(table.loc[[id_]].reset_index(), preserve_index=False)
            for key, values in arrays.items():
                row = row.append_column(schema.field(key), [_nested(values, schema.field(key).type)])
            held.append(row.cast(schema))
            size += row.nbytes
            if size > BYTES:
                writer.write_table(pa.concat_tables(held))
                held, size = [], 0
        if held:
            writer.write_table(pa.concat_tables(held))


def _nested(values, kind: pa.DataType) -> pa.Array:
    """One cell: an array (L, ...) as lists in a list."""
    found = pa.array(values.reshape(-1))
    for axis in range(values.ndim - 1, -1, -1):
        rows = 1
        for n in values.shape[:axis]:
            rows *= n
        offsets = pa.array([i * values.shape[axis] for i in range(rows + 1)], pa.int32())
        found = pa.ListArray.from_arrays(offsets, found)
    return found.cast(kind)


def _card(store: FeatureStore, files: dict[str, str], keys: Sequence[str]) -> str:
    about = {key: store.attributes(key) for key in keys}
    rows = [
        f"| `{key}` | {' x '.join(map(str, ('L', *store.shape(key))))} | {of.get('units', '')} | "
        f"{of.get('description', '')} |"
        for key, of in about.items()
    ]
    return CARD.format(
        name=json.dumps(str(store.attrs.get("corpus") or store.path.stem))[1:-1],
        files="\n".join(f"  - {{split: {name}, path: {file}}}" for name, file in files.items()),
        version=store.attrs.get("code_version", ""),
        labels=", ".join(store.labels) or "none given",
        licence=store.attrs.get("licence") or "not known",
        citation=store.attrs.get("citation") or "not known",
        columns="\n".join(rows),
    )
