"""Deep Fusion: audio-video emotion recognition by attention-guided factorized bilinear pooling.

`from deepfusion import FeatureStore` reads a feature store with numpy, h5py and pandas alone.
`deepfusion.predict("clip.mp4")` predicts the emotion of a clip; `deepfusion.load()` loads a model for repeated use.
"""

from typing import Any

from deepfusion.store.reader import FeatureStore

__all__ = ["FeatureStore", "__version__", "load", "predict"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Imported on first use: they need torch and much else, which reading a store does not.
    if name in ("load", "predict"):
        from deepfusion.prediction import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'deepfusion' has no attribute {name!r}")
