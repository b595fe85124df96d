"""Single flipped bits in files."""

from pathlib import Path

import h5py


def flip(path, byte, bit=0):
    content = bytearray(Path(path).read_bytes())
    content[byte] ^= 1 << bit
    Path(path).write_bytes(content)


def flip_in(path, dataset, row=0):
    """Flip a bit in the chunk that holds a row."""
    with h5py.File(path) as file:
        data = file[dataset]
        first = row // data.chunks[0] * data.chunks[0]
        _, chunk = data.id.read_direct_chunk((first, *(0 for _ in data.shape[1:])))
    content = Path(path).read_bytes()
    assert content.count(chunk) == 1
    flip(path, content.index(chunk) + len(chunk) // 3)
