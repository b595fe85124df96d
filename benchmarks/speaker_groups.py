"""Agreement of groups of similar faces with the known speakers of a corpus.

    python benchmarks/speaker_groups.py ../shared/data/javsed

writes docs/results/speaker_groups.json. A few frames of each clip go through dlib's recognition network as it was
published; `deepfusion cluster-speakers` takes all frames of a store.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from provenance import ROOT, publish
from sklearn.metrics import adjusted_rand_score

from deepfusion import media
from deepfusion.corpora import load
from deepfusion.extract.speakers import DISTANCES, groups, mean_face
from deepfusion.faces.align import warp
from deepfusion.faces.detect import Detector
from deepfusion.faces.tracker import most_prominent
from deepfusion.networks.catalogue import find
from deepfusion.networks.catalogue import load as load_network
from deepfusion.networks.inference import embed

NETWORK = "dlib-resnet29"
FRAMES = 3  # of a clip
TRIED = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)  # distances


def crops(path: str, detector: Detector) -> np.ndarray:
    """(up to FRAMES, S, S, 3): the most prominent face of evenly spread frames of a clip."""
    crop = find(NETWORK).crop
    images = [frame.image for frame in media.frames(path)]
    places = np.linspace(0, len(images) - 1, FRAMES + 2).round().astype(int)[1:-1]
    found = [(images[i], most_prominent(detector(images[i]), images[i])) for i in places]
    cut = [warp(image, face.box, face.landmarks, crop) for image, face in found if face is not None]
    return np.stack(cut) if cut else np.zeros((0, crop.size, crop.size, 3), np.uint8)


def agreement(made: list[str], speakers: list[str]) -> dict:
    """Agreement of groups with speakers.

    Returns:
        groups; of_one_speaker: share of the clips whose group has a single speaker; mixed: groups with several;
        split: speakers in several groups; adjusted_rand; leaked: the share of pairs of clips of one speaker that are
        in two groups, so that a division by groups could part them.
    """
    made, speakers = np.array(made), np.array(speakers)
    several = {group for group in set(made) if len(set(speakers[made == group])) > 1}
    same = (speakers[:, None] == speakers) & ~np.eye(len(speakers), dtype=bool)
    return {
        "groups": len(set(made)),
        "of_one_speaker": float(np.mean([group not in several for group in made])),
        "mixed": len(several),
        "split": sum(len(set(made[speakers == speaker])) > 1 for speaker in set(speakers)),
        "adjusted_rand": float(adjusted_rand_score(speakers, made)),
        "leaked": float((same & (made[:, None] != made)).sum() / same.sum()),
    }


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path, help="clips of Java-SED")
    folder = arguments.parse_args().folder
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    clips = load(kind="javsed", name="Java-SED", path=folder.absolute()).clips
    detector, network, device = Detector(), load_network(NETWORK), torch.device("cpu")
    cut = [crops(path, detector) for path in clips["path"]]
    faces = np.stack([mean_face(embed(network, own, device=device)) for own in cut])
    speakers = clips["speaker"].tolist()
    figures = {
        "corpus": "Java-SED",
        "clips": len(clips),
        "speakers": len(set(speakers)),
        "network": NETWORK,
        "frames_per_clip": FRAMES,
        "without_a_face": sum(not len(own) for own in cut),
        "default": DISTANCES[NETWORK],
        "distances": {f"{at:g}": agreement(groups(faces, distance=at), speakers) for at in TRIED},
    }
    publish(ROOT / "docs" / "results" / "speaker_groups.json", figures)


if __name__ == "__main__":
    main()
