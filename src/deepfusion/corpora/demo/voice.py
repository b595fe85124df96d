"""The demo corpus's audio: nonsense syllables, spoken by a source and a filter.

The source is a train of glottal pulses (Rosenberg's, with jitter and shimmer) or noise; the filter is a cascade of
formant resonators (Klatt 1980), one for each vowel, faded into one another. A speaker has a base pitch, a length of
the vocal tract (which scales the formants), a rate and a room noise. Manners of speaking differ strongly for
every speaker; outside the clip's stretch the voice is neutral. Everything random comes from a
generator seeded by the clip, so a clip is a pure function of it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import lfilter

RATE = 16000
"""Samples per second."""
SHORTEST = 0.3
"""Shorter parts of a clip are silent, s: they cannot hold a syllable."""
MANNERS = ("low", "soaring", "whispered", "staccato")
"""How the voice speaks, by the number s of the plan."""

# Four formants in Hz; the first three are averages of adults (Peterson and Barney 1952, rounded).
VOWELS = {
    "a": (730, 1100, 2450, 3500),
    "e": (530, 1850, 2500, 3500),
    "i": (280, 2250, 2900, 3600),
    "o": (560, 850, 2400, 3400),
    "u": (310, 870, 2250, 3300),
}
BANDWIDTHS = (80.0, 100.0, 140.0, 200.0)


class Manner(NamedTuple):
    """Parameters of a manner of speaking, for any voice.

    Attributes:
        pitch: factor on the speaker's base pitch.
        rise: octaves the pitch rises from the clip's beginning to its end.
        vibrato: swing of the pitch at 6 Hz, octaves.
        breath: share of noise in the source, 0 to 1.
        syllable: seconds of a syllable.
        pause: seconds between syllables.
        formants: factor on the formants.
        tilt: coefficient of the one-pole low-pass that darkens the sound (positive) or of its opposite (negative).
    """

    pitch: float
    rise: float
    vibrato: float
    breath: float
    syllable: float
    pause: float
    formants: float
    tilt: float


MANNER = (
    Manner(pitch=0.75, rise=0.0, vibrato=0.0, breath=0.02, syllable=0.34, pause=0.16, formants=0.92, tilt=0.85),
    Manner(pitch=1.7, rise=0.7, vibrato=0.12, breath=0.02, syllable=0.40, pause=0.0, formants=1.0, tilt=0.0),
    Manner(pitch=1.0, rise=0.0, vibrato=0.0, breath=1.0, syllable=0.26, pause=0.04, formants=1.08, tilt=-0.5),
    Manner(pitch=1.15, rise=-0.1, vibrato=0.0, breath=0.05, syllable=0.075, pause=0.065, formants=1.15, tilt=-0.7),
)
NEUTRAL = Manner(pitch=1.0, rise=0.0, vibrato=0.0, breath=0.04, syllable=0.2, pause=0.06, formants=1.0, tilt=0.35)


@dataclass(frozen=True)
class Throat:
    """A speaker's voice.

    Attributes:
        pitch: base fundamental frequency, Hz.
        formants: factor on the formants (a short vocal tract has high ones).
        rate: factor on the speed of speaking.
        room: room noise, dB relative to the speech.
        colour: coefficient of the one-pole filter of the room noise.
    """

    pitch: float
    formants: float
    rate: float
    room: float
    colour: float


def throat(speaker: int, seed: int) -> Throat:
    """The voice of a speaker: a pure function of the speaker's number and the corpus's seed."""
    rng = np.random.default_rng([seed, 3, speaker])
    size = rng.uniform(-1, 1)  # low voices go with long vocal tracts
    return Throat(
        pitch=150 * 2 ** (0.5 * size + rng.uniform(-0.12, 0.12)),
        formants=1 + 0.09 * size + rng.uniform(-0.03, 0.03),
        rate=rng.uniform(0.88, 1.14),
        room=rng.uniform(-44, -28),
        colour=rng.uniform(0.0, 0.9),
    )


def speech(
    speaker: int, manner: int, seconds: float, *, stretch: tuple[float, float], seed: int, clip: tuple[int, ...]
) -> np.ndarray:
    """Random syllables in one manner, with neutral ones before and after.

    Args:
        speaker: The speaker's number.
        manner: Index into `MANNERS`.
        seconds: Length of the clip.
        stretch: When the manner begins and ends, s.
        seed: The corpus's seed.
        clip: Numbers that identify the clip.

    Returns:
        (n,) float32 mono at `RATE`, n = seconds * RATE; each part begins with silence (room noise), the loudness is
        random.
    """
    own = throat(speaker, seed)
    rng = np.random.default_rng([seed, 4, *clip])
    n, start, end = (round(RATE * at) for at in (seconds, *stretch))
    parts = ((start, NEUTRAL), (end - start, MANNER[manner]), (n - end, NEUTRAL))
    spoken = np.concatenate([_say(length, own, how, rng) for length, how in parts])
    room = lfilter([1.0], [1.0, -own.colour], rng.standard_normal(n))
    spoken += 10 ** (own.room / 20) * room / room.std()
    loudness = 10 ** (rng.uniform(-26, -19) / 20)
    loudness = min(loudness, 0.9 / np.abs(spoken).max())
    return (loudness * spoken).astype(np.float32)


def _say(n: int, own: Throat, how: Manner, rng: np.random.Generator) -> np.ndarray:
    """Syllables in one manner, (n,) float64 with an RMS of 1 where they are loud; silence if n is too short."""
    if n < SHORTEST * RATE:
        return np.zeros(n)
    envelope, vowels = _syllables(n, own, how, rng)
    source = (1 - how.breath) * _pulses(n, own, how, rng) + how.breath * 0.5 * rng.standard_normal(n)
    voiced = np.zeros(n)
    for name, weight in vowels.items():
        # Each filter runs over the whole source and is cross-faded at its vowel, which avoids clicks.
        scale = own.formants * how.formants * rng.uniform(0.98, 1.02)
        voiced += weight * _resonate(source, scale * np.array(VOWELS[name]))
    spoken = _tilted(voiced, how.tilt) * envelope
    return spoken / np.sqrt(np.mean(spoken[envelope > 0.1] ** 2))


def _syllables(n: int, own: Throat, how: Manner, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Loudness envelope (n,) 0..1, and vowel -> weight (n,); the weights sum to 1."""
    envelope = np.zeros(n)
    at = int(RATE * rng.uniform(0.04, 0.12))
    names = list(VOWELS)
    spoken = np.full(n, rng.integers(len(names)))
    while at < n - 0.06 * RATE:
        length = int(RATE * how.syllable * rng.uniform(0.85, 1.15) / own.rate)
        pause = int(RATE * how.pause * rng.uniform(0.85, 1.15) / own.rate)
        spoken[at:] = rng.integers(len(names))
        envelope[at : at + length] = rng.uniform(0.75, 1.0)
        at += length + pause
    envelope[-int(0.04 * RATE) :] = 0
    envelope = _smooth(envelope, 0.006)
    weights = {name: _smooth((spoken == i).astype(float), 0.012) for i, name in enumerate(names) if (spoken == i).any()}
    return envelope, weights


