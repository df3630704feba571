"""Verdicts kept, and as text: tables of claims for the book's pages and the command line."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd

from .. import claims, config, files, locations
from ..runs import record_format, store
from . import trends
from .words import number

PAGES = {"Figure 11": "appendix-resnet", "Figure 13": "appendix-resnet"}  # of a figure, where it is not named after it
NOTHING = "not measured"
LEGEND = (
    "Verdicts on what the paper says. In italics the effect, its interval over seeds, moments and test images, and what "
    "it measures. A verdict stands only if seeds and moments agree on it; [the criteria](criteria.html) are the same at every scale."
)
TRIAL = "Scale `{scale}` is for trying things out: what is said of it here tries the criteria, and is no verdict on the paper."
OWN = "Scale `{scale}` is none of the book's: what is said of it here is no verdict on the paper."


LIMIT = 10 << 20  # bytes of a file of kept verdicts
SHORT = 5  # records that are judged as fast as a file is read


def overview(root: Path | None = None) -> pd.DataFrame:
    """Every claim on every experiment that it is about, at every scale that counts: `claims.judge` with a column `scale`.

    A scale that has no params file of an experiment has no rows of it; `demo` has none at all, see `claims.SCALES`.
    """
    tables = []
    for scale in claims.SCALES:
        for experiment in claims.EXPERIMENTS:
            if locations.params_file(scale, experiment).is_file():
                plan = config.find(scale, experiment)
                tables.append(judged(store.read_all(plan.runs(), root), experiment, plan).assign(scale=scale))
    return pd.concat(tables) if tables else claims.judge([]).iloc[:0].assign(scale="")


def judged(records: Iterable[record_format.Record], experiment: str, plan: config.Experiment) -> pd.DataFrame:
    """`claims.judge`, from the cache if the same records were judged by the same code."""
    records = list(records)
    if len(records) < SHORT:
        return claims.judge(records, experiment, plan)
    asked = [code(), experiment, plan.model_dump(mode="json"), records]
    path = locations.cache() / "verdicts" / f"{hashlib.sha256(orjson.dumps(asked)).hexdigest()}.json"
    with contextlib.suppress(
        OSError, ValueError, KeyError, TypeError, AttributeError
    ):  # the last of one that is damaged
        return _table(orjson.loads(files.read_bytes(path, LIMIT)))
    table = claims.judge(records, experiment, plan)
    content = orjson.dumps(table.reset_index().to_dict("list"))
    with contextlib.suppress(OSError):
        files.write_atomically(path, lambda file: file.write(content), durable=False)
    return table


def _table(columns: dict[str, list[Any]]) -> pd.DataFrame:
    table = pd.DataFrame(columns).set_index("claim")
    table["figures"] = table["figures"].map(tuple)
    numbers = ["effect", "low", "high"]
    return table.astype(dict.fromkeys(numbers, float))


@functools.cache
def code() -> str:
    """Of this package and of what it computes with."""
    found = hashlib.sha256()
    for path in sorted(Path(claims.__file__).parents[1].rglob("*.py")):
        found.update(path.read_bytes())
    for name in ("numpy", "pandas"):
        found.update(importlib.metadata.version(name).encode())
    return found.hexdigest()


def measured_scales(table: pd.DataFrame) -> list[str]:
    """The scales of an overview at which anything was measured."""
    found = set(table[table.verdict != NOTHING].scale)
    return [scale for scale in claims.SCALES if scale in found]


def trial(scale: str) -> str:
    """That nothing at this scale counts, if it is so."""
    if scale in claims.SCALES:
        return ""
    return (TRIAL if scale in config.SCALES else OWN).format(scale=scale)


def groups(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """The rows of an overview by figure, or 'Abstract', and experiment, in the order of the paper."""
    figures = table.figures.str[0]
    for figure in [*sorted(figures.dropna().unique(), key=claims.figure_order), None]:
        part = table[figures.isna() if figure is None else figures == figure]
        for experiment in claims.EXPERIMENTS:
            rows = part[part.experiment == experiment]
            if len(rows):
                yield (figure or "Abstract", experiment), rows


def of_figure(table: pd.DataFrame, figure: str) -> pd.DataFrame:
    """The rows of claims that the paper makes with a figure; 'Figure 1' has those of Figures 1c and 1d."""
    return table[[any(name.rstrip("abcd") == figure or name == figure for name in names) for names in table.figures]]


def effect(row: Any) -> str:
    return "" if np.isnan(row.effect) else number(row.effect)


def otherwise(row: Any) -> str:
    """What the verdict would be without networks that forgot, if it is another one."""
    return "" if row.kept in (row.verdict, NOTHING) else f" (else {row.kept})"


def spread(row: Any) -> str:
    """The interval of an effect and what it is over, or that it is unknown."""
    if row.verdict == NOTHING or np.isnan(row.effect):
        return ""
    if np.isnan(row.low):
        return "one seed"
    over = "" if row.over == "seeds" else f" over {row.over}"
    return f"{number(row.low)} to {number(row.high)}{over}" + (", one seed" if row.seeds == 1 else "")


def as_table(table: pd.DataFrame, figure: str) -> pd.DataFrame:
    """The claims made with a figure, with a verdict, a sentence, the effect and its spread."""
    rows = []
    for row in of_figure(table, figure).itertuples():
        value = f"\n*{effect(row)} ({spread(row)}): {row.measure}*" if effect(row) else ""
        rows.append((row.statement, f"**{row.verdict}**", row.sentence + value))
    return pd.DataFrame(rows, columns=["The paper", "Verdict", "What was found"]).set_index("The paper")


def by_scale(tables: Mapping[str, pd.DataFrame], figure: str) -> pd.DataFrame:
    """The claims made with a figure, and the verdict at each of these scales."""
    if not tables:
        return pd.DataFrame()
    rows = of_figure(next(iter(tables.values())), figure)
    stated = {
        scale: [one.verdict + otherwise(one) for one in table.loc[rows.index].itertuples()]
        for scale, table in tables.items()
    }
    found = pd.DataFrame({f"`{scale}`": column for scale, column in stated.items()})
    return found.set_axis(rows.statement).rename_axis("The paper")


def count(table: pd.DataFrame) -> str:
    """Such as: **15 supported, 3 contradicted and 1 not measured** of 19 claims."""
    found = table.verdict.value_counts()
    parts = [f"{found[state]} {state}" for state in claims.STATES if state in found]
    words = " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
    return f"**{words}** of {len(table)} claims"


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """How many claims an overview finds in each state, a row per scale."""
    scales = measured_scales(table)
    found = pd.crosstab(table.scale, table.verdict).reindex(index=scales, columns=claims.STATES, fill_value=0)
    return found.rename_axis(index="Scale", columns=None)


def fixed() -> str:
    """Since which commit the thresholds of judgement are what they are: the last one that changed `trends`."""
    # A renaming changes no criterion.
    file = Path(trends.__file__).resolve()
    command = "log", "-1", "--follow", "--diff-filter=AM", "--format=%h of %cs", "--", file.name
    found = locations.git(file.parent, *command)
    return f"commit `{found.split()[0]}` of {found.split()[-1]}" if found else "a commit that is unknown outside of git"


def place_of(criterion: str) -> str:
    """The address of a criterion on its page."""
    return re.sub(r"\W+", "-", criterion.lower()).strip("-")


def page_of(figure: str) -> str | None:
    """The page of the book that shows a figure; None if there is none."""
    page = PAGES.get(figure) or "fig" + figure.removeprefix("Figure ").rstrip("abcd")
    return page if (locations.repository() / "book" / f"{page}.md").is_file() else None
