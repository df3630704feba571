"""Every setting of an experiment, where its value at `paper` scale comes from, and how the authors' public code compares.

What is known of both stands in `book/settings.yaml`. The comparison with the authors' code was made apart from this code, which
was written from the paper alone.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
import yaml

from .. import config, locations
from ..config import Experiment

OURS = "ours"
OWN_STD = {"cifar10": "0.2470, 0.2435, 0.2616: the pixels' own standard deviation"}
NOT_MEASURED = "not measured"
PAPER = ("convnet-noise20", "convnet-cifar100", "resnet18-noise20", "convnet-asymmetric")
PLACES = ("experiment", "scale")  # fields that say which experiment it is, and set nothing


@functools.cache
def known() -> Any:
    """The content of `book/settings.yaml`."""
    return yaml.safe_load((locations.repository() / "book" / "settings.yaml").read_text())


def fields() -> list[str]:
    """The fields of a params file: those of data and training first, then those of measuring."""
    measuring = config.Measurement.model_fields
    return sorted((name for name in config.FIELDS if name not in PLACES), key=lambda name: name in measuring)


def meanings() -> pd.DataFrame:
    """What an origin means."""
    return pd.DataFrame({"meaning": known()["meanings"]})


def origin(field: str, value: Any) -> tuple[str, str]:
    """What a field's value rests on, and a note; 'ours' for a value of which nothing is known."""
    of = known()["origins"].get(field, {})
    where, note = of.get(shown(field, value), of.get("any", (OURS, "")))
    return where, note


def origins() -> pd.DataFrame:
    """The values at `paper` scale: a row per field and origin, with a note."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for field in fields():
        for settings in (config.find("paper", name) for name in PAPER):
            if is_used(field, settings):
                value = getattr(settings, field)
                said = rows.setdefault((field, *origin(field, value)), [])
                if shown(field, value) not in said:
                    said.append(shown(field, value))
    table = [
        {"setting": field, "value": " or ".join(said), "from": where, "note": note}
        for (field, where, note), said in rows.items()
    ]
    return pd.DataFrame(table).set_index("setting")


def built_in() -> pd.DataFrame:
    """What no field sets, with its origin."""
    return pd.DataFrame(known()["built_in"], index=["value", "from"]).T


def agreements() -> pd.DataFrame:
    """What this code and the authors' computed alike on the same weights and points."""
    return pd.DataFrame({"found": known()["agreements"]})


def differences(tried: Collection[str] = (), scale: str = "paper") -> pd.DataFrame:
    """Where the authors' code differs from the ConvNets with noisy labels, and what was measured of its effect.

    Args:
        tried: fields whose effect on the training error is in the table of the trial.
        scale: of the params file.
    """
    settings = config.find(scale, "convnet-noise20")
    rows = []
    for one in known()["differences"]:
        what, there, here, effect = one["what"], one["there"], one.get("here"), one["effect"]
        if field := one.get("field"):
            if field in tried:
                effect = "the trial below" if effect == NOT_MEASURED else f"{effect}; training error: the trial below"
            value = getattr(settings, field)
            here = OWN_STD.get(settings.dataset) if field == "input_std" and value is None else shown(field, value)
            if here == one["value"]:
                here, effect = "the same", "none"
        rows.append((what, there, here, effect))
    columns = ["", "authors' code", f"here, at {scale} scale", "effect on the curves"]
    return pd.DataFrame(rows, columns=columns).set_index("")


def table(experiment: str, scales: Sequence[str] = config.SCALES) -> pd.DataFrame:
    """A row per field of an experiment with its value at every scale that has the experiment; '-' if unused there."""
    found = {s: config.find(s, experiment) for s in scales if locations.params_file(s, experiment).is_file()}
    return pd.DataFrame(
        {
            scale: [shown(field, getattr(e, field)) if is_used(field, e) else "-" for field in fields()]
            for scale, e in found.items()
        },
        index=fields(),
    )


def common(experiments: Sequence[str] = PAPER) -> pd.DataFrame:
    """The fields on which all experiments that use them agree, at every scale."""
    tables = [table(name) for name in experiments]
    rows = {}
    for field in fields():
        values = [{t.loc[field, s] for t in tables if s in t} - {"-"} for s in config.SCALES]
        if all(len(found) <= 1 for found in values):
            rows[field] = [next(iter(found), "-") for found in values]
    return pd.DataFrame(rows, index=config.SCALES).T


def differing(experiments: Sequence[str] = PAPER) -> pd.DataFrame:
    """The fields that differ between experiments or scales: a row per field, a column per experiment, the scales named where they differ."""
    shared, columns = common(experiments).index, {}
    for name in experiments:
        values = table(name).drop(index=shared)
        columns[name] = [
            "; ".join(
                f"{value} ({', '.join(same.index)})" if row.nunique() > 1 else str(value)
                for value, same in row.groupby(row, sort=False)
            )
            for _, row in values.iterrows()
        ]
    return pd.DataFrame(columns, index=[field for field in fields() if field not in shared])


def is_used(field: str, settings: Experiment) -> bool:
    """Whether an experiment with these settings looks at a field."""
    if field == "momentum":
        return settings.optimizer == "sgd"
    return field != "warmup_learning_rate" or settings.warmup_epochs > 0


def shown(field: str, value: Any) -> str:
    """A field's value as a reader sees it."""
    if value is None:
        return "own" if field.startswith("input_") else "all"
    if field == "widths" and isinstance(value, tuple):
        whole = value == tuple(range(value[0], value[-1] + 1))
        return f"{value[0]}-{value[-1]}, all" if whole else f"{len(value)} of {value[0]}-{value[-1]}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
