"""What the book's pages share: their parameters, their records, and what is said about them.

A page's parameters are `scale`, `width` and every field of its experiment's params file, so a notebook can be executed
by papermill with any of them set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from .. import claims, config, figures, locations
from ..claims import moments, verdicts
from ..claims.evidence import planned
from ..cli import display
from ..config import Experiment, Run
from ..errors import ConfigError
from ..runs import cost, store
from . import explore, facts, presentation
from .page_parameters import given
from .presentation import Shown

NAMES = ("width", *config.FIELDS)


@dataclass(frozen=True)
class Page:
    """An experiment, its records, and the width that the reader chose."""

    experiment: Experiment
    width: int | None
    records: list[store.Record]
    missing: list[Run]

    @cached_property
    def volumes(self) -> pd.DataFrame:
        return store.volumes_table(self.records)

    @cached_property
    def history(self) -> pd.DataFrame:
        return store.history_table(self.records)

    @cached_property
    def threshold(self) -> int | None:
        return store.threshold_of(self.planned)

    @property
    def planned(self) -> list[store.Record]:
        """The records of the experiment's own widths and seeds: claims and sentences are about these."""
        return planned(self.records, self.experiment)

    def judged(self) -> pd.DataFrame:
        """The claims about the experiment, as `claims.judge`."""
        return claims.judge(self.records, self.experiment.experiment, self.experiment)

    def caption(self) -> Any:
        """Scale, data, images, epochs, seeds, device and commit of what is drawn, as Markdown."""
        return _markdown(describe(self))

    def what_is_missing(self) -> Any:
        """The runs without a record and the command that computes them; nothing if there are none."""
        return _markdown(missing_text(self))

    def verdicts(self, figure: str) -> Any:
        """The claims that the paper makes with a figure, and what these records say of them, as Markdown."""
        table = verdicts.as_table(self.judged(), figure)
        notes = filter(None, (table, verdicts.LEGEND, verdicts.trial(self.experiment.scale)))
        return _markdown("\n\n".join(notes) if table else "")

    def at(self, scale: str) -> Page:
        """The same experiment at another scale, as its params file has it."""
        experiment = config.find(scale, self.experiment.experiment)
        planned = experiment.runs()
        records = store.read_all(planned)
        return Page(experiment, None, records, [run for run in planned if not store.path_of(run).exists()])

    def verdicts_by_scale(self, figure: str) -> Any:
        """The claims made with a figure, and the verdict at every scale that counts and has records, as Markdown."""
        name, tables = self.experiment.experiment, {}
        for scale in claims.SCALES:
            if scale == self.experiment.scale or locations.params_file(scale, name).is_file():
                page = self if scale == self.experiment.scale else self.at(scale)
                if page.records:
                    tables[scale] = page.judged()
        return _markdown(verdicts.by_scale(tables, figure))

    def by_width(self) -> pd.DataFrame:
        """Errors over the last tenth of the epochs and the Jacobian norm at the points and over the largest volume, a row per width."""
        history, volumes = self.history, self.volumes
        columns = {"training error %": ("train_error", "all"), "... clean": ("train_error", "clean")}
        columns |= {"... noisy": ("train_error", "noisy"), "test error %": ("test_error", "all")}
        ends = moments.at_end(history).set_index(["metric", "subset"]).sort_index()
        means = {
            name: ends.loc[[which]].groupby("width")["mean"].mean()
            for name, which in columns.items()
            if which in ends.index
        }
        table = pd.DataFrame(means).map(lambda value: f"{value:.1f}")
        jacobian = volumes[(volumes.metric == "jacobian_norm") & (volumes.subset == "all")]
        for size, name in ((0, "at the points"), (volumes["size"].max(), "over the largest volume")):
            means = jacobian[jacobian["size"] == size].groupby("width")["mean"].mean()
            table[f"Jacobian norm {name}"] = means.map(lambda value: f"{value:.3g}")
        return table

    def show(self, name: str, alt: str = "", file: str = "") -> Shown:
        """A figure of this page's records, a key of `figures.FIGURES`, ready to be the last line of a cell.

        With alternative text (by default made of what is drawn), downloads of its data and of itself, and the origin of
        every run: `page.show("fig2")`, and `page.at("gpu").show("fig2")` for another scale. A figure that is not drawn from
        records is shown by `presentation.show(figure, table, name, alt)`. `file` names the files where two figures of a
        page have the same name and scale.
        """
        kind = figures.FIGURES[name]
        whole = self.history if kind.table == "history" else self.volumes
        figure = kind.function(whole, threshold=self.threshold, width=self.width)
        table = figures.data(name, whole)
        name = f"{file or name}-{self.experiment.scale}"
        return presentation.show(figure, table, name, alt, records=self.records, experiment=self.experiment)

    def says(self, template: str) -> Any:
        """A paragraph about these records, its numbers filled in by `facts.Facts`, as Markdown; nothing without records."""
        return _markdown(facts.Facts(self.planned).fill(template) if self.records else "")

    def about(self) -> Any:
        """The line above sentences on these records: their scale, or that there are none, as Markdown."""
        scale = f"the `{self.experiment.scale}` scale"
        if not self.records:
            return _markdown(f"The sentences here are about {scale}, where nothing has been measured yet.")
        return _markdown(
            f"These sentences are about {scale}; their numbers are means over seeds, read from the records."
        )

    def beside(self, experiment: str, scale: str | None = None) -> Page:
        """Another experiment at that scale; by default at this page's, or at the largest if it has no records there."""
        here = self.experiment.scale
        found = config.find(scale or (here if _measured(here, experiment) else largest_scale(experiment)), experiment)
        planned = found.runs()
        records = store.read_all(planned)
        width = self.width if any(record["config"]["width"] == self.width for record in records) else None
        return Page(found, width, records, [run for run in planned if not store.path_of(run).exists()])

    def explore(self, kind: str) -> Any:
        """An instrument of the built book over this page's records: "volumes" or "heatmap", see `explore`."""
        table = {"volumes": self.volumes, "heatmap": self.history}[kind]
        return getattr(explore, kind)(table, self.threshold, self.width)

    def numbers(self) -> Any:
        """The chosen width's metrics over every volume size, a table per subset; nothing if none was chosen."""
        if self.width is None:
            return None
        table = self.volumes
        table = table[table.width == self.width]
        wide = table.pivot_table(index=["subset", "size"], columns="metric", values="mean", aggfunc="mean")
        wide = wide[list(display.METRICS)].rename(columns=display.METRICS)
        wide.index.names = ["points", "augmentations per path"]
        return wide.map(lambda value: f"{value:.4g}")


