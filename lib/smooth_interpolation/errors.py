"""Errors that a user can act on: one clear sentence, no traceback."""

from __future__ import annotations


class UserError(Exception):
    """What is wrong and what to do about it, in one sentence.

    The command line prints the sentence and exits with status 1; a notebook shows it without a stack.
    """

    def _render_traceback_(self) -> list[str]:
        # IPython calls this instead of formatting the stack.
        return [f"{type(self).__name__}: {self}"]


class ConfigError(UserError):
    """A field of a params file, a notebook parameter or an option has a wrong name or value."""


class DataError(UserError):
    """Images or labels are missing, damaged or of the wrong kind."""


class RecordError(UserError):
    """A record on disk is missing, damaged or was made from another configuration or data."""
