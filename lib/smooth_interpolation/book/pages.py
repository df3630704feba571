"""What the book's pages share: their parameters, and what is said about the records that they show.

A page's parameters are `scale`, `width` and every field of its experiment's params file, so a notebook can be executed
by papermill with any of them set. `runs` is everywhere what `smooth_interpolation.records` gives.
"""

from __future__ import annotations

import ast
import functools
import html
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from .. import claims, config, figures, locations
from ..claims import moments, verdicts
from ..errors import ConfigError, RecordError
from ..figures.style import STYLE
from ..runs import store, tables
from ..runs.records import Records
from . import captioned, explore, facts, origins, presentation

NAMES = ("width", "train_minutes", *config.FIELDS)
# Percent of training labels missed: the threshold that decides has none.
TOLERANCES = (0, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


def given(namespace: Mapping[str, Any]) -> list[str]:
    """The names that papermill put into a cell of its own, headed '# Parameters', without those that are about papermill."""
    names = []
    for cell in namespace.get("In", []):
        if cell.lstrip().startswith("# Parameters"):
            for statement in ast.parse(cell).body:
                names += [target.id for target in getattr(statement, "targets", []) if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("PAPERMILL_")]


def no_parameters(namespace: Mapping[str, Any]) -> None:
    """Of a page without parameters, `no_parameters(globals())`: refuse what was given.

    Raises:
        ConfigError: naming it, and pages that have parameters.
    """
    if names := given(namespace):
        raise ConfigError(
            f"This page has no parameters, so {' and '.join(names)} cannot be set: the pages of figures (fig1 to fig7, "
            "appendix-resnet), the study and those beyond the paper take a scale."
        )


def fields(namespace: Mapping[str, Any], *others: str) -> dict[str, Any]:
    """The fields of the params file that a notebook sets, and train_minutes: `fields(globals())`, for `si.records`.

    From here on the notebook shows figures with their data, files and origin. `others` are parameters of this page alone.

    Raises:
        ConfigError: for a parameter that the page does not have, which papermill would only warn about.
    """
    check_names(namespace, (*NAMES, *others))
    vector_figures()
    return {name: namespace.get(name) for name in NAMES if name not in ("scale", "experiment", "width")}


def check_names(namespace: Mapping[str, Any], allowed: Sequence[str] = NAMES) -> None:
    """Refuse parameters that the page does not have.

    Raises:
        ConfigError: naming the first one.
    """
    for name in given(namespace):
        if name == "base":
            raise ConfigError("A params file with a base is named, not given: -p experiment mine/study.yaml.")
        if name not in allowed:
            raise ConfigError(f"Parameter {config.unknown_name(name, allowed)}")


def caption(runs: Records) -> Any:
    """Scale, data, images, epochs, seeds, device and commit of what is drawn, as Markdown."""
    return _markdown(origins.describe(runs))


def what_is_missing(runs: Records) -> Any:
    """The runs without a record and the command that computes them; nothing if there are none."""
    return _markdown(origins.missing(runs))


def require(*families: Records) -> None:
    """Raises RecordError for the first family without any record, with the command that makes them."""
    for runs in families:
        if not len(runs):
            path = origins.swept(runs)
            raise RecordError(f"There is no record of {path}: smooth-interpolation sweep {path} makes them.")


def verdicts_on(runs: Records, figure: str) -> Any:
    """The claims that the paper makes with a figure, and what these records say of them, a table; nothing without claims."""
    table = verdicts.as_table(_judged(runs), figure)
    caption = f"{verdicts.LEGEND} {verdicts.trial(runs.experiment.scale)}".strip()
    return captioned.table(table, caption, cards=True) if len(table) else None


def verdicts_by_scale(runs: Records, figure: str) -> Any:
    """The claims made with a figure, and the verdict at every scale that counts and has records, a table."""
    name, judged = runs.experiment.experiment, {}
    for scale in claims.SCALES:
        if scale == runs.experiment.scale or locations.params_file(scale, name).is_file():
            there = runs if scale == runs.experiment.scale else runs.at(scale)
            if len(there):
                judged[scale] = _judged(there)
    table = verdicts.by_scale(judged, figure)
    return captioned.table(table, "The same claims, and their verdicts at every scale.") if len(table) else None


def says(runs: Records, template: str, **where: str | Sequence[str]) -> Any:
    """A paragraph about these records, its numbers filled in by `facts.Facts`, as Markdown; nothing without records or numbers.

    Args:
        runs: what it is about.
        template: of the paragraph.
        where: claims, by their names, that must have a verdict on these records for it to be said:
            `supported="test-error-peak"`, `contradicted=("test-error-peak-place", ...)`.
    """
    if not len(runs) or not _holds(runs, where):
        return None
    return _markdown(facts.known(_facts(runs).fill(template)))


def takeaway(runs: Records, template: str, otherwise: str, **where: str | Sequence[str]) -> Any:
    """The box that says what to remember of a page: the first text where the claims have these verdicts, else the other one.

    At a scale that is for trying things out it is always the other one.
    """
    if not len(runs):
        return None
    counts = runs.experiment.scale in claims.SCALES
    text = facts.known(_facts(runs).fill(template)) if counts and _holds(runs, where) else ""
    text = text or facts.known(_facts(runs).fill(otherwise))
    if not text:
        return None
    box = f'<div class="admonition tip"><p class="admonition-title">Takeaway</p><p>{html.escape(text)}</p></div>'
    return captioned.Rich(box, f"**Takeaway.** {text}")


def _holds(runs: Records, where: Mapping[str, str | Sequence[str]]) -> bool:
    """Whether claims have these verdicts on the records, without networks that forgot; names that do not exist are an error."""
    found = _judged(runs).kept
    for verdict, names in where.items():
        if verdict not in claims.STATES:
            raise ConfigError(f"{config.unknown_name(verdict, claims.STATES)}")
        for name in (names,) if isinstance(names, str) else names:
            if name not in found.index:
                raise ConfigError(
                    f"No claim of this name is about these records: {config.unknown_name(name, found.index)}"
                )
            if found[name] != verdict:
                return False
    return True


@functools.lru_cache(maxsize=8)
def _judged(runs: Records) -> pd.DataFrame:
    """Judged once for all sentences and tables of a page."""
    return verdicts.judged(runs, runs.experiment.experiment, runs.experiment)


@functools.lru_cache(maxsize=8)
def _facts(runs: Records) -> facts.Facts:
    return facts.Facts(runs.planned)


def about(runs: Records) -> Any:
    """The line above sentences on these records: their scale, or that there are none, as Markdown."""
    scale = f"the `{runs.experiment.scale}` scale"
    if not len(runs):
        return _markdown(f"The sentences here are about {scale}, where nothing has been measured yet.")
    return _markdown(f"These sentences are about {scale}; their numbers are means over seeds, read from the records.")


def instrument(runs: Records, kind: str, **options: Any) -> Any:
    """An instrument of the built book: "volumes", "heatmap" or "walk", see `explore`, which has the options."""
    if not len(runs):
        return None
    if kind == "walk":
        seen = _walk(runs)
        return None if seen is None else explore.walk(seen)
    if kind == "heatmap":
        return explore.heatmap(runs.history, runs.threshold, runs.width, **options)
    irreducible = store.irreducible_error(runs.planned)
    history = tables.history_table(runs.planned)
    thresholds = {
        f"{tolerance:g}%": store.interpolation_threshold(history, irreducible=irreducible, tolerance=tolerance)
        for tolerance in TOLERANCES
    }
    unit = figures.UNITS[runs.experiment.path_kind]
    forgotten = moments.forgotten(runs.history)
    return explore.volumes(runs.volumes, thresholds, runs.width, forgotten=forgotten, unit=unit, **options)


@functools.lru_cache(maxsize=1)
def _walk(runs: Records) -> Any:
    from ..studies import walks  # it needs PyTorch, which the other pages do not

    return walks.walk(runs)


def walk(runs: Records) -> Any:
    """Paths from typical training images, and what networks see along them; nothing if no images or weights are kept."""
    from ..figures import beyond_figures  # likewise

    if (seen := _walk(runs)) is None:
        return None
    records = [r for r in runs if r["config"]["width"] in seen.networks and r["config"]["seed"] == 0]
    name = f"walk-{runs.experiment.scale}"
    return presentation.show(
        beyond_figures.walk_figure(seen), seen.seen, name, records=records, experiment=runs.experiment
    )


def numbers(runs: Records) -> Any:
    """The chosen width's metrics over every volume size, a table; nothing if none was chosen, or nothing was measured there."""
    seeds = sorted(runs.volumes[runs.volumes.width == runs.width].seed.unique().tolist())
    if not seeds:
        return None
    over = f"seed {seeds[0]}" if len(seeds) == 1 else f"means over seeds {', '.join(map(str, seeds))}"
    caption = (
        f"The network of $w = {runs.width}$ at `{runs.experiment.scale}` scale: means over points and paths; {over}."
    )
    return captioned.table(at_width(runs), caption)


def at_width(runs: Records) -> pd.DataFrame:
    """The chosen width's metrics, by subset of the points and size of the volume."""
    table = runs.volumes[runs.volumes.width == runs.width]
    wide = table.pivot_table(index=["subset", "size"], columns="metric", values="mean", aggfunc="mean")
    wide = wide[list(tables.METRICS)].rename(columns=tables.METRICS)
    wide.index.names = ["points", "augmentations per path"]
    return wide.map(lambda value: f"{value:.4g}")


def _markdown(text: str) -> Any:
    from IPython.display import Markdown

    return Markdown(facts.unbroken(text)) if text else None


def vector_figures() -> None:
    """Figures in the book's style, as HTML that holds an SVG with alternative text, and as PDF for print, in the notebook that calls this."""
    mpl.rcParams.update(STYLE)  # a reader's own plots, too, which are drawn twice as well, for light and for dark pages
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats()  # none of IPython's own, which would draw each figure again
        get_ipython().display_formatter.mimebundle_formatter.for_type(Figure, presentation.bundle)
    except (ImportError, AttributeError):  # outside a notebook
        pass
