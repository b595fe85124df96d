"""Windows of a spectrogram in samples, and the rules that its settings keep; free of imports that take time."""

import math

from deepfusion.errors import UserError


def lengths(rate: int, window_ms: float, shift_ms: float) -> tuple[int, int]:
    """Window and shift in samples; both must be whole, or the times would drift.

    Raises:
        UserError: One of them is not.
    """
    whole = []
    for name, ms in (("window_ms", window_ms), ("shift_ms", shift_ms)):
        exact = ms * rate / 1000
        if not (1 <= exact < math.inf and abs(exact - round(exact)) < 1e-6):
            raise UserError(f"spectrogram: {name} = {ms} is not a whole number of samples at {rate} Hz")
        whole.append(round(exact))
    return whole[0], whole[1]


def check(*, rate: int, window_ms: float, shift_ms: float, dft: int, bins: int, floor_db: float) -> None:
    """Check that the settings of a spectrogram fit each other.

    Raises:
        UserError: What does not fit, and what to change.
    """
    window, _ = lengths(rate, window_ms, shift_ms)
    if window > dft:
        raise UserError(f"spectrogram: a window of {window} samples does not fit a DFT of {dft} points; raise dft")
    if not 1 <= bins <= dft // 2 + 1:
        raise UserError(f"spectrogram: bins must be from 1 to dft // 2 + 1 = {dft // 2 + 1}, not {bins}")
    if not math.isfinite(floor_db):
        raise UserError(f"spectrogram: floor_db must be a finite level in dB, not {floor_db}")