def largest_scale(experiment: str) -> str:
    """The largest scale at which an experiment, as its params file has it, has a record; `demo` if it has none."""
    return next((scale for scale in reversed(config.SCALES) if _measured(scale, experiment)), config.SCALES[0])


def _measured(scale: str, experiment: str) -> bool:
    known = locations.params_file(scale, experiment).is_file()
    return known and any(store.path_of(run).exists() for run in config.find(scale, experiment).runs())


def open_page(namespace: Mapping[str, Any]) -> Page:
    """The page that a notebook's parameters ask for: `open_page(globals())`.

    Without a scale it is the largest at which the experiment has records. With a width that has no record yet, that width
    is trained and measured first, with the experiment's first seed.

    Raises:
        ConfigError: for an unknown parameter or value.
        RecordError: if a record cannot be used.
        DataError: if a width has to be measured and its images are missing.
    """
    check_names(namespace)
    given = {name: namespace.get(name) for name in config.FIELDS}
    scale, name = given.pop("scale"), given.pop("experiment")
    experiment = config.find(largest_scale(name) if scale is None else scale, name, given)
    width = namespace.get("width")
    planned = list(experiment.runs())
    if width is not None:
        chosen = [experiment.run(width, seed) for seed in experiment.seeds]
        if all(store.read(run) is None for run in chosen):
            from ..runs import progress  # it needs PyTorch, which drawing does not

            progress.measure(chosen[0])
        planned += [run for run in chosen if run not in planned and store.path_of(run).exists()]
    records = store.read_all(planned)
    states = {record["status"] for record in records if record["config"]["width"] == width}
    if states == {"diverged"}:
        raise ConfigError(f"{experiment.scale}/{experiment.name} w = {width} diverged: try a lower learning_rate.")
    vector_figures()
    return Page(experiment, width, records, [run for run in planned if not store.path_of(run).exists()])


