"""The claims at all scales, as a page of the book shows them: one coloured table, rows that unfold, and what to doubt.

A cell shows the verdict at the largest scale that gives one, as colour, sign and word, with its effect and interval.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from html import escape
from typing import Any

import pandas as pd
import yaml
from IPython.display import Markdown

from .. import claims, locations
from ..claims import evidence, moments, second_looks, trends, verdicts
from ..claims.words import number
from ..errors import ConfigError
from ..runs import records
from . import captioned, facts

EXPERIMENTS = {  # as the heads of the columns name them
    claims.NOISY: ("Wrong labels", "ConvNets, CIFAR-10"),
    claims.CLEAN: ("Clean labels", "ConvNets, CIFAR-100"),
    claims.RESNET: ("ResNets", "wrong labels, augmented CIFAR-10"),
    claims.ASYMMETRIC: ("Corrupted classes", "ConvNets, CIFAR-100"),
}
SIGNS = {"supported": "✓", "contradicted": "✗", "inconclusive": "?", "not measured": "○"}


class Board:
    """Every claim at every scale, for a page of the book.

    Args:
        table: as `verdicts.overview`; by default that, without scales at which an experiment is no family yet.
    """

    def __init__(self, table: pd.DataFrame | None = None) -> None:
        self.table = _of_families(verdicts.overview()) if table is None else table

    def counts(self) -> Any:
        """How many claims are in each state, a row per scale."""
        return look(verdicts.counts(self.table), "Verdicts at every scale that is measured.")

    def summary(self) -> Any:
        """How many claims are in each state, each at the largest scale that decides it, as a sentence."""
        found = largest(self.table)
        n = int((found.kept != found.verdict).sum())
        without = f" {n} of them would be another without networks that [forgot](beyond-epochs.html): see *else*."
        return Markdown(f"{verdicts.count(found)}.{without if n else ''}")

    def matrix(self) -> Any:
        """All claims against the experiments, coloured by their verdicts; on a screen a row unfolds."""
        return captioned.Rich(matrix(self.table), printed(self.table))

    def doubts(self) -> Any:
        """What to doubt about these verdicts."""
        found = doubts_on(self.table.index, self.table.verdict).items()
        lines = [f'- <span id="{key}"></span>**{doubt["title"]}.** {doubt["text"]}' for key, doubt in found]
        return Markdown("\n".join(lines))

    def says(self, template: str, experiment: str, *names: str, verdict: str = "supported") -> Any:
        """A sentence about an experiment's records at the largest scale where all these claims have that verdict; else nothing.

        Its numbers are from `facts.Facts`; named are other scales with that verdict, larger with another, smaller with the opposite.
        """
        self._known(names)
        agreed = [s for s in claims.SCALES if names and all(self.state(n, s, experiment) == verdict for n in names)]
        if not agreed:
            return None
        *others, scale = agreed
        text = facts.known(facts.Facts(*second_looks.records_of(scale, experiment)).fill(template))
        also = f" At {' and '.join(f'`{other}`' for other in others)}, too." if others else ""
        for i, other in enumerate(claims.SCALES):
            states = {self.state(name, other, experiment) for name in names} - {verdicts.NOTHING}
            if i > claims.SCALES.index(scale) or states in ({"supported"}, {"contradicted"}):
                states -= {verdict}
                also += f" At `{other}`: {' and '.join(sorted(states))}." if states else ""
        return Markdown(f"- `{scale}`: {text}{also}") if text else None

    def measured(self) -> Any:
        """What was measured, a row per scale and experiment."""
        return look(second_looks.measured(), "What was measured of every experiment.")

    def untested(self) -> Any:
        """Which experiments were not measured with the paper's images and epochs, and at which scale they were, as a point of a list."""
        below = [
            f"{EXPERIMENTS[name][0]} ({f'`{scale}` scale' if scale else 'nothing measured'})"
            for name, scale in _largest_scales(self.table).items()
            if scale != "paper"
        ]
        return Markdown(f"- *Not yet with the paper's images and epochs:* {', '.join(below)}.") if below else None

    def agreement(self) -> Any:
        """How often the claims that two scales can judge have the same verdict at both."""
        both = self.table.set_index(["experiment", "scale"], append=True).verdict.unstack("scale")
        said = []
        for a, b in itertools.combinations(verdicts.measured_scales(self.table), 2):
            judged = both[(both[[a, b]].notna() & (both[[a, b]] != verdicts.NOTHING)).all(axis=1)]
            opposite = (judged[a] != judged[b]) & judged[[a, b]].isin(["supported", "contradicted"]).all(axis=1)
            if len(judged):
                said.append(
                    f"Of {len(judged)} claims judged at `{a}` and `{b}`, {(judged[a] == judged[b]).sum()} have the same verdict at "
                    f"both; supported at one and contradicted at the other: {opposite.sum()}."
                )
        return Markdown(" ".join(said)) if said else None

    def state(self, name: str, scale: str, experiment: str) -> str:
        """The verdict on one claim, without networks that forgot: what sentences are about."""
        self._known([name])
        rows = self.table[(self.table.scale == scale) & (self.table.experiment == experiment)]
        return str(rows.kept.get(name, verdicts.NOTHING))

    def _known(self, names: Iterable[str]) -> None:
        unknown = set(names) - {claim.name for claim in claims.CLAIMS}
        if unknown:
            raise ConfigError(f"There is no claim {', '.join(sorted(unknown))}.")


