"""The demo corpus's video: one public-domain portrait, warped into speakers and expressions.

The portrait is `skimage.data.astronaut()` (Eileen Collins, NASA, public domain; the file ships inside
scikit-image). A speaker is that portrait with another face geometry, colour, light, background, scale, place and
sharpness, every second one mirrored. An expression is a displacement field that moves the 68 face landmarks to
other places (thin-plate spline between them, fixed at the image border), times an amplitude that is 0 outside
the clip's stretch. Everything random comes from a generator seeded by the clip, so a clip is a pure function of it.

Coordinates: *portrait* pixels are those of the 512x512 photograph; *face* pixels are those of the enlarged cut of
it with a speaker's look (`SIDE` square); *frame* pixels are those of the finished video.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator
from skimage import data

SIZE = 256
"""Height and width of a frame, px."""
EXPRESSIONS = ("astonished", "laughing", "scowling", "puckered")
"""Expressions at the apex, by the number f of the plan."""

SIDE = 368
"""Height and width of the cut, px: larger than a frame, so that head motion shows no border."""
SCALE = 1.4
"""Face pixels per portrait pixel."""
ORIGIN = np.array([95.0, -1.0])
"""Place of the cut's first pixel in the portrait (x, y)."""

# The portrait's 68 landmarks (iBUG order, x and y), as dlib's predictor finds them at double size.
LANDMARKS = np.fromstring(
    """
    179.5 104.5  180.0 116.0  181.0 127.0  182.0 138.5  185.0 149.5  191.0 160.0  200.0 168.0  209.0 175.5
    220.5 178.5  232.0 177.0  242.5 171.5  252.5 164.0  260.0 154.5  265.0 144.0  268.0 132.5  270.5 121.0
    272.0 109.0  186.5  94.5  192.0  88.5  200.5  87.5  209.0  89.0  216.5  92.5  236.5  94.0  244.5  91.0
    252.5  91.0  260.5  93.0  265.5  99.5  226.0 102.5  225.5 111.0  225.5 119.0  225.0 127.5  214.5 131.5
    219.5 133.0  224.5 134.5  229.5 133.5  234.5 132.0  195.5 101.5  200.5  98.0  207.0  99.0  212.5 104.0
    206.5 104.5  200.0 104.0  238.0 105.5  243.5 100.5  250.0 101.0  255.5 104.5  250.5 106.5  244.0 106.5
    200.5 139.0  209.0 139.5  218.0 139.5  223.5 141.0  229.5 140.0  237.5 140.5  246.0 141.0  237.5 151.0
    229.0 155.0  222.5 155.5  216.0 154.5  207.5 149.5  203.5 140.5  217.5 143.0  223.5 144.5  229.5 143.5
    243.0 142.0  229.0 150.0  223.0 150.5  217.0 149.5
    """,
    sep=" ",
).reshape(68, 2)
TEETH = np.array([[214.0, 146.5], [223.0, 147.5], [232.0, 146.5]])
"""Lower edge of the upper teeth: kept in place when the mouth opens, so that teeth do not grow."""
MIDDLE = np.array([225.5, 120.0])
"""Centre of the face in the portrait."""

BROWS, NOSE, MOUTH = slice(17, 27), slice(27, 36), slice(48, 68)
UPPER_LIDS, LOWER_LIDS = [37, 38, 43, 44], [40, 41, 46, 47]
CORNERS = [48, 60, 54, 64]
UPPER_LIP, LOWER_LIP = [49, 50, 51, 52, 53], [55, 56, 57, 58, 59]
UPPER_INNER, LOWER_INNER = [61, 62, 63], [65, 66, 67]
CHIN, JAW = [6, 7, 8, 9, 10], [3, 4, 5, 11, 12, 13]


