"""Deep Fusion: audio-video emotion recognition by attention-guided factorized bilinear pooling.

`from deepfusion import FeatureStore` reads a feature store with numpy, h5py and pandas alone.
"""

from deepfusion.store.reader import FeatureStore

__all__ = ["FeatureStore", "__version__"]
__version__ = "0.1.0"
