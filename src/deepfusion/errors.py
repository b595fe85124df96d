"""The two ways in which input can be bad."""


class UserError(Exception):
    """A usage error: one line that says what is wrong, where, and how to mend it.

    The command line prints the line without a traceback and exits with status 2.
    """


class ClipError(Exception):
    """One clip cannot be processed; the message is recorded with the clip and the others go on."""
