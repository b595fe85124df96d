"""A feature store whose media are gone: what manifest and configuration have that it does not have."""

import pandas as pd

from deepfusion.config import Extraction, from_json
from deepfusion.corpora.columns import COLUMNS
from deepfusion.errors import UserError
from deepfusion.store import FeatureStore

# A store has no path of the machine on which it was made.
COMPARED = [name for name in COLUMNS if name not in ("id", "path", "audio")]
UNSEEN = {"corpus": True, "preset": True, "store": {"clips_per_shard"}}  # settings that no feature shows


def changed_clips(store: FeatureStore, clips: pd.DataFrame) -> list[str]:
    """How the rows of a manifest differ from the store's clips, one phrase per difference; their order does not matter.

    Args:
        store: The store.
        clips: As `read_manifest` returns them.
    """
    now, then = clips.set_index("id"), store.clips
    both = now.index[now.index.isin(then.index)]
    phrases = [f"it has no clip {id_!r}" for id_ in now.index.difference(both, sort=False)]
    phrases += [f"its clip {id_!r} is not in the manifest" for id_ in then.index.difference(both, sort=False)]
    now, then = _texts(now.loc[both]), _texts(then.loc[both])
    for column in COMPARED:
        for id_ in both[now[column].ne(then[column])]:
            phrases.append(f"its {column} of clip {id_!r} is {then.at[id_, column]!r}, not {now.at[id_, column]!r}")
    return phrases


def changed_settings(store: FeatureStore, config: Extraction) -> list[str]:
    """Settings that differ from those that a store was made with, as "group.name (value in the store)".

    A store without settings, or with those of a version that had others, gives none.
    """
    try:
        made_with = from_json(Extraction, store.attrs["config"])
    except (KeyError, UserError):
        return []
    then, now = (settings.model_dump(mode="json", exclude=UNSEEN) for settings in (made_with, config))
    return [
        f"{group}.{name} ({then[group].get(name)})"
        for group in then
        for name in dict.fromkeys([*then[group], *now[group]])
        if then[group].get(name) != now[group].get(name)
    ]


def _texts(clips: pd.DataFrame) -> pd.DataFrame:
    """The compared columns; "" where there is no value, or no such column."""
    table = clips.reindex(columns=COMPARED).astype(object)
    return table.where(table.notna(), "")
