"""Settings of experiments and runs, and the params files that hold them."""

from .fields import build, unknown_name
from .params_file import find, load
from .settings import ADDED_DEFAULTS, CIFAR, FIELDS, SCALES, SCHEMA, Experiment, Measurement, Run, Settings, completed

__all__ = [
    "ADDED_DEFAULTS",
    "CIFAR",
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
    "unknown_name",
]
