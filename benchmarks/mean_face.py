"""The mean 3-D face of `deepfusion.faces.pose`, from the landmarks of FER2013's faces.

python benchmarks/mean_face.py results/finetune/fer2013.npz

Structure from motion over the faces of PublicTest and PrivateTest with a high score of dlib's detector, each with its
mirror image: one rigid face, a pose and a scale per image (scaled orthographic factorization after C. Tomasi, T.
Kanade, Shape and Motion from Image Streams under Orthography, IJCV 1992, by alternating least squares). A mean of
thousands of people; no person can be seen in it. Pitch 0 is the median of these faces. Prints the points, and writes
docs/results/mean_face.json.
"""

import argparse
from pathlib import Path

import numpy as np
from provenance import publish

from deepfusion.faces.pose import POINTS, angles, fit, rotation
from deepfusion.fer2013.prepare import load

MIRRORED = [POINTS.index(p) for p in (27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 42, 39, 36)]
EYES = [POINTS.index(p) for p in (36, 39)], [POINTS.index(p) for p in (42, 45)]
# A first guess of the depth, in distances of the eyes: the nose's ridge, its base, the eyes' corners.
DEPTH = np.array([-0.2, -0.3, -0.4, -0.5, -0.2, -0.25, -0.3, -0.25, -0.2, 0, 0, 0, 0])
STEPS, CHANGE = 500, 1e-7


def standing(points: np.ndarray) -> np.ndarray:
    """(N, P, 2): the eyes level, at distance 1, their centre at 0."""
    left, right = (points[:, eye].mean(1) for eye in EYES)
    x, y = (right - left).T
    turn = np.stack([np.stack([x, y], -1), np.stack([-y, x], -1)], -2) / (x**2 + y**2)[:, None, None]
    return np.einsum("nij,npj->npi", turn, points - ((left + right) / 2)[:, None])


def structure(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The (P, 3) face that projects to (N, P, 2) points, and the median distance of its points from them."""
    face, error = np.c_[np.median(points, axis=0), DEPTH], np.ones(len(points))
    for _ in range(STEPS):
        axes, scale = fit(points, face)
        turn = scale[:, None, None] * axes
        shift = points.mean(1) - turn @ face.mean(0)
        seen = points - shift[:, None]
        error = np.sqrt(((np.einsum("nck,pk->npc", turn, face) - seen) ** 2).sum(2).mean(1)) / scale
        weight = 1 / (1 + (error / np.median(error) / 2) ** 2)  # faces with a wrong landmark count less
        left = np.einsum("n,nck,ncl->kl", weight, turn, turn)
        right = np.einsum("n,nck,npc->pk", weight, turn, seen)
        new = np.linalg.solve(left, right.T).T
        new = (new + new[MIRRORED] * [-1, 1, 1]) / 2
        eyes = [new[eye].mean(0) for eye in EYES]
        new = (new - np.mean(eyes, axis=0)) / np.linalg.norm(eyes[1] - eyes[0])
        change, face = np.abs(new - face).max(), new
        if change < CHANGE:
            break
    return face, float(np.median(error))


def main() -> None:
    """Find, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path, help="as `deepfusion prepare-fer2013` writes it")
    parser.add_argument("--out", type=Path, default=Path("docs/results/mean_face.json"))
    args = parser.parse_args()
    data, alignment = load(args.prepared)
    points = alignment.landmarks[(alignment.score >= 0) & (data.usage != "Training")][:, POINTS].astype(np.float64)
    both = np.concatenate([points, points[:, MIRRORED] * [-1, 1]])
    face, error = structure(standing(both))
    pitch = np.median(angles(fit(standing(both), face)[0])[:, 1])
    face = np.round(face @ rotation(0, pitch, 0).T, 3)
    axes, _ = fit(points, face)
    spread = np.percentile(angles(axes), [5, 50, 95], axis=0)
    print(np.array2string(face, separator=", "))
    figures = {
        "faces": len(points),
        "points": list(POINTS),
        "face": face.tolist(),
        "error_of_a_point": error,  # in distances of the eyes
        "percentiles_5_50_95": dict(zip(("yaw", "pitch", "roll"), spread.T.tolist(), strict=True)),
    }
    print(figures["error_of_a_point"], figures["percentiles_5_50_95"])
    publish(args.out, figures)


if __name__ == "__main__":
    main()
