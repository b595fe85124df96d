"""What a stage's result depends on: the version of its code, its settings and its clips, joined into a key.

Snakemake sees the same things as parameters of the rules. Raise a version when the stage's figures change, be it by
its own room or by the media that it reads.
"""

import hashlib
import json

VERSIONS = {"faces": 2, "networks": 1, "spectrogram": 1}


def digest(*parts: object) -> str:
    """A short name (16 hexadecimal digits) for some plain values; equal values, equal name."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def blocks(clips: int, size: int) -> list[slice]:
    """Rows of each shard: fixed blocks of the manifest, so that clips added at its end leave the full blocks alone."""
    return [slice(start, min(start + size, clips)) for start in range(0, clips, size)]


def shard_name(index: int) -> str:
    """File name of a shard without its suffix, in the order of the blocks."""
    return f"{index:05d}"
