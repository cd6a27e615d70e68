"""The base class of errors that are no fault of the code."""

from __future__ import annotations


class Mendable(RuntimeError):
    """Something went wrong that the user can mend; the message says how. It needs no traceback."""
