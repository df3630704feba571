"""The command line."""

import time

# When this process began; what is imported next takes seconds on a busy machine.
BEGAN = time.monotonic() - time.process_time()

from .commands import app, main  # noqa: E402

__all__ = ["app", "main"]
