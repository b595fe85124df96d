"""The demo's portrait as a three-dimensional head, rendered at any yaw, pitch and roll.

A closed mesh of rings around the nose. The front has the portrait's texture and the depth of a generic face (body
measures of adults, smoothed through the 68 landmarks); the sides and the back continue with the hair or skin next to
the outline. A depth buffer hides the far side. The body does not turn.

Coordinates: x right, y down as in images, z towards the camera; px of the portrait unless stated otherwise.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from deepfusion.corpora.demo.face import ORIGIN, SCALE, SIDE, Look, look
from deepfusion.numba_cache import compiled

CENTRE = np.array([226.0, 115.0])  # of the rings
PIVOT = np.array([226.0, 150.0, -70.0])  # the head turns about the top of the neck
DISTANCE = 1000.0  # camera to nose: about 1.5 m
FACE_WIDTH = 92.5  # of the portrait, from ear to ear
TURNS, FACE_RINGS, SIDE_RINGS, BACK_RINGS = 120, 24, 10, 10

# Depth of the landmarks behind the tip of the nose, by mirrored pairs: 1 px is about 1.5 mm.
_JAW = [62, 60, 57, 52, 45, 37, 28, 20, 15]
_BROW = [34, 24, 17, 13, 12]
_EYE = [28, 19, 17, 21, 19, 20]  # outer corner, upper lid, upper lid, inner corner, lower lid, lower lid
DEPTHS = -np.array(
    [
        *_JAW, *_JAW[-2::-1], *_BROW, *_BROW[::-1],
        14, 9, 4, 0, 14, 11, 9, 11, 14,  # bridge of the nose, then its base
        *_EYE, _EYE[3], _EYE[2], _EYE[1], _EYE[0], _EYE[5], _EYE[4],
        20, 12, 8, 7, 8, 12, 20, 13, 10, 9, 10, 13, 19, 10, 9, 10, 19, 11, 10, 11,  # mouth
    ],
    float,
)  # fmt: skip
# Forehead, hair in front of it, and cheeks: x, y, depth.
_MORE = np.array(
    [
        (226, 78, 14), (200, 78, 20), (252, 78, 20), (185, 80, 40), (268, 80, 40), (226, 55, 16), (200, 55, 24),
        (252, 55, 24), (226, 35, 32), (195, 42, 40), (258, 42, 40), (176, 70, 60), (278, 70, 60), (202, 124, 23),
        (250, 124, 23), (189, 122, 40), (263, 122, 40),
    ],
    float,
)  # fmt: skip
_UPPER_EDGE = np.array([(278, 70), (258, 42), (226, 30), (195, 42), (176, 70)], float)  # of the front
_OUTLINE = np.array(
    [
        (303, 87), (300, 112), (284, 128), (274, 142), (258, 158), (243, 160), (226, 160), (209, 160), (194, 158),
        (178, 142), (168, 128), (155, 112), (151, 87), (160, 52), (185, 24), (227, 11), (268, 24), (294, 52),
    ],
    float,
)  # fmt: skip
_OUTLINE_DEPTH, _BACK = -82.0, np.array([226.0, 88.0, -165.0])


@dataclass(frozen=True)
class Head:
    """A speaker's head.

    Attributes:
        vertices: (n, 3) px.
        normals: (n, 3) unit vectors, outwards.
        places: (n, 2) of the vertices in the texture, px of `Look.rest`.
        triangles: (m, 3) int32.
        landmarks: (68, 3) px.
        texture: (SIDE, SIDE, 3) float32 RGB.
        body: (2 SIDE, SIDE, 4) float32: neck and clothes, and their opacity.
    """

    vertices: np.ndarray
    normals: np.ndarray
    places: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray
    texture: np.ndarray
    body: np.ndarray


def _radius(points: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Distance of an outline from the centre in some directions."""
    away = points - CENTRE
    at = np.arctan2(away[:, 1], away[:, 0]) % (2 * np.pi)
    order = np.argsort(at)
    return np.interp(angles, at[order], np.hypot(*away.T)[order], period=2 * np.pi)


