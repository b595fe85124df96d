"""What differs between two feature stores: clips, their table, features and by how much, settings."""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from deepfusion.store.layout import DIGEST
from deepfusion.store.reader import FeatureStore

# Root attributes that follow from the contents.
DERIVED = ("key", DIGEST)
LISTED = 10  # clips that are named in a line


def diff(
    a: str | os.PathLike, b: str | os.PathLike, *, over: Callable[[list[str]], Iterable[str]] = iter
) -> dict[str, Any]:
    """Compare two stores clip by clip; what they cost (ledger) is not compared.

    Args:
        a: A store.
        b: Another.
        over: Wraps the iteration over the ids of common clips, to show progress for example.

    Returns:
        equal: Whether nothing differs. Of the others, empty means no difference:
        only_a, only_b: Ids of clips that one of them has.
        order: Whether the clips that both have come in another order.
        columns_only_a, columns_only_b: Columns of the table of clips that one of them has.
        table: Column -> clip -> values in a and b.
        keys_only_a, keys_only_b: "EF-A", "spectrogram", ... that one of them has.
        features: "EF-A", "valid", "box", ... -> see `_Comparison.result`; only those that differ.
        attributes: "" (the store) or "EF-A", ... -> attribute -> values in a and b, None where it is missing.
        "config" is compared setting by setting: "config: faces.size".

    Raises:
        UserError, MachineError: One of them cannot be opened or read.
    """
    with FeatureStore(a) as first, FeatureStore(b) as second:
        in_b, in_a = set(second.clips.index), set(first.clips.index)
        both = [clip for clip in first.clips.index if clip in in_b]
        found: dict[str, Any] = {
            "only_a": [clip for clip in first.clips.index if clip not in in_b],
            "only_b": [clip for clip in second.clips.index if clip not in in_a],
            "order": both != [clip for clip in second.clips.index if clip in in_a],
            "columns_only_a": [name for name in first.clips if name not in second.clips],
            "columns_only_b": [name for name in second.clips if name not in first.clips],
            "table": _table(first.clips.loc[both], second.clips.loc[both]),
            "keys_only_a": [key for key in first.keys if key not in second.keys],
            "keys_only_b": [key for key in second.keys if key not in first.keys],
            "features": _features(first, second, over(both)),
            "attributes": _attributes(first, second),
        }
    return {"equal": not any(found.values()), **found}


def _table(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, dict[str, list]]:
    found = {}
    for name in (name for name in a if name in b):
        same = a[name].eq(b[name]) | (a[name].isna() & b[name].isna())
        if not same.all():
            found[name] = {
                str(clip): [_plain(a.at[clip, name]), _plain(b.at[clip, name])] for clip in a.index[~same.to_numpy()]
            }
    return found


def _features(a: FeatureStore, b: FeatureStore, clips: Iterable[str]) -> dict[str, dict]:
    compared = {key: _Comparison() for key in a.keys if key in b.keys}
    for clip in clips:
        for key, comparison in compared.items():
            comparison.add(clip, a[clip][key], b[clip][key])
    return {key: comparison.result() for key, comparison in compared.items() if comparison.differ}


class _Comparison:
    """One feature of all clips, compared clip by clip.

    Attributes:
        differ: Clips in which it differs -> largest absolute difference, NaN where the shapes differ.
    """

    def __init__(self) -> None:
        self.differ: dict[str, float] = {}
        self._rows: dict[str, list[int]] = {}
        self._types: set[tuple[str, str]] = set()
        self._missing = self._changed = self._values = 0
        self._sum = self._largest = self._squares = 0.0

    def add(self, clip: str, a: np.ndarray, b: np.ndarray) -> None:
        """Compare a clip (L, ...)."""
        if a.shape != b.shape:
            self.differ[clip] = np.nan
            self._rows[clip] = [len(a), len(b)]
            return
        if a.dtype != b.dtype:
            self._types.add((str(a.dtype), str(b.dtype)))
        x, y = a.astype(np.float64), b.astype(np.float64)
        finite = np.isfinite(x) & np.isfinite(y)
        missing = int((~finite & (x != y) & ~(np.isnan(x) & np.isnan(y))).sum())
        distance = np.abs(x[finite] - y[finite])
        self._values += distance.size
        self._squares += float(np.square(x[finite]).sum())
        self._sum += float(distance.sum())
        self._missing += missing
        changed = int(np.count_nonzero(distance))
        self._changed += changed
        if missing or changed or a.dtype != b.dtype:
            self.differ[clip] = float(distance.max(initial=0.0))
            self._largest = max(self._largest, self.differ[clip])

    def result(self) -> dict[str, Any]:
        """What differs.

        Returns:
            clips: Clip -> largest absolute difference, None where the numbers of rows or their shapes differ.
            rows: Clip -> numbers of rows in a and b, where they differ or their shapes do.
            types: Pairs of types, where they differ.
            changed: Numbers that differ; of flags and codes: frames.
            only_one_finite: Numbers that are NaN or infinite in one of them.
            largest, mean: Absolute difference, over all numbers that are finite in both.
            relative: `largest` divided by the root mean square of the feature in a; None if that is 0.
        """
        scale = np.sqrt(self._squares / self._values) if self._values else 0.0
        return {
            "clips": {clip: None if np.isnan(value) else value for clip, value in self.differ.items()},
            "rows": self._rows,
            "types": sorted(map(list, self._types)),
            "changed": self._changed,
            "only_one_finite": self._missing,
            "largest": self._largest,
            "mean": self._sum / self._values if self._values else 0.0,
            "relative": self._largest / scale if scale else None,
        }


