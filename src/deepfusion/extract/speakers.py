"""Speaker groups for a corpus without speakers: clips with similar faces, by a recognition network.

Groups are estimates: a person may be split over groups, or two people merged. Every result table that uses them says so
(`corpora.needs.cautions`).
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from deepfusion.corpora.needs import SOURCE
from deepfusion.errors import UserError
from deepfusion.networks.catalogue import CATALOGUE
from deepfusion.store import FeatureStore

log = logging.getLogger(__name__)

# Network -> largest mean Euclidean distance within a group. On Java-SED the groups are the speakers at 0.35; above it
# people are merged, which causes no leakage (docs/corpora.md). The author's 0.6, for two single faces, merges all.
# Other networks need --distance.
DISTANCES = {"dlib-resnet29": 0.4}
MOST = 20_000  # clips; the distances of all pairs take 8 bytes each


def with_speakers(
    manifest: pd.DataFrame, store: Path, *, slot: str | None = None, distance: float | None = None
) -> pd.DataFrame:
    """The clips of a manifest with groups as speakers, and their origin in the column `speaker_source`.

    A clip without any face is a group of its own. Features do not depend on speakers: nothing is extracted again.

    Args:
        manifest: The clips of the store, in any order.
        store: A feature store.
        slot: Face features, "EF-A" for example; None: the first of a recognition network that is not fine-tuned.
        distance: Largest mean Euclidean distance within a group; None: the network's own, see `DISTANCES`.

    Raises:
        UserError: The store has no such network, no distance is known for it, or a clip of the manifest is not in it.
    """
    with FeatureStore(store) as opened:
        slot = slot or untuned(opened)
        network = opened.networks.get(slot, {}).get("network", "")
        if not is_untuned(network):
            raise UserError(
                f"{store}: {slot} is not from a recognition network without fine-tuning: {network or 'none'}"
            )
        if distance is None and network not in DISTANCES:
            raise UserError(f"no default distance for {network}: give --distance, the largest within a group")
        if missing := sorted(set(manifest["id"]) - set(opened.clips.index)):
            raise UserError(f"{store} lacks {len(missing)} clips of the manifest, first {missing[0]!r}")
        faces = np.stack([mean_face(opened[id_][slot]) for id_ in manifest["id"]])
    limit = DISTANCES[network] if distance is None else distance
    names = groups(faces, distance=limit)
    log.info("%d clips, %d groups by %s (%s), distance %g", len(names), len(set(names)), slot, network, limit)
    source = f"groups of similar faces ({network}, distance {limit:g}), which may split or merge people"
    return manifest.assign(speaker=names, **{SOURCE: source})


def untuned(store: FeatureStore) -> str:
    """The first slot of a recognition network that is not fine-tuned.

    Raises:
        UserError: There is none.
    """
    for slot, about in store.networks.items():
        if is_untuned(about.get("network", "")):
            return slot
    named = ", ".join(f"{slot}: {about.get('network')}" for slot, about in store.networks.items())
    raise UserError(
        f"{store.path} has no recognition network without fine-tuning ({named}); fine-tuned ones separate emotions, "
        "not people: extract with networks: {EF-A: {network: dlib-resnet29}}"
    )


def is_untuned(network: str) -> bool:
    """Whether a network of the catalogue is one of face recognition as it was published."""
    return network in CATALOGUE and not CATALOGUE[network].base


def mean_face(features: np.ndarray) -> np.ndarray:
    """(L, D), NaN in frames without a face -> (D,), their mean; NaN without any face."""
    seen = features[np.isfinite(features).all(axis=1)].astype(np.float64)
    return seen.mean(axis=0) if len(seen) else np.full(features.shape[1], np.nan)


def groups(faces: np.ndarray, *, distance: float) -> list[str]:
    """Group clips by average-linkage clustering of their mean faces.

    Args:
        faces: (clips, D); NaN for a clip without a face, which is a group of its own.
        distance: Largest mean Euclidean distance at which two groups are merged.

    Returns:
        "group0001", ... for each clip; the largest group comes first.
    """
    from sklearn.cluster import AgglomerativeClustering  # a second of import

    if len(faces) > MOST:
        raise UserError(f"{len(faces)} clips: at most {MOST} can be grouped, because all pairs must fit into memory")
    seen = np.isfinite(faces).all(axis=1)
    number = np.arange(len(faces)) + len(faces)  # a number of its own for each clip without a face
    if seen.sum() > 1:
        clustering = AgglomerativeClustering(n_clusters=None, distance_threshold=distance, linkage="average")
        number[seen] = clustering.fit_predict(faces[seen])
    places = {of: i for i, of in enumerate(pd.Series(number).value_counts(sort=True).index, start=1)}
    return [f"group{places[of]:04d}" for of in number]
