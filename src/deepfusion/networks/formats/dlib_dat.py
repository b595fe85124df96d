"""Reader of dlib's serialised files (`.dat`), in numbers only: nothing in such a file is ever executed.

Integers are one control byte (low nibble: how many bytes follow; 0x80: negative) and little-endian bytes;
a double is an integer mantissa and an integer exponent; a string is its length and its bytes; a tensor is a
format version, four dimensions and raw little-endian float32 values (dlib's `serialize.h`, `float_details.h`
and the `tensor` header).
"""

import math
from pathlib import Path

import numpy as np

from deepfusion.errors import UserError


class DatReader:
    """A dlib file with a reading position."""

    def __init__(self, path: Path):
        self.path = path
        self.data = path.read_bytes()
        self.position = 0

    def skip_to(self, name: str) -> None:
        """Skip past the next string `name`: every layer of a dlib network begins with its kind as a string.

        Raises:
            UserError: there is none before the end of the file.
        """
        tag = bytes([1, len(name)]) + name.encode()
        found = self.data.find(tag, self.position)
        if found < 0:
            raise UserError(
                f"{self.path}: no layer '{name}' after byte {self.position}: "
                "the file is cut off or holds another network"
            )
        self.position = found + len(tag)

    def integer(self) -> int:
        """Read an integer."""
        (control,) = self._take(1)
        value = int.from_bytes(self._take(control & 0x0F), "little")
        return -value if control & 0x80 else value

    def double(self) -> float:
        """Read a double."""
        mantissa = self.integer()
        return math.ldexp(mantissa, self.integer())

    def tensor(self) -> np.ndarray:
        """Read a tensor: (samples, k, rows, columns) float32.

        Raises:
            UserError: the file ends early, or the bytes are not a tensor.
        """
        version, *shape = (self.integer() for _ in range(5))
        if version != 2 or min(shape) < 0:
            raise UserError(f"{self.path}: no tensor before byte {self.position}: the file is damaged")
        return np.frombuffer(self._take(4 * math.prod(shape)), "<f4").reshape(shape).copy()  # torch wants it writable

    def _take(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > len(self.data):
            raise UserError(
                f"{self.path}: the file is cut off: it ends at byte {len(self.data)}, {self.position} needed"
            )
        return self.data[start : self.position]