def _smooth(x: np.ndarray, seconds: float) -> np.ndarray:
    """Blur in time by a triangle of standard deviation `seconds`: two box filters."""
    width = round(np.sqrt(6) * seconds * RATE)
    return uniform_filter1d(uniform_filter1d(x, width, mode="nearest"), width, mode="nearest")


def _pulses(n: int, own: Throat, how: Manner, rng: np.random.Generator) -> np.ndarray:
    """The derivative of Rosenberg's glottal flow along a pitch contour with jitter and shimmer: (n,)."""
    t = np.arange(n) / RATE
    contour = how.rise * t / t[-1] + how.vibrato * np.sin(2 * np.pi * 6 * t + rng.uniform(0, 2 * np.pi))
    jitter = _smooth(rng.standard_normal(n), 0.005)
    pitch = own.pitch * how.pitch * 2 ** (contour + rng.uniform(-0.06, 0.06) + 0.012 * jitter / jitter.std())
    cycles = np.cumsum(pitch) / RATE
    phase = cycles % 1
    opening, closing = 0.4, 0.16
    flow = np.where(
        phase < opening,
        0.5 * (1 - np.cos(np.pi * phase / opening)),
        np.where(phase < opening + closing, np.cos(np.pi / 2 * (phase - opening) / closing), 0.0),
    )
    shimmer = 1 + 0.05 * rng.standard_normal(int(cycles[-1]) + 1)[cycles.astype(int)]
    pulses = np.diff(flow * shimmer, prepend=0.0)
    return pulses / pulses.std()


def _resonate(source: np.ndarray, formants: np.ndarray) -> np.ndarray:
    """A cascade of second-order resonators of gain 1 at 0 Hz (Klatt 1980, equation 2)."""
    for formant, width in zip(formants, BANDWIDTHS, strict=True):
        c = -np.exp(-2 * np.pi * width / RATE)
        b = 2 * np.exp(-np.pi * width / RATE) * np.cos(2 * np.pi * formant / RATE)
        source = lfilter([1 - b - c], [1, -b, -c], source)
    return source


def _tilted(sound: np.ndarray, tilt: float) -> np.ndarray:
    """Darken (tilt > 0) or brighten (tilt < 0) by one pole or one zero."""
    return lfilter([1.0], [1.0, -tilt], sound) if tilt > 0 else lfilter([1.0, tilt], [1.0], sound)
