"""Limits for reading one clip: damaged and hostile files of a few KB can ask for gigabytes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a clip.

    Attributes:
        pixels: Most pixels of a frame, width x height.
        silence_s: Most silence that may fill all gaps in the audio, s.
    """

    pixels: int = 40_000_000
    silence_s: float = 600.0


DEFAULT_LIMITS = Limits()
