"""Verdicts as text: tables of claims for the book's pages and the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from . import claims, config, locations, store

PAGES = {"Figure 11": "fig6", "Figure 13": "fig6"}  # of a figure, where it is not named after it
NOTHING = "not measured"


def overview(root=None) -> pd.DataFrame:
    """Every claim on every experiment that it is about, at every scale: `claims.judge` with a column `scale`.

    A scale that has no params file of an experiment has no rows of it.
    """
    tables = []
    for scale in config.SCALES:
        for experiment in claims.EXPERIMENTS:
            if locations.params_file(scale, experiment).is_file():
                records = store.read_all(config.find(scale, experiment).runs(), root)
                tables.append(claims.judge(records, experiment).assign(scale=scale))
    return pd.concat(tables) if tables else claims.judge([]).iloc[:0].assign(scale="")


def measured_scales(table: pd.DataFrame) -> list[str]:
    """The scales of an overview at which anything was measured."""
    found = set(table[table.verdict != NOTHING].scale)
    return [scale for scale in config.SCALES if scale in found]


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


def effect(row) -> str:
    return "" if np.isnan(row.effect) else number(row.effect)


def spread(row) -> str:
    """The interval of an effect and what it is over, or that it is unknown."""
    if row.verdict == NOTHING or np.isnan(row.effect):
        return ""
    if np.isnan(row.low):
        return "one seed"
    over = "" if row.over == "seeds" else f" over {row.over}"
    return f"{number(row.low)} to {number(row.high)}{over}"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 100 else f"{value:.2g}"


def as_table(table: pd.DataFrame, figure: str) -> str:
    """The claims made with a figure, with verdict, effect, its spread and a sentence, as Markdown."""
    lines = ["| The paper | Verdict | Effect | What was found |", "|---|---|---|---|"]
    for row in of_figure(table, figure).itertuples():
        value = f"{effect(row)} ({spread(row)}): {row.measure}" if effect(row) else ""
        lines.append(f"| {row.statement} | **{row.verdict}** | {value} | {row.sentence} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def by_scale(tables: Mapping[str, pd.DataFrame], figure: str) -> str:
    """The claims made with a figure, and the verdict at each of these scales, as Markdown."""
    lines = ["| The paper | " + " | ".join(f"`{scale}`" for scale in tables) + " |", "|---" * (len(tables) + 1) + "|"]
    for name, row in of_figure(next(iter(tables.values())), figure).iterrows() if tables else ():
        lines.append(f"| {row.statement} | " + " | ".join(t.loc[name].verdict for t in tables.values()) + " |")
    return "\n".join(lines) if tables else ""


def count(table: pd.DataFrame) -> str:
    """Such as: of 20 claims **15 are supported**, 3 contradicted, 1 inconclusive and 1 not measured."""
    counts = table.verdict.value_counts()
    found = [f"{counts[state]} {state}" for state in claims.STATES if state in counts]
    words = ", ".join(found[:-1]) + " and " + found[-1] if len(found) > 1 else "".join(found)
    return f"of {len(table)} claims **{words}**"


def counts(table: pd.DataFrame) -> str:
    """How many claims an overview finds in each state, a row per scale, as Markdown."""
    lines = ["| Scale | " + " | ".join(claims.STATES) + " |", "|---" * (len(claims.STATES) + 1) + "|"]
    for scale in measured_scales(table):
        found = table[table.scale == scale].verdict.value_counts()
        lines.append(f"| `{scale}` | " + " | ".join(str(found.get(state, 0)) for state in claims.STATES) + " |")
    return "\n".join(lines)


def page_of(figure: str) -> str | None:
    """The page of the book that shows a figure; None if there is none."""
    page = PAGES.get(figure) or "fig" + figure.removeprefix("Figure ").rstrip("abcd")
    return page if (locations.repository() / "book" / f"{page}.md").is_file() else None