def _attributes(a: FeatureStore, b: FeatureStore) -> dict[str, dict[str, list]]:
    found = {"": _unequal(_settings(a.attrs), _settings(b.attrs))}
    for key in (key for key in a.keys if key in b.keys):
        first, second = a.attributes(key), b.attributes(key)
        found[key] = _unequal(first, second)
        found[key].pop("content_sha256", None)
    return {key: attributes for key, attributes in found.items() if attributes}


def _settings(attrs: dict[str, Any]) -> dict[str, Any]:
    """Root attributes, the settings in `config` one by one."""
    plain = {name: value for name, value in attrs.items() if name not in DERIVED}
    try:
        config = json.loads(plain["config"])
    except (KeyError, TypeError, ValueError):
        return plain
    del plain["config"]
    return plain | {f"config: {name}": value for name, value in _flat(config)}


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _unequal(a: dict[str, Any], b: dict[str, Any]) -> dict[str, list]:
    names = dict.fromkeys([*a, *b])
    return {name: [a.get(name), b.get(name)] for name in names if _text(a.get(name)) != _text(b.get(name))}


def _text(value: Any) -> str:
    return repr(value)  # NaN equals itself


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and np.isnan(value) else value


def lines(found: dict[str, Any]) -> list[str]:
    """What `diff` has found, as lines to print."""
    if found["equal"]:
        return ["equal"]
    out = []
    for side in ("a", "b"):
        for what in ("clips", "columns", "keys"):
            names = found[f"only_{side}" if what == "clips" else f"{what}_only_{side}"]
            if names:
                out.append(f"{what} only in {side.upper()}: {_some(names)}")
    if found["order"]:
        out.append("the clips come in another order")
    out += [f"clips/{name}: {_some(values, _change(values))}" for name, values in found["table"].items()]
    out += [f"{key}: {_feature(result)}" for key, result in found["features"].items()]
    for key, attributes in found["attributes"].items():
        out += [f"{key or 'store'}, attribute {name}: {a!r} -> {b!r}" for name, (a, b) in attributes.items()]
    return out


def _feature(result: dict[str, Any]) -> str:
    parts = []
    if result["types"]:
        parts.append("type " + ", ".join(f"{a} -> {b}" for a, b in result["types"]))
    if result["changed"]:
        relative = "" if result["relative"] is None else f" ({result['relative']:.3g} of the root mean square)"
        parts.append(
            f"{result['changed']} numbers differ, largest difference {result['largest']:.4g}{relative}, "
            f"mean {result['mean']:.4g}"
        )
    if result["only_one_finite"]:
        parts.append(f"{result['only_one_finite']} numbers are NaN or infinite in one of them")
    if result["rows"]:
        parts.append("rows: " + _some(result["rows"], _change(result["rows"])))
    return f"{'; '.join(parts)}; {len(result['clips'])} clips: {_some(result['clips'])}"


def _change(values: dict[str, list]) -> Callable[[str], str]:
    return lambda clip: f"{clip}: {values[clip][0]!r} -> {values[clip][1]!r}"


def _some(names: Iterable[str], write: Callable[[str], str] = str) -> str:
    names = list(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(write(name) for name in names[:LISTED]) + more