def apex(expression: int) -> np.ndarray:
    """Where an expression at its apex moves the landmarks.

    Args:
        expression: index into `EXPRESSIONS`.

    Returns:
        (68, 2) displacements in portrait pixels (the face is about 90 wide).
    """
    move = np.zeros((68, 2))
    inward = np.sign(MIDDLE[0] - LANDMARKS[:, 0])
    x, y = move[:, 0], move[:, 1]
    if expression == 0:  # astonished: brows up, eyes wide, mouth a tall oval
        y[BROWS] = -9
        y[UPPER_LIDS], y[LOWER_LIDS] = -2.0, 1.0
        x[CORNERS], y[CORNERS] = 9 * inward[CORNERS], 12
        x[UPPER_LIP], x[LOWER_LIP] = 3 * inward[UPPER_LIP], 3 * inward[LOWER_LIP]
        y[[49, 53]], y[[55, 59]] = 4, 15
        y[[56, 57, 58, *LOWER_INNER]] = 20
        y[CHIN], y[JAW] = 13, 6
    elif expression == 1:  # laughing: corners out and up, mouth open, eyes narrowed
        x[CORNERS], y[CORNERS] = -10 * inward[CORNERS], -7
        x[UPPER_LIP], x[LOWER_LIP] = -4 * inward[UPPER_LIP], -5 * inward[LOWER_LIP]
        y[UPPER_LIP + UPPER_INNER] = -2
        y[LOWER_LIP + LOWER_INNER] = 9
        y[LOWER_LIDS], y[UPPER_LIDS] = -1.8, 1.0
        x[JAW], y[CHIN] = -3 * inward[JAW], 5
        y[BROWS] = 1.5
    elif expression == 2:  # scowling: brows down and together, mouth closed, its corners down
        y[[20, 21, 22, 23]], x[[20, 21, 22, 23]] = 7.5, 4 * inward[[20, 21, 22, 23]]
        y[[18, 19, 24, 25]] = 3
        y[[17, 26]] = -3
        y[UPPER_LIDS], y[LOWER_LIDS] = 2.5, -1.0
        x[CORNERS], y[CORNERS] = 3 * inward[CORNERS], 11
        y[UPPER_INNER], y[LOWER_INNER] = 3, -2.6
        y[UPPER_LIP], y[LOWER_LIP] = 3, -1
        y[[49, 53, 55, 59]] += 3
        y[CHIN] = -3
    else:  # puckered: eyes shut, mouth small, round and closed
        y[UPPER_LIDS], y[LOWER_LIDS] = 4.0, -0.3
        x[CORNERS], y[CORNERS] = 12 * inward[CORNERS], 4
        x[UPPER_LIP], x[LOWER_LIP] = 0.45 * (MIDDLE[0] - LANDMARKS[[UPPER_LIP, LOWER_LIP], 0])
        x[UPPER_INNER], x[LOWER_INNER] = 0.45 * (MIDDLE[0] - LANDMARKS[[UPPER_INNER, LOWER_INNER], 0])
        y[UPPER_INNER], y[LOWER_INNER] = 3, -2.6
        y[UPPER_LIP], y[LOWER_LIP] = -2, 1
        y[BROWS] = -1
        x[JAW], y[CHIN] = 3 * inward[JAW], -2
    return move


def _still() -> np.ndarray:
    """Points that never move: border of the cut, hair and collar."""
    left, top = ORIGIN
    far = SIDE / SCALE
    edge = np.linspace(0, far, 7)
    frame = [(left + e, top + s) for e in edge for s in (0, far)]
    frame += [(left + s, top + e) for e in edge[1:-1] for s in (0, far)]
    hair = [(160, 60), (227, 30), (295, 60), (185, 40), (270, 40), (157, 95), (298, 95), (165, 120), (288, 125)]
    collar = [(170, 200), (200, 197), (227, 200), (255, 197), (285, 200)]
    return np.array(frame + hair + collar, float)