def check_names(namespace: Mapping[str, Any], allowed: Sequence[str] = NAMES) -> None:
    """Refuse parameters that the page does not have, which papermill would only warn about.

    Raises:
        ConfigError: naming the first one.
    """
    for name in given(namespace):
        if name not in allowed:
            raise ConfigError(f"Parameter {config.unknown_name(name, allowed)}")


def describe(page: Page) -> str:
    """One paragraph on what is drawn: scale, data, images, epochs, seeds, device and commit."""
    e = page.experiment
    if not page.records:
        return f"Scale `{e.scale}`: nothing measured yet."
    data, origins = page.records[0]["data"], [record["provenance"] for record in page.records]
    noise = f" ({data['n_corrupted']:,} with a wrong label)" if data["n_corrupted"] else ""
    seeds = sorted({record["config"]["seed"] for record in page.records})
    spread = "shaded: one standard deviation over seeds" if len(seeds) > 1 else "one seed, so no spread is shown"
    optimizer = {"sgd": "SGD", "adam": "Adam"}[e.optimizer]
    precision = {"bf16": "bfloat16", "tf32": "TensorFloat-32", "fp32": "float32"}[e.precision]
    points = {row["subset"]: row["n_points"] for record in page.records for row in record["volumes"] or []}
    around = " and ".join(f"{points[kind]:,} {kind}" for kind in ("clean", "noisy") if points.get(kind))
    threshold = page.threshold
    mark = f"w = {threshold} (dotted)" if threshold else "not reached"
    sources = {record["data"]["source"] for record in page.records}
    trying = ", for trying things out" if e.scale == "demo" else ""
    devices = {f"{o['device_name']} ({o['device'].upper()})" for o in origins}
    commits = {f"`{(o['commit'] or 'unknown')[:10]}`{' with changes' if o['dirty'] else ''}" for o in origins}
    spent = display.duration(cost.machine_seconds(page.records))
    diverged = {str(c) for c in map(_run_of, page.records) if c}
    sentences = [
        f"**Scale `{e.scale}`{trying}.** Data: {data['name']}, {_listed(sources)}, "
        f"fingerprint `{data['fingerprint'][:12]}`; "
        f"{data['n_train']:,} training images{noise}, {data['n_test']:,} test images.",
        f"Training: {e.epochs:,} epochs of {optimizer} in {precision}; seed{'s' if len(seeds) > 1 else ''} "
        f"{', '.join(map(str, seeds))} ({spread}).",
        f"Measured around {around} training points, "
        f"P = {e.n_paths}, M = {e.n_tangents}. Interpolation threshold: {mark}.",
        f"Made on {_listed(devices)} in {spent}, at commit {_listed(commits)}.",
    ]
    if diverged:
        sentences.append(f"Diverged, and not drawn: {_listed(diverged)}.")
    return " ".join(sentences)


def _run_of(record: store.Record) -> str | None:
    settings = record["config"]
    return f"w = {settings['width']}, seed {settings['seed']}" if record["status"] == "diverged" else None


def missing_text(page: Page) -> str:
    if not page.missing:
        return ""
    e = page.experiment
    by_width: dict[int, list[str]] = {}
    for run in page.missing:
        by_width.setdefault(run.width, []).append(str(run.seed))
    runs = "; ".join(f"w = {width} (seed {', '.join(seeds)})" for width, seeds in by_width.items())
    file = f"params/{e.scale}/{e.experiment}.yaml"
    options = presentation.changed_fields(e)
    return f"**Not measured yet:** {runs}. To compute them: `smooth-interpolation sweep {file}{options}`"


def _listed(texts: set[str]) -> str:
    return ", ".join(sorted(texts))


def _markdown(text: str) -> Any:
    from IPython.display import Markdown

    return Markdown(text) if text else None


def vector_figures() -> None:
    """Figures as SVG, with alternative text, in the notebook that calls this."""
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg")
        get_ipython().display_formatter.formatters["text/html"].for_type(Figure, presentation.plain)
    except (ImportError, AttributeError):  # outside a notebook
        pass
