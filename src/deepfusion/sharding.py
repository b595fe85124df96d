"""Shards: fixed blocks of the manifest, the units of computing and of commit."""

# This many shards have the same number of clips; each following group has twice as many per shard, up to LARGEST times
# the first. A corpus of 100,000 clips then has about 380 shards instead of 2,500.
SHARDS_OF_A_SIZE = 32
LARGEST = 8


def blocks(clips: int, size: int) -> list[slice]:
    """Rows of each shard: fixed blocks of the manifest, so that clips added at its end leave the full blocks alone.

    The size of a block depends on its position, never on the number of clips, so that existing blocks do not change.

    Args:
        clips: Rows of the manifest.
        size: Clips of each of the first shards.
    """
    parts: list[slice] = []
    start = 0
    while start < clips:
        length = size * min(2 ** (len(parts) // SHARDS_OF_A_SIZE), LARGEST)
        parts.append(slice(start, min(start + length, clips)))
        start += length
    return parts


def shard_name(index: int) -> str:
    """File name of a shard without its suffix, in the order of the blocks."""
    return f"{index:05d}"
