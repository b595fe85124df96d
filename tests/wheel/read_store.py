"""Read a store where numpy, h5py and pandas are all there is: `python read_store.py STORE`."""

import importlib.util
import sys

HEAVY = ("torch", "cv2", "dlib", "av", "librosa", "scipy", "sklearn", "pydantic", "yaml", "typer", "rich", "snakemake")
found = [name for name in HEAVY if importlib.util.find_spec(name)]
assert not found, f"this environment is not bare: it has {found}"

import numpy as np  # noqa: E402

from deepfusion import FeatureStore  # noqa: E402

with FeatureStore(sys.argv[1]) as store:
    assert len(store) == 24
    assert list(store.networks) == ["EF-A", "EF-B"]
    assert store.clips.loc["s0-1", "audio_status"] == "absent"
    for clip in store.iter():
        valid = clip["valid"]
        assert np.isfinite(clip["EF-A"][valid]).all()
        assert np.isnan(clip["EF-A"][~valid]).all()
        assert len(clip["spectrogram"]) == len(clip["audio_time"])
print(f"a bare environment read {len(store.clips)} clips")
