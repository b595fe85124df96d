"""Ctrl-C: the process unwinds, so that no partial file is left."""

import signal
from types import FrameType

EXIT_INTERRUPTED = 130


class Interrupted(BaseException):
    """Ctrl-C. The parser would catch KeyboardInterrupt and end with status 1."""

    raised = False  # h5py may replace it by an error of its own


def unwind(number: int, frame: FrameType | None) -> None:
    """Raise `Interrupted`; a moment later if HDF5 is calling `store.commit.Disk`, as it cannot propagate an error."""
    while frame is not None:
        if frame.f_code.co_qualname.startswith("Disk."):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            return
        frame = frame.f_back
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends the process at once
    Interrupted.raised = True
    raise Interrupted
