"""Verdicts as text: tables of claims for the book's pages and the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from . import claims, config, epoch_claims, locations, registry, store, trends

PAGES = {"Figure 11": "appendix-resnet", "Figure 13": "appendix-resnet"}  # of a figure, where it is not named after it
NOTHING = "not measured"
LEGEND = (
    "In italics: the effect, in brackets its range over bootstrap samples of the seeds, and what it measures. A verdict stands "
    "only if those samples agree on it; [the page of claims](claims.html) has all criteria."
)


def overview(root: Path | None = None) -> pd.DataFrame:
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
    """The claims made with a figure, with a verdict, a sentence, the effect and its spread, as Markdown."""
    lines = ["| The paper | Verdict | What was found |", "|---|---|---|"]
    for row in of_figure(table, figure).itertuples():
        value = f"<br>*{effect(row)} ({spread(row)}): {row.measure}*" if effect(row) else ""
        lines.append(f"| {row.statement} | **{row.verdict}** | {row.sentence}{value} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def by_scale(tables: Mapping[str, pd.DataFrame], figure: str) -> str:
    """The claims made with a figure, and the verdict at each of these scales, as Markdown."""
    lines = ["| The paper | " + " | ".join(f"`{scale}`" for scale in tables) + " |", "|---" * (len(tables) + 1) + "|"]
    for name, row in of_figure(next(iter(tables.values())), figure).iterrows() if tables else ():
        lines.append(f"| {row.statement} | " + " | ".join(t.loc[name].verdict for t in tables.values()) + " |")
    return "\n".join(lines) if tables else ""


def count(table: pd.DataFrame) -> str:
    """Such as: **15 supported, 3 contradicted and 1 not measured** of 19 claims."""
    found = table.verdict.value_counts()
    parts = [f"{found[state]} {state}" for state in claims.STATES if state in found]
    words = " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
    return f"**{words}** of {len(table)} claims"


def counts(table: pd.DataFrame) -> str:
    """How many claims an overview finds in each state, a row per scale, as Markdown."""
    lines = ["| Scale | " + " | ".join(claims.STATES) + " |", "|---" * (len(claims.STATES) + 1) + "|"]
    for scale in measured_scales(table):
        found = table[table.scale == scale].verdict.value_counts()
        lines.append(f"| `{scale}` | " + " | ".join(str(found.get(state, 0)) for state in claims.STATES) + " |")
    return "\n".join(lines)


def matrix(table: pd.DataFrame, figure: str) -> str:
    """An overview's claims made with a figure, or with none ('Abstract'), against scales: a Markdown table per experiment."""
    scales = measured_scales(table)
    part = table[table.figures.map(len) == 0] if figure == "Abstract" else of_figure(table, figure)
    lines = []
    for experiment in claims.EXPERIMENTS:
        of_one = part[part.experiment == experiment]
        if of_one.empty:
            continue
        lines += ["", f"| `{experiment}` | " + " | ".join(f"`{scale}`" for scale in scales) + " |"]
        lines += ["|---" * (len(scales) + 1) + "|"]
        for _, rows in of_one.groupby(level=0, sort=False):
            by_scale = {row.scale: row for row in rows.itertuples()}
            measures = [row.measure for row in by_scale.values() if row.measure]
            what = rows.statement.iloc[0] + (f"<br>*{measures[0]}*" if measures else "")
            lines.append(f"| {what} | " + " | ".join(_cell(by_scale.get(scale)) for scale in scales) + " |")
    return "\n".join(lines)


def _cell(row) -> str:
    if row is None:
        return "–"
    value = f"<br>{effect(row)} ({spread(row)})" if effect(row) else ""
    return f"**{row.verdict}**{value}" if row.verdict != NOTHING else NOTHING.replace(" ", "&nbsp;")


