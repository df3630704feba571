"""The page of claims: one coloured table of all of them, rows that unfold, and what to doubt, as HTML.

A cell shows the verdict at the largest scale that gives one, as colour, sign and word, with its effect and interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import pandas as pd

from .. import claims
from ..claims import rows, verdicts
from ..claims.words import number
from .captioned import plain

EXPERIMENTS = {  # as the heads of the columns name them
    claims.NOISY: ("Wrong labels", "ConvNets, CIFAR-10"),
    claims.CLEAN: ("Clean labels", "ConvNets, CIFAR-100"),
    claims.RESNET: ("ResNets", "wrong labels, augmented CIFAR-10"),
    claims.ASYMMETRIC: ("Corrupted classes", "ConvNets, CIFAR-100"),
}
SIGNS = {"supported": "✓", "contradicted": "✗", "inconclusive": "?", "not measured": "○"}


def largest(table: pd.DataFrame) -> pd.DataFrame:
    """Of an overview, a row per claim and experiment: that of the largest scale with a verdict, if there is one."""
    rank = table.scale.map(claims.SCALES.index) - len(claims.SCALES) * (table.verdict == verdicts.NOTHING)
    order = table.assign(rank=rank).sort_values("rank", kind="stable")
    return order.groupby([order.index, order.experiment], sort=False).tail(1).drop(columns="rank")


def matrix(table: pd.DataFrame) -> str:
    """The claims of an overview against the experiments."""
    decided = largest(table)
    verdict_on = {(row.Index, row.experiment): row for row in decided.itertuples()}
    scales = {name: _scale(decided[decided.experiment == name]) for name in EXPERIMENTS}
    heads = "".join(
        f'<th scope="col">{title}<br><span class="of">{of}<br>{scales[name]}</span></th>'
        for name, (title, of) in EXPERIMENTS.items()
    )
    return (
        '<div class="claims"><table><caption>The paper\'s claims by experiment, each at the largest scale that decides it, with its '
        "effect and interval.</caption>"
        f'<thead><tr><th scope="col">The paper says</th>{heads}</tr></thead>{"".join(_bodies(table, verdict_on, scales))}</table></div>'
    )


def printed(table: pd.DataFrame) -> str:
    """The same on paper, as Markdown: verdicts with their effects, and nothing that unfolds."""
    verdict_on = {(row.Index, row.experiment): row for row in largest(table).itertuples()}
    heads, parts = ["The paper says", *(title for title, _ in EXPERIMENTS.values())], []
    for title, part in rows.ROWS.items():
        on = [[verdict_on.get((row.claims.get(name), name)) for name in EXPERIMENTS] for row in part]
        said = [[f"{one.verdict} {value(one)}".replace("&nbsp;", " ") if one else "" for one in ones] for ones in on]
        table = pd.DataFrame([[row.text, *cells] for row, cells in zip(part, said, strict=True)], columns=heads)
        parts.append(f"**{title}**\n\n{plain(table)}")
    return "\n\n".join(parts)


def doubts(table: pd.DataFrame) -> str:
    """What to doubt about the verdicts that there are, as a Markdown list."""
    found = rows.doubts_on(table.index, table.verdict)
    return "\n".join(
        f'- <span id="{key}"></span>**{rows.DOUBTS[key].title}.** {rows.DOUBTS[key].text}' for key in found
    )


def _scale(part: pd.DataFrame) -> str:
    measured = [scale for scale in claims.SCALES if scale in set(part.scale[part.verdict != verdicts.NOTHING])]
    return f"<code>{measured[-1]}</code>" if measured else verdicts.NOTHING


def _bodies(table: pd.DataFrame, verdict_on: dict[Any, Any], scales: dict[str, str]) -> Iterator[str]:
    for title, part in rows.ROWS.items():
        yield f'<tbody><tr class="part"><th scope="rowgroup" colspan="{1 + len(EXPERIMENTS)}">{title}</th></tr>'
        for row in part:
            cells = "".join(
                _cell(verdict_on.get((row.claims.get(name), name)), title, scales[name])
                for name, (title, _) in EXPERIMENTS.items()
            )
            yield f'<tr><th scope="row">{_unfolding(row, table)}</th>{cells}</tr>'
        yield "</tbody>"


def _cell(row: Any, experiment: str, scale: str) -> str:
    if row is None:
        return '<td class="none"></td>'
    at = "" if row.verdict == verdicts.NOTHING or row.scale in scale else f" at <code>{row.scale}</code>"
    return (
        f'<td class="{row.verdict.replace(" ", "-")}" data-experiment="{experiment}">{_state(row.verdict)}{at}'
        f'<span class="effect">{value(row)}</span></td>'
    )


def _state(verdict: str) -> str:
    return f'<span aria-hidden="true">{SIGNS[verdict]}</span>&nbsp;{verdict}'


def value(row: Any) -> str:
    """An effect and its interval, a width as such."""
    if row.verdict == verdicts.NOTHING or not verdicts.effect(row):
        return ""
    text = ("w = " if row.measure.startswith("width") else "") + verdicts.effect(row)
    if pd.notna(row.low) and (row.seeds > 1 or row.low < row.high):  # of one seed the spread may be unknown
        text += f" [{number(row.low)}, {number(row.high)}]"
    return text.replace(" ", "&nbsp;").replace("&nbsp;[", " [").replace("-", "−")


def _unfolding(row: rows.Row, table: pd.DataFrame) -> str:
    """The row's text, and folded under it figures, criterion, what the effect is, every scale with its seeds, and doubts."""
    same = table[[row.claims.get(e) == name for name, e in zip(table.index, table.experiment, strict=True)]]
    measure = next(filter(None, same.measure), "").removesuffix(" (norm)").removesuffix(" (loss)")
    figures = dict.fromkeys(figure for names in same.figures for figure in names if verdicts.page_of(figure))
    places = [f'<a href="{verdicts.page_of(figure)}.html">{figure}</a>' for figure in figures]
    criterion = f'<a href="criteria.html#{verdicts.place_of(row.criterion)}">{escape(row.criterion)}</a>'
    lines = [". ".join([*places, criterion, f"Effect: {escape(measure)}" if measure else ""]).removesuffix(". ") + "."]
    for name in row.claims:
        found = same[(same.experiment == name) & (same.verdict != verdicts.NOTHING)]
        title = f"{EXPERIMENTS[name][0]}: " if len(row.claims) > 1 else ""
        if len(found):
            seeds = ", ".join(map(str, found.seeds))
            lines.append(f"{title}{', '.join(map(_at_scale, found.itertuples()))}; seeds: {seeds}.")
    if keys := rows.doubts_on(same.index, same.verdict):
        lines.append("Doubt: " + ", ".join(f'<a href="#{key}">{rows.DOUBTS[key].title}</a>' for key in keys) + ".")
    return f"<details><summary>{row.text}</summary>{''.join(f'<p>{line}</p>' for line in lines)}</details>"


def _at_scale(row: Any) -> str:
    sign = f'<span role="img" aria-label="{row.verdict}">{SIGNS[row.verdict]}</span>'
    return f"<code>{row.scale}</code> {sign} {value(row)}".strip()
