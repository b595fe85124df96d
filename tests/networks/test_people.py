import numpy as np
import pytest

from deepfusion.networks.catalogue import CATALOGUE, load
from deepfusion.networks.inference import device, embed


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["dlib-resnet29", "sface"])
def test_a_person_in_another_clip_is_more_alike_than_another_person(name, sightings):
    """AUC of the cosine over all pairs; 0.997 and 1.000 were measured, 0.5 is chance."""
    features = embed(load(name), np.stack([s.crop(CATALOGUE[name].crop) for s in sightings]), device=device("cpu"))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    first, second = np.triu_indices(len(sightings), 1)
    cosine = (features @ features.T)[first, second]
    speaker, clip = (np.array([getattr(s, field) for s in sightings]) for field in ("speaker", "clip"))
    same = (speaker[first] == speaker[second]) & (clip[first] != clip[second])
    different = speaker[first] != speaker[second]
    assert same.sum() >= 20
    assert different.sum() >= 400
    assert (cosine[same][:, None] > cosine[different]).mean() > 0.98
