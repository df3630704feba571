"""Settings of experiments and runs, and the params files that hold them."""

from .settings import (
    ADDED_DEFAULTS,
    FIELDS,
    SCALES,
    SCHEMA,
    Experiment,
    Measurement,
    Run,
    Settings,
    build,
    completed,
    find,
    load,
    read,
    unknown_name,
)

__all__ = [
    "ADDED_DEFAULTS",
    "FIELDS",
    "SCALES",
    "SCHEMA",
    "Experiment",
    "Measurement",
    "Run",
    "Settings",
    "build",
    "completed",
    "find",
    "load",
    "read",
    "unknown_name",
]
