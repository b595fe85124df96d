"""Alignment of FER2013's images: dlib's landmarks, found on 48 x 48 crops."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import dlib
import numpy as np

from deepfusion.faces.align import Crop, transform
from deepfusion.faces.detect import predictor_path
from deepfusion.fer2013.data import SIDE
from deepfusion.progress import track

IMAGES_PER_CHUNK = 512
ENLARGED = 144  # dlib's detector finds no face below 80 px
BORDER = 36  # and none that touches the edge, as these tight crops do
THRESHOLD = -0.5  # these images are known to be faces, so weak detections count
USUAL_BOX = (5.0, 5.0, 46.67, 46.67)
"""left, top, right, bottom in px of the image: within half a pixel of the median of those that dlib finds in Training.

benchmarks/fer2013.py computes that median."""


@dataclass(frozen=True)
class Alignment:
    """One index over all arrays, in px of the 48 px images, (0, 0) at the centre of the top left pixel.

    Attributes:
        box: (N, 4) float32 left, top, right, bottom; `USUAL_BOX` where dlib finds no face.
        landmarks: (N, 68, 2) float32 x, y, predicted from that box.
        score: (N,) float32 of dlib's detector, NaN where it finds no face.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: np.ndarray


def align(images: np.ndarray, *, threads: int = 1) -> Alignment:
    """Find the landmarks of every image, (N, 48, 48) uint8.

    Where dlib's detector finds no face, its landmark predictor starts from the box of a typical face: these
    images were cropped to a face.
    """
    predict = dlib.shape_predictor(str(predictor_path()))

    def part(chunk: np.ndarray) -> list[tuple]:
        find = dlib.get_frontal_face_detector()  # not shared between threads: it keeps its pyramid
        return [_one(image, find, predict) for image in chunk]

    chunks = np.array_split(images, max(threads, len(images) // IMAGES_PER_CHUNK))
    with ThreadPoolExecutor(threads) as pool:
        chunk_rows = pool.map(part, chunks)
        found = [row for _ in track(chunks, "faces", unit="chunks of images") for row in next(chunk_rows)]
    boxes, landmarks, scores = (np.array(column, np.float32) for column in zip(*found, strict=True))
    return Alignment(box=_to_image(boxes), landmarks=_to_image(landmarks), score=scores)


def _one(image: np.ndarray, find: dlib.fhog_object_detector, predict: dlib.shape_predictor) -> tuple:
    large = cv2.resize(image, (ENLARGED, ENLARGED), interpolation=cv2.INTER_CUBIC)
    large = cv2.copyMakeBorder(large, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_REPLICATE)
    boxes, scores, _ = find.run(large, 0, THRESHOLD)
    if scores:
        best = int(np.argmax(scores))
        box, score = boxes[best], scores[best]
    else:
        box = dlib.rectangle(*(round(float(edge)) for edge in _to_large(np.array(USUAL_BOX))))
        score = np.nan
    points = [(point.x, point.y) for point in predict(large, box).parts()]
    return (box.left(), box.top(), box.right(), box.bottom()), points, score


def _to_image(points: np.ndarray) -> np.ndarray:
    """From px of the enlarged, padded image to px of the original."""
    return (points - BORDER + 0.5) * (SIDE / ENLARGED) - 0.5


def _to_large(points: np.ndarray) -> np.ndarray:
    return (points + 0.5) * (ENLARGED / SIDE) - 0.5 + BORDER


def to_crop(alignment: Alignment, crop: Crop) -> np.ndarray:
    """The affine maps from the images to a network's crop, (N, 2, 3) float64, both in px."""
    # In px of the enlarged image, because dlib's chip takes landmarks in whole px.
    enlarge = np.array([[ENLARGED / SIDE, 0, _to_large(np.zeros(()))], [0, ENLARGED / SIDE, _to_large(np.zeros(()))]])
    enlarge = np.vstack([enlarge, [0, 0, 1]])
    boxes, landmarks = (_to_large(points) for points in (alignment.box, alignment.landmarks))
    return np.stack([transform(box, points, crop) @ enlarge for box, points in zip(boxes, landmarks, strict=True)])