@dataclass(frozen=True)
class Row:
    text: str
    criterion: str
    claims: dict[str, str]  # by experiment


@functools.cache
def content() -> Any:
    """`book/claims.yaml`."""
    return yaml.safe_load((locations.repository() / "book" / "claims.yaml").read_text())


@functools.cache
def page_rows() -> dict[str, list[Row]]:
    """The rows of the page: what the paper says alike of several experiments stands in one."""
    about = {claim.name: claim.experiments for claim in claims.CLAIMS}
    return {
        title: [Row(text, criterion, {e: n for n in names for e in about[n]}) for text, criterion, *names in rows]
        for title, rows in content()["rows"].items()
    }


def doubts_on(names: Iterable[str], states: Iterable[str]) -> dict[str, Any]:
    """Those about claims that were found to be in these states."""
    found = set(zip(names, states, strict=True))

    def meant(doubt: dict[str, list[str]]) -> bool:
        return any(s in doubt["verdicts"] and any(fnmatch(n, p) for p in doubt["claims"]) for n, s in found)

    return {key: doubt for key, doubt in content()["doubts"].items() if meant(doubt)}


def criteria() -> Any:
    """The thresholds of judgement, and since when they are fixed."""
    numbers = {
        **vars(trends),
        "LAST": 1 - moments.LATE,
        "Q2": trends.selected(2),
        "Q10": trends.selected(10),
        "EXACT": evidence.EXACT,
        "PERCENT": ", ".join(f"{tolerance:g}" for tolerance in trends.TOLERANCES),
    }
    asked = {name: text.format(**numbers) for name, text in content()["criteria"].items()}
    table = pd.DataFrame({"What is asked": asked}).rename_axis("What is said")
    places = [verdicts.place_of(name) for name in table.index]
    return captioned.table(table, f"The criteria, fixed in {verdicts.fixed()}.", places=places, cards=True)


def positive(correlations: pd.DataFrame) -> str:
    """How many of `second_looks.over_epochs` are positive after the first descent, as a sentence; nothing without any."""
    later = correlations[[name for name in correlations if "after" in name]].to_numpy()
    later = later[later != "–"].astype(float)
    if not later.size:
        return ""
    share = f"After the first descent {(later > 0).sum()} of {later.size} are positive"
    return f"{share}; they go from {later.min():.2f} to {later.max():.2f}."


def look(frame: pd.DataFrame, caption: str) -> Any:
    """A table of `second_looks`, or that it would have no rows."""
    if frame.empty:
        return Markdown("None.")
    named = frame.rename(lambda name: name if name.startswith("w = ") else f"`{name}`")
    return captioned.table(named.rename_axis(frame.index.name or "Records"), caption)


def largest(table: pd.DataFrame) -> pd.DataFrame:
    """Of an overview, a row per claim and experiment: that of the largest scale with a verdict, if there is one."""
    rank = table.scale.map(claims.SCALES.index) - len(claims.SCALES) * (table.verdict == verdicts.NOTHING)
    order = table.assign(rank=rank).sort_values("rank", kind="stable")
    return order.groupby([order.index, order.experiment], sort=False).tail(1).drop(columns="rank")