@lru_cache(maxsize=8)
def head(speaker: int, seed: int = 0) -> Head:
    """The head of a speaker of the demo corpus: a pure function of both numbers."""
    face = look(speaker, seed)
    known = np.concatenate([face.places, _MORE[:, :2]])
    depth = RBFInterpolator(known, np.concatenate([DEPTHS, -_MORE[:, 2]]), kernel="thin_plate_spline", smoothing=1.0)
    angles = np.linspace(0, 2 * np.pi, TURNS, endpoint=False)
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    edge = _radius(np.concatenate([face.places[:17], _UPPER_EDGE]), angles)
    out = _radius(_OUTLINE, angles)

    rings = []
    for part in np.linspace(0, 1, FACE_RINGS):
        flat = CENTRE + part * edge[:, None] * ways
        rings.append(np.column_stack([flat, depth(flat)]))
    for part in np.linspace(0, 1, SIDE_RINGS + 1)[1:]:  # a quarter of an ellipse, from the edge to the outline
        radius = edge + (out - edge) * np.sin(part * np.pi / 2)
        z = _OUTLINE_DEPTH + (rings[FACE_RINGS - 1][:, 2] - _OUTLINE_DEPTH) * np.cos(part * np.pi / 2)
        rings.append(np.column_stack([CENTRE + radius[:, None] * ways, z]))
    for part in np.linspace(0, 1, BACK_RINGS + 1)[1:]:
        flat = CENTRE + (out * np.cos(part * np.pi / 2))[:, None] * ways
        flat += (_BACK[:2] - CENTRE) * (1 - np.cos(part * np.pi / 2))
        z = _OUTLINE_DEPTH + (_BACK[2] - _OUTLINE_DEPTH) * np.sin(part * np.pi / 2)
        rings.append(np.column_stack([flat, np.full(TURNS, z)]))
    rings = np.array(rings)

    # Beyond the edge the texture continues at the same scale, back and forth within the band next to the outline.
    hair = out > edge + 14  # else skin
    low, high = np.where(hair, edge - 2, edge - 10), np.where(hair, out - 6, edge - 3)
    way = np.linalg.norm(np.diff(rings[FACE_RINGS - 1 :], axis=0), axis=2).cumsum(0)
    span = high - low
    away = high - np.abs((edge - 3 + way - low) % (2 * span) - span)
    places = np.concatenate([rings[:FACE_RINGS, :, :2], CENTRE + away[..., None] * ways])
    places[FACE_RINGS - 1] = CENTRE + (edge - 2)[:, None] * ways

    i, j = np.meshgrid(np.arange(len(rings) - 1), np.arange(TURNS), indexing="ij")
    a, b = i * TURNS + j, i * TURNS + (j + 1) % TURNS
    triangles = np.concatenate([np.stack([a, b, a + TURNS], -1), np.stack([b, b + TURNS, a + TURNS], -1)])
    along, around = np.gradient(rings, axis=0), np.roll(rings, -1, 1) - np.roll(rings, 1, 1)
    normals = np.cross(along, around).reshape(-1, 3)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return Head(
        vertices=rings.reshape(-1, 3),
        normals=normals,
        places=(SCALE * (places.reshape(-1, 2) - ORIGIN)).astype(np.float32),
        triangles=triangles.reshape(-1, 3).astype(np.int32),
        landmarks=np.column_stack([face.places, depth(face.places)]),
        texture=np.ascontiguousarray(face.rest[..., :3]),
        body=_body(face),
    )


