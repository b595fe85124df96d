"""Parquet: clips.parquet, and a file per kind of row (video, audio, and streams with times of their own).

A row has the clip's id; arrays are lists of fixed size in the store's own type, their shape as JSON in the field's
metadata. It is lossless, and pandas, polars, DuckDB and Spark read it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepfusion.atomic import replacing
from deepfusion.exchange.tables import time_of
from deepfusion.store import FeatureStore

ROWS = 4096  # of a row group, about


def export(store: FeatureStore, out: Path, keys: Sequence[str] | None) -> None:
    """Write the files, with `keys` and the times of their rows."""
    _write_clips(store, out / "clips.parquet")
    for group, found in store.groups.items():
        wanted = [key for key in found if keys is None or key in keys or key in {time_of(store, k) for k in keys}]
        if wanted:
            _write_rows(store, out / f"{group.replace('/', '-')}.parquet", wanted)


def _write_clips(store: FeatureStore, path: Path) -> None:
    table = pa.Table.from_pandas(store.clips.reset_index(), preserve_index=False)
    about = {b"deepfusion": json.dumps(store.attrs, default=str).encode()}
    with replacing(path) as part:
        pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **about}), part)


def _write_rows(store: FeatureStore, path: Path, keys: Sequence[str]) -> None:
    fields = [pa.field("id", pa.string()), *(_field(store, key) for key in keys)]
    schema, held, count = pa.schema(fields), [], 0
    with replacing(path) as part, pq.ParquetWriter(part, schema) as writer:
        for clip in store:
            arrays = {key: clip[key] for key in keys}
            length = len(arrays[keys[0]])
            columns = [pa.array([clip.id] * length, pa.string()), *(_array(values) for values in arrays.values())]
            held.append(pa.Table.from_arrays(columns, schema=schema))
            count += length
            if count >= ROWS:
                writer.write_table(pa.concat_tables(held).combine_chunks())
                held, count = [], 0
        if held:
            writer.write_table(pa.concat_tables(held).combine_chunks())


def _field(store: FeatureStore, key: str) -> pa.Field:
    shape, kind = store.shape(key), pa.from_numpy_dtype(store.dtype(key))
    about = {"units": str(store.attributes(key).get("units", "")), "shape": json.dumps(shape)}
    return pa.field(key, pa.list_(kind, int(np.prod(shape))) if shape else kind, metadata=about)


def _array(values: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(values.shape[1:]))) if values.ndim > 1 else flat
