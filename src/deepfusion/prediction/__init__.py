"""A trained model applied to new clips: `deepfusion predict`, `deepfusion.predict` and `deepfusion.load`."""