def _body(face: Look) -> np.ndarray:
    """Neck and clothes: what the head covers of the neck is painted in the skin's shade under the chin."""

    def px(points: np.ndarray) -> np.ndarray:
        return np.round(16 * SCALE * (np.asarray(points, float) - ORIGIN)).astype(np.int32)

    covered = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(covered, [px(_OUTLINE)], 255, shift=4)
    cv2.fillPoly(covered, [px(np.concatenate([face.places[:17], _UPPER_EDGE]))], 255, shift=4)
    covered = cv2.dilate(covered, np.ones((9, 9)))
    opacity = np.where(covered > 0, 0, face.rest[..., 3]).astype(np.float32)
    x, y = (SCALE * (face.places[8] - ORIGIN) - [0, 12]).astype(int)
    skin = 0.62 * face.rest[y - 3 : y + 3, x - 12 : x + 12, :3].reshape(-1, 3).mean(0)
    neck = np.zeros((SIDE, SIDE), np.float32)
    cv2.fillPoly(neck, [px([(193, 120), (259, 120), (255, 190), (195, 190)])], 1.0, cv2.LINE_AA, shift=4)
    neck *= (covered > 0) | (face.rest[..., 3] < 0.5)
    neck = cv2.GaussianBlur(neck, (0, 0), 1.5)[..., None]
    colour = face.rest[..., :3] * (1 - neck) + skin * neck
    body = np.dstack([colour, cv2.GaussianBlur(np.maximum(opacity, neck[..., 0]), (0, 0), 1.0)]).astype(np.float32)
    return cv2.copyMakeBorder(body, 0, SIDE, 0, 0, cv2.BORDER_REPLICATE)  # clothes continue below the portrait


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The rotation of a head, (3, 3) in the axes above, for angles in degrees.

    yaw > 0 turns the face to the image's right, pitch > 0 up, roll > 0 clockwise as seen; roll is applied first, then
    pitch, then yaw.
    """
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.deg2rad([yaw, pitch, roll])), np.sin(np.deg2rad([yaw, pitch, roll]))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    lean = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return turn @ nod @ lean


def project(points: np.ndarray, turn: np.ndarray, place: np.ndarray, scale: float) -> np.ndarray:
    """(n, 3) points of the head -> (n, 3): x, y in px of the frame, and nearness, after a rotation.

    `place` (2,) is the centre of an unrotated face in the frame, `scale` the frame's px per px of the portrait.
    """
    seen = (points - PIVOT) @ turn.T + PIVOT
    nearer = DISTANCE / (DISTANCE - seen[:, 2:])
    return np.column_stack([(seen[:, :2] - CENTRE) * nearer * scale + place, seen[:, 2:]])


def draw(
    image: np.ndarray, of: Head, turn: np.ndarray, place: np.ndarray, scale: float, light: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Render a head into an image.

    Args:
        image: (H, W, 3) float32 RGB, changed in place.
        of: The head.
        turn: (3, 3), see `rotation`.
        place: See `project`.
        scale: See `project`.
        light: (3,) unit vector towards the light.

    Returns:
        (68, 2) landmarks in px of the frame, hidden ones included, and (H, W) float32 opacity of the head.
    """
    whole = image
    reach = np.array([[-SIDE / 2, -CENTRE[1] - 20], [SIDE / 2, 2 * SIDE / SCALE]]) * scale * 1.2
    (left, top), (right, bottom) = np.clip(np.round(place + reach), 0, image.shape[1::-1]).astype(int)
    opacity = np.zeros(image.shape[:2], np.float32)
    landmarks = project(of.landmarks, turn, place, scale)[:, :2]
    if left >= right or top >= bottom:
        return landmarks, opacity
    image, place = whole[top:bottom, left:right], place - [left, top]
    height, width = image.shape[:2]
    to_frame = np.column_stack([np.eye(2) * scale / SCALE, place - scale * (CENTRE - ORIGIN)])
    body = cv2.warpAffine(of.body, to_frame, (width, height), flags=cv2.INTER_LINEAR)
    _blend(image, body[..., :3], body[..., 3])

    seen = project(of.vertices, turn, place, scale)
    # The portrait is already lit from the front: shade only by the change due to the rotation.
    shade = (0.6 + 0.4 * (of.normals @ turn.T @ light)) / (0.6 + 0.4 * np.abs(of.normals[:, 2]))
    values = np.column_stack([of.places, np.clip(shade, 0.35, 1.25)]).astype(np.float32)
    filled = np.zeros((height, width, 3), np.float32)
    nearness = np.full((height, width), -np.inf, np.float32)
    _rasterise(seen.astype(np.float32), values, of.triangles, filled, nearness)
    inside = np.isfinite(nearness).astype(np.float32)
    colour = cv2.remap(of.texture, filled[..., 0], filled[..., 1], cv2.INTER_LINEAR) * filled[..., 2:]
    # Colours extend beyond the outline, so that its soft edge does not darken.
    core = cv2.erode(inside, np.ones((3, 3)))
    spread = cv2.blur(colour * core[..., None], (7, 7)) / np.maximum(cv2.blur(core, (7, 7)), 1e-3)[..., None]
    opaque = cv2.GaussianBlur(inside, (0, 0), 0.8)
    _blend(image, np.where(core[..., None] > 0, colour, spread), opaque)
    opacity[top:bottom, left:right] = opaque
    return landmarks, opacity


def _blend(image: np.ndarray, colour: np.ndarray, opacity: np.ndarray) -> None:
    image[:] = cv2.blendLinear(colour.astype(np.float32), np.ascontiguousarray(image), opacity, 1 - opacity)


@compiled
def _rasterise(points, values, triangles, filled, nearness):  # pragma: no cover
    height, width = nearness.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        left, right = max(int(np.ceil(min(ax, bx, cx))), 0), min(int(np.floor(max(ax, bx, cx))), width - 1)
        top, bottom = max(int(np.ceil(min(ay, by, cy))), 0), min(int(np.floor(max(ay, by, cy))), height - 1)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                w = 1 - u - v
                if u < -1e-5 or v < -1e-5 or w < -1e-5:
                    continue
                z = u * points[a, 2] + v * points[b, 2] + w * points[c, 2]
                if z > nearness[y, x]:
                    nearness[y, x] = z
                    for k in range(3):
                        filled[y, x, k] = u * values[a, k] + v * values[b, k] + w * values[c, k]
