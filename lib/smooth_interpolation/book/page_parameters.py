"""What papermill gave a page. It ignores what a page does not have, which would look as if it had been used."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError

OWN = "PAPERMILL_"  # --inject-paths and its kin: no parameters of ours


def given(namespace: Mapping[str, Any]) -> list[str]:
    """The names that papermill put into a cell of its own, headed '# Parameters', without those that are about papermill."""
    names = []
    for cell in namespace.get("In", []):
        if cell.lstrip().startswith("# Parameters"):
            for statement in ast.parse(cell).body:
                names += [target.id for target in getattr(statement, "targets", []) if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith(OWN)]


def none(namespace: Mapping[str, Any]) -> None:
    """Of a page without parameters, `none(globals())`: refuse what was given.

    Raises:
        ConfigError: naming it, and pages that have parameters.
    """
    if names := given(namespace):
        raise ConfigError(
            f"This page has no parameters, so {' and '.join(names)} cannot be set: the pages of figures (fig1 to fig7, "
            "appendix-resnet), the study and those beyond the paper take a scale."
        )