def _field(places: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """A smooth backward displacement field: at `places` + `moves` it is `moves`, at the fixed points 0.

    Args:
        places: (n, 2) portrait pixels.
        moves: (n, 2) portrait pixels.

    Returns:
        (SIDE, SIDE, 2) float32, face pixels: the warped image at q is the original at q - field[q].
    """
    still = _still()
    knots = np.concatenate([places + moves, still])
    values = np.concatenate([moves, np.zeros_like(still)])
    spline = RBFInterpolator(knots, values, kernel="thin_plate_spline", smoothing=0.02)
    coarse = np.arange(0, SIDE, 4) / SCALE
    grid = np.stack(np.meshgrid(ORIGIN[0] + coarse, ORIGIN[1] + coarse), axis=-1)
    field = spline(grid.reshape(-1, 2)).reshape(grid.shape)
    # Coarse samples are at 0, 4, 8 ... face pixels: an affine map places them exactly.
    place = np.array([[4.0, 0, 0], [0, 4.0, 0]])
    return SCALE * cv2.warpAffine(
        field.astype(np.float32), place, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _grid(side: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).astype(np.float32)


def _portrait(expression: int | None) -> np.ndarray:
    """The portrait with an alpha channel for the person, and the inside of the mouth painted for the expression.

    Returns:
        (512, 512, 4) float32: RGB 0..255 and opacity 0..1.
    """
    image = data.astronaut().astype(np.float32)
    inside = np.zeros(image.shape[:2], np.float32)
    inner = LANDMARKS[60:68]
    if expression == 1:  # dark below the teeth, where the opening mouth stretches the image
        inner = np.concatenate([[[206.0, 144.0]], TEETH, [[240.0, 144.5]], LANDMARKS[65:68]])
    if expression is not None:
        cv2.fillPoly(inside, [np.round(16 * inner).astype(np.int32)], 1.0, cv2.LINE_AA, shift=4)
        inside = cv2.GaussianBlur(inside, (0, 0), 0.6)[..., None]
        image = image * (1 - inside) + np.array([70.0, 26.0, 28.0], np.float32) * inside
    return np.dstack([image, _opacity()])


@lru_cache(maxsize=1)
def _opacity() -> np.ndarray:
    """Alpha mask of the person: (512, 512) float32, 0..1. The wall around her is bright grey."""
    image = data.astronaut()
    person = np.zeros(image.shape[:2], np.uint8)
    cv2.ellipse(person, (227, 87), (76, 76), 0, 0, 360, 255, -1)  # hair
    cv2.fillPoly(person, [np.array([[178, 100], [274, 100], [262, 215], [186, 215]], np.int32)], 255)
    cv2.ellipse(person, (208, 215), (97, 66), 12, 0, 360, 255, -1)  # collar ring
    cv2.fillPoly(person, [np.array([[40, 330], [110, 225], [310, 235], [365, 330]], np.int32)], 255)
    inner = cv2.ellipse(np.zeros_like(person), (226, 125), (42, 60), 0, 0, 360, 255, -1)
    wall = ((np.ptp(image, axis=-1) < 45) & (image.min(-1) > 130) & (inner == 0)).astype(np.uint8)
    wall[225:] = 0
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(wall)
    wall = np.isin(pieces, 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] > 2000))
    wall = cv2.dilate(wall.astype(np.uint8), np.ones((3, 3), np.uint8))
    person[wall > 0] = 0
    return cv2.GaussianBlur(person.astype(np.float32) / 255, (0, 0), 1.0)


@dataclass(frozen=True)
class Look:
    """A speaker's appearance.

    Attributes:
        rest: (SIDE, SIDE, 4) float32 face without expression: RGB 0..255 and opacity.
        shaped: as `rest`, per expression, with the mouth painted for its apex.
        fields: (SIDE, SIDE, 2) float32 backward displacement of every expression at its apex, face pixels.
        middle: (2,) centre of the face, face pixels.
        places: (68, 2) landmarks of the face without expression, portrait pixels.
        background: (SIZE, SIZE, 3) float32.
        light: (SIZE, SIZE, 1) float32 factor.
        scale: frame pixels per face pixel.
        place: (2,) offset of the face from the frame's centre, frame pixels.
        mirrored: whether the image is mirrored.
        blur: standard deviation of the lens blur, frame pixels.
        noise: standard deviation of the camera's noise, grey levels.
    """

    rest: np.ndarray
    shaped: tuple[np.ndarray, ...]
    fields: tuple[np.ndarray, ...]
    middle: np.ndarray
    places: np.ndarray
    background: np.ndarray
    light: np.ndarray
    scale: float
    place: np.ndarray
    mirrored: bool
    blur: float
    noise: float


