"""The HDF5 feature store: crash-safe shards, one file made of them, and its reader.

Needs only numpy, h5py and pandas. The layout is described in docs/store.md.
"""

from deepfusion.store.build import build_store
from deepfusion.store.checksum import check_whole
from deepfusion.store.faults import DamagedError
from deepfusion.store.reader import Clip, FeatureStore
from deepfusion.store.shard import Shard, ShardWriter, read_shard

__all__ = [
    "Clip",
    "DamagedError",
    "FeatureStore",
    "Shard",
    "ShardWriter",
    "build_store",
    "check_whole",
    "read_shard",
]
