"""The kinds of expected failures."""


class UserError(Exception):
    """A usage error: one line that says what is wrong, where, and how to mend it.

    The command line prints the line without a traceback and exits with status 2.
    """


class MachineError(Exception):
    """A fault of the machine: full disk, read-only folder, file in use or damaged; one line, as above.

    The command line prints the line without a traceback and exits with status 1.
    """


class ClipError(Exception):
    """One clip cannot be processed; the message is recorded with the clip and the run continues."""


class TransientError(ClipError):
    """The machine failed while it read a clip: killed process, disk or network error, no permission.

    Recorded like any `ClipError`, but the result does not count as up to date: another run may succeed.
    """
