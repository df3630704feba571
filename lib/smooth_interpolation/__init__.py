"""Deep double descent via smooth interpolation: train, measure how sharp the loss is around points, draw, judge.

This is the menu, which README and the book's pages use; each name is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

_MENU = {
    "ConvNet": "train.models",
    "ResNet18": "train.models",
    "examine": "your_network",
    "find": "config",
    "history_table": "runs.tables",
    "jacobian_norm": "measure.sharpness",
    "judge": "claims",
    "points_table": "runs.weights",
    "records": "runs.records",
    "run": "runs.single",
    "shift_paths": "measure.paths",
    "svd_paths": "measure.paths",
    "tangent_hessian_norm": "measure.sharpness",
    "volume_metrics": "measure.volumes",
    "volumes_table": "runs.tables",
}
__all__ = ["figures", *_MENU]


def __getattr__(name: str) -> Any:
    if name == "figures":
        return importlib.import_module(".figures", __name__)
    if name not in _MENU:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MENU[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
