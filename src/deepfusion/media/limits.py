"""Limits for reading one clip: damaged and hostile files of a few KB can ask for gigabytes."""

import re
from collections.abc import Mapping
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


def named(name: str, value: float) -> str:
    """How the reason of a failed clip names the limit that it exceeded."""
    return f"(limits.{name}: {value} in config.yaml)"


def exceeded_another(reason: str, limits: Mapping[str, float]) -> bool:
    """Whether a clip failed by a limit, as `named` in its reason, that has another value in `limits`."""
    found = re.search(r"\(limits\.(\w+): (\S+) in config\.yaml\)", reason)
    return found is not None and found[2] != str(limits.get(found[1]))