def not_supported(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of an overview that are contradicted or inconclusive."""
    return table[table.verdict.isin(["contradicted", "inconclusive"])]


def explained(table: pd.DataFrame, names: Iterable[str]) -> str:
    """What these claims' verdicts rest on where they are not supported, as a Markdown list: an entry per claim and experiment."""
    lines = []
    for (figure, experiment), part in groups(not_supported(table[table.index.isin(list(names))])):
        page = page_of(figure)
        place = f"[{figure}]({page}.html)" if page else figure
        for _, rows in part.groupby(level=0, sort=False):
            found = " ".join(f"At `{row.scale}` **{row.verdict}**: {row.sentence}" for row in rows.itertuples())
            lines.append(f"- *{rows.statement.iloc[0]}* ({place}, `{experiment}`) {found}")
    return "\n".join(lines) or "None."


def criteria() -> str:
    """The thresholds of judgement, as Markdown."""
    rows = [
        ("A loss or sharpness rises or falls", f"by a factor of {trends.STEP:g} or more"),
        ("... markedly", f"by a factor of {trends.MARKED:g} or more"),
        ("An error or accuracy rises or falls", f"by {trends.POINTS:g} percentage point or more"),
        ("A curve has a peak", f"it rises to it from an earlier value and falls from it to a later one; a loss or sharpness is there at least {trends.VANISHED:g} of its largest value"),
        ("A peak is at the threshold", f"within a factor of {trends.NEAR:g} in width, or at the next measured width"),
        ("A peak of an error is at or just below it", "the same, and not above it; it must also end lower by as much as it must rise"),
        ("A trend that is said of many curves", f"supported if {trends.MOST:.0%} of them show it, contradicted below {trends.FEW:.0%}"),
        ("It grows with width", f"order (Goodman and Kruskal's gamma) {trends.MONOTONE:g} or more, contradicted below {trends.NOT_MONOTONE:g}"),
        ("It tends to 0", f"at the widest network at most {trends.VANISHED:g} of its largest value, contradicted above {trends.REMAINS:g}"),
        ("A loss or sharpness does not decrease over the epochs", f"at the last it is at least 1/{trends.STEP:g} of what it was at the epoch of the lowest test error"),
        ("It falls beyond the threshold", f"the test error of the widest network is lower by {trends.POINTS:g} percentage point or more, contradicted if it is not lower"),
        ("Wide networks are smooth", f"from its largest value near the threshold to the widest network a curve falls by a factor of {trends.MARKED:g} or more"),
        ("The largest volume is sharper", f"than the next smaller one: both norms by a factor of {trends.MARKED:g} or more, and accuracy lower by {trends.POINTS:g} percentage point or more; contradicted if a norm is not larger by a factor of {trends.STEP:g}, or accuracy not lower"),
        ("The label is predicted over a volume", f"over {trends.MOST:.0%} of it or more, contradicted below {trends.FEW:.0%}"),
        ("Small networks fit hardly any noisy points", f"the narrowest predicts less than {trends.HARDLY:.0%} of their labels and less than half the share that it predicts of clean ones, contradicted if no smaller a share"),
        ("It is so over the epochs, on one side of the threshold", f"at least {epoch_claims.MIN_NETWORKS} networks there to judge by, with at least {epoch_claims.MIN_EPOCHS} evaluated epochs"),
        ("They go together", f"rank correlation of {trends.STRONG:g} or more and an interval above 0, contradicted if it lies below {trends.STRONG:g}"),
        ("The seeds agree", f"{registry.AGREE:.1%} of their bootstrap samples give the verdict"),
        ("A claim is measured", f"at {registry.MIN_WIDTHS} widths or more with a common seed"),
    ]  # fmt: skip
    return "\n".join(["| What is said | What is asked |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])


def page_of(figure: str) -> str | None:
    """The page of the book that shows a figure; None if there is none."""
    page = PAGES.get(figure) or "fig" + figure.removeprefix("Figure ").rstrip("abcd")
    return page if (locations.repository() / "book" / f"{page}.md").is_file() else None