def _geometry(rng: np.random.Generator) -> np.ndarray:
    """A speaker's own landmarks minus the portrait's: (68, 2) portrait pixels."""
    away = LANDMARKS - MIDDLE
    move = np.zeros((68, 2))
    move[:17] = away[:17] * rng.uniform([-0.07, -0.03], [0.07, 0.05])  # width and length of the face
    move[5:12, 1] += rng.uniform(-4, 4)  # chin
    sides = np.sign(away[:, 0])
    apart, eyes_up, eyes_large = rng.uniform(-2.2, 2.2), rng.uniform(-1.5, 1.5), rng.uniform(-0.1, 0.22)
    for eye in (slice(36, 42), slice(42, 48)):
        move[eye] = eyes_large * (LANDMARKS[eye] - LANDMARKS[eye].mean(0))
        move[eye] += [apart * sides[eye][0], eyes_up]
    move[BROWS, 0] = apart * sides[BROWS]
    move[BROWS, 1] = eyes_up + rng.uniform(-2.5, 2)
    tip = LANDMARKS[27, 1]
    move[NOSE, 1] = (LANDMARKS[NOSE, 1] - tip) * rng.uniform(-0.13, 0.13)
    move[31:36, 0] = away[31:36, 0] * rng.uniform(-0.2, 0.25)
    mouth = LANDMARKS[MOUTH] - LANDMARKS[MOUTH].mean(0)
    move[MOUTH] = mouth * rng.uniform([-0.12, -0.1], [0.1, 0.2]) + [0, rng.uniform(-1.5, 2) + move[33, 1] / 2]
    return move