def matrix(table: pd.DataFrame) -> str:
    """The claims of an overview against the experiments."""
    decided = largest(table)
    verdict_on = {(row.Index, row.experiment): row for row in decided.itertuples()}
    scales = _largest_scales(decided)
    heads = "".join(
        f'<th scope="col">{title}<br><span class="of">{of}<br>{f"<code>{scales[name]}</code>" if scales[name] else verdicts.NOTHING}</span></th>'
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
    for title, part in page_rows().items():
        rows = [
            [row.text, *(_stated(verdict_on.get((row.claims.get(name), name))) for name in EXPERIMENTS)] for row in part
        ]
        table = pd.DataFrame(rows, columns=heads)
        parts.append(f"**{title}**\n\n{captioned.plain(table)}")
    return "\n\n".join(parts)


def _stated(row: Any) -> str:
    return f"{row.verdict} {value(row)}{verdicts.otherwise(row)}".replace("&nbsp;", " ") if row else ""


def _of_families(table: pd.DataFrame) -> pd.DataFrame:
    """An overview in which nothing counts as measured where few widths of an experiment were: a larger scale that was only
    begun decides no claim."""
    pairs = {pair: records.is_family(*pair) for pair in set(zip(table.scale, table.experiment, strict=True))}
    families = [pairs[pair] for pair in zip(table.scale, table.experiment, strict=True)]
    return table.assign(**{name: table[name].where(families, verdicts.NOTHING) for name in ("verdict", "kept")})


def _largest_scales(table: pd.DataFrame) -> dict[str, str | None]:
    """The largest scale at which anything of each experiment was measured."""
    found = {name: verdicts.measured_scales(table[table.experiment == name]) for name in EXPERIMENTS}
    return {name: scales[-1] if scales else None for name, scales in found.items()}


def _bodies(table: pd.DataFrame, verdict_on: dict[Any, Any], scales: dict[str, str | None]) -> Iterator[str]:
    for title, part in page_rows().items():
        yield f'<tbody><tr class="part"><th scope="rowgroup" colspan="{1 + len(EXPERIMENTS)}">{title}</th></tr>'
        for row in part:
            cells = "".join(
                _cell(verdict_on.get((row.claims.get(name), name)), title, scales[name])
                for name, (title, _) in EXPERIMENTS.items()
            )
            yield f'<tr><th scope="row">{_unfolding(row, table)}</th>{cells}</tr>'
        yield "</tbody>"


def _cell(row: Any, experiment: str, scale: str | None) -> str:
    if row is None:
        return '<td class="none"></td>'
    at = "" if row.verdict == verdicts.NOTHING or row.scale == scale else f" at <code>{row.scale}</code>"
    return (
        f'<td class="{row.verdict.replace(" ", "-")}" data-experiment="{experiment}">'
        f'<span aria-hidden="true">{SIGNS[row.verdict]}</span>&nbsp;{row.verdict}{at}<span class="effect">{value(row)}{verdicts.otherwise(row)}</span></td>'
    )


def value(row: Any) -> str:
    """An effect and its interval, a width as such."""
    if row.verdict == verdicts.NOTHING or not verdicts.effect(row):
        return ""
    text = ("w = " if row.measure.startswith("width") else "") + verdicts.effect(row)
    if pd.notna(row.low) and (row.seeds > 1 or row.low < row.high):  # of one seed the spread may be unknown
        text += f" [{number(row.low)}, {number(row.high)}]"
    return text.replace(" ", "&nbsp;").replace("&nbsp;[", " [").replace("-", "−")


def _unfolding(row: Row, table: pd.DataFrame) -> str:
    """The row's text, and folded under it figures, criterion, what the effect is, every scale with its seeds, and doubts."""
    same = table[[row.claims.get(e) == name for name, e in zip(table.index, table.experiment, strict=True)]]
    measure = next(filter(None, same.measure), "").removesuffix(" (norm)").removesuffix(" (loss)")
    figures = dict.fromkeys(figure for names in same.figures for figure in names if verdicts.page_of(figure))
    places = [f'<a href="{verdicts.page_of(f)}.html">{f.removeprefix("Figure ")}</a>' for f in figures]
    where = f"Figure{'s' if len(places) > 1 else ''} {', '.join(places)}. " if places else ""
    criterion = f'<a href="criteria.html#{verdicts.place_of(row.criterion)}">{escape(row.criterion)}</a>.'
    lines = [f"{where}{criterion}" + (f" Effect: {escape(measure)}." if measure else "")]
    for name in row.claims:
        found = same[(same.experiment == name) & (same.verdict != verdicts.NOTHING)]
        title = f"{EXPERIMENTS[name][0]}: " if len(row.claims) > 1 else ""
        if len(found):
            lines.append(f"{title}{', '.join(map(_at_scale, found.itertuples()))}.")
    if found := doubts_on(same.index, same.verdict):
        named = ", ".join(f'<a href="#{key}">{doubt["title"]}</a>' for key, doubt in found.items())
        lines.append(f"Doubt: {named}.")
    return f"<details><summary>{row.text}</summary>{''.join(f'<p>{line}</p>' for line in lines)}</details>"


def _at_scale(row: Any) -> str:
    sign = f'<span role="img" aria-label="{row.verdict}">{SIGNS[row.verdict]}</span>'
    return f"<code>{row.scale}</code>&nbsp;×{row.seeds} {sign} {value(row)}".strip()
