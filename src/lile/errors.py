"""The one error that a user can mend."""

from __future__ import annotations


class InputError(ValueError):
    """Something a user gave cannot be used: the message says what, where, what was found and how to mend it.

    Scripts and the command line print it as one line, without a traceback.
    """