def _backdrop(rng: np.random.Generator) -> np.ndarray:
    """A wall behind the speaker: a soft cloud of two colours, with vertical stripes for some."""
    cloud = cv2.resize(rng.uniform(0, 1, (5, 5)).astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.4:
        period, phase = rng.uniform(24, 60), rng.uniform(0, 60)
        cloud = 0.6 * cloud + 0.4 * (np.sin(2 * np.pi * (np.arange(SIZE) + phase) / period) > 0)
    near, far = rng.uniform(40, 215, (2, 3))
    return (near + (far - near) * np.clip(cloud, 0, 1)[..., None]).astype(np.float32)


@lru_cache(maxsize=2)
def look(speaker: int, seed: int) -> Look:
    """The face of a speaker: a pure function of the speaker's number and the corpus's seed."""
    rng = np.random.default_rng([seed, 1, speaker])
    geometry = _geometry(rng)
    places = LANDMARKS + geometry
    source = _grid(SIDE) - _field(LANDMARKS, geometry)
    source = source / SCALE + ORIGIN.astype(np.float32)
    gain = rng.uniform([0.95, 0.9, 0.8], [1.1, 1.0, 1.1]) * rng.uniform(0.85, 1.05)
    gamma, saturation = rng.uniform(0.75, 1.35), rng.uniform(0.45, 1.25)

    def texture(expression: int | None) -> np.ndarray:
        cut = cv2.remap(
            _portrait(expression), source.astype(np.float32), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        colour = np.clip(cut[..., :3], 0, 255)
        colour = colour.mean(-1, keepdims=True) * (1 - saturation) + colour * saturation
        colour = 255 * np.clip(colour * gain / 255, 0, 1) ** gamma
        return np.dstack([colour, np.clip(cut[..., 3:], 0, 1)]).astype(np.float32)

    fields = []
    for expression in range(len(EXPRESSIONS)):
        held = TEETH if expression == 1 else TEETH[:0]  # no other mouth shows teeth at the apex
        moves = np.concatenate([apex(expression), np.zeros_like(held)])
        held = held + geometry[UPPER_INNER].mean(0)
        fields.append(_field(np.concatenate([places, held]), moves))
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.4)
    slope = (_grid(SIZE) / SIZE - 0.5) @ np.array([np.cos(angle), np.sin(angle)])
    return Look(
        rest=texture(None),
        shaped=tuple(texture(e) for e in range(len(EXPRESSIONS))),
        fields=tuple(fields),
        middle=(SCALE * (MIDDLE - ORIGIN)),
        places=places,
        background=_backdrop(rng),
        light=(1 + strength * slope)[..., None].astype(np.float32),
        scale=rng.uniform(0.86, 1.12),
        place=rng.uniform([-16, -8], [16, 14]),
        mirrored=speaker % 2 == 1,
        blur=rng.uniform(0.0, 0.8),
        noise=rng.uniform(1.0, 4.0),
    )


ONSET = 0.12
"""Rise time and fall time of an expression, s."""


def amplitude(times: np.ndarray, start: float, end: float) -> np.ndarray:
    """Intensity of the expression in each frame: 0 outside the stretch, 1 inside after a smooth onset.

    Args:
        times: (L,) s.
        start: Of the stretch, s.
        end: Of the stretch, s.

    Returns:
        (L,) float64.
    """
    shape = np.clip(np.minimum(times - start, end - times) / ONSET, 0, 1)
    return shape**2 * (3 - 2 * shape)


class Film(NamedTuple):
    """A clip's video.

    Attributes:
        frames: (L, SIZE, SIZE, 3) uint8 RGB.
        visible: (L,) bool, False where something covers the face.
    """

    frames: np.ndarray
    visible: np.ndarray


def film(speaker: int, expression: int, how_far: np.ndarray, *, seed: int, clip: tuple[int, ...]) -> Film:
    """Render an expression on a speaker's face with small head motion; in a tenth of the clips a block covers the face.

    Args:
        speaker: The speaker's number.
        expression: Index into `EXPRESSIONS`.
        how_far: (L,) intensity of the expression in each frame, see `amplitude`.
        seed: The corpus's seed.
        clip: Numbers that identify the clip.

    Returns:
        The frames, and which of them show the face.
    """
    face, count = look(speaker, seed), len(how_far)
    rng = np.random.default_rng([seed, 2, *clip])
    how_far = rng.uniform(0.85, 1.1) * how_far
    sway = np.sin(np.arange(count)[:, None] * rng.uniform(0.1, 0.45, 4) + rng.uniform(0, 2 * np.pi, 4))
    sway = sway * [4.0, 3.0, 3.0, 0.02] + rng.uniform([-5, -4, -4, -0.04], [5, 4, 4, 0.04])
    visible = np.ones(count, bool)
    if rng.random() < 0.1:
        first = rng.integers(0, count - 2)
        visible[first : first + rng.integers(1, 3)] = False
    cover = rng.uniform(20, 200, 3)

    frames = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for i, (a, (dx, dy, turn, zoom)) in enumerate(zip(how_far, sway, strict=True)):
        to_face = _pose(face, np.array([dx, dy]), turn, face.scale * (1 + zoom))
        picture = _posed(face, expression, a, to_face)
        opaque = picture[..., 3:]
        image = (picture[..., :3] * opaque + face.background * (1 - opaque)) * face.light
        if not visible[i]:
            x, y = (SIZE / 2 + face.place + [dx, dy]).astype(int)
            cv2.rectangle(image, (x - 62, y - 70), (x + 62, y + 80), cover.tolist(), -1)
        if face.blur > 0.3:
            image = cv2.GaussianBlur(image, (0, 0), face.blur)
        image += face.noise * rng.standard_normal((SIZE, SIZE, 1), dtype=np.float32)
        frames[i] = np.clip(image, 0, 255)
    return Film(frames, visible)


def _posed(face: Look, expression: int, a: float, to_face: np.ndarray) -> np.ndarray:
    """The face with intensity `a` of an expression, by the map from frame to face pixels: (SIZE, SIZE, 4) float32."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if a == 0:
        return cv2.warpAffine(face.rest, to_face, (SIZE, SIZE), flags=flags)
    shift = cv2.warpAffine(face.fields[expression], to_face, (SIZE, SIZE), flags=flags)
    where = _grid(SIZE) @ to_face[:, :2].T.astype(np.float32) + to_face[:, 2].astype(np.float32)
    painted = cv2.addWeighted(face.rest, 1 - min(a, 1.0), face.shaped[expression], min(a, 1.0), 0)
    return cv2.remap(painted, where - np.float32(a) * shift, None, cv2.INTER_LINEAR)


def _pose(face: Look, move: np.ndarray, turn: float, scale: float) -> np.ndarray:
    """The affine map from frame to face pixels, (2, 3), for a head moved by `move` px and turned by `turn` degrees."""
    angle = np.deg2rad(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    if face.mirrored:
        rotation[0] *= -1
    offset = face.middle - rotation @ (SIZE / 2 + face.place + move)
    return np.column_stack([rotation, offset])
