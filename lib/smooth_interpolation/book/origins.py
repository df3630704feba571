"""What a figure is drawn from: in words, as a table of its runs, and what is missing."""

from __future__ import annotations

import html
import itertools
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from .. import config, locations
from ..claims import moments, trends
from ..config import Experiment
from ..runs import cost, record_format, store
from ..runs.records import Records
from . import facts


def describe(runs: Records) -> str:
    """One paragraph on what is drawn: scale, data, images, epochs, seeds, device and commit."""
    e = runs.experiment
    if not len(runs):
        return f"Scale `{e.scale}`: nothing measured yet."
    data, provenance = runs[0]["data"], [record["provenance"] for record in runs]
    noise = f" ({data['n_corrupted']:,} with a wrong label)" if data["n_corrupted"] else ""
    seeds = sorted({record["config"]["seed"] for record in runs})
    optimizer = {"sgd": "SGD", "adam": "Adam"}[e.optimizer]
    precision = {"bf16": "bfloat16", "tf32": "TensorFloat-32", "fp32": "float32"}[e.precision]
    points = {row["subset"]: row["n_points"] for record in runs for row in record["volumes"] or []}
    of = {"test": "test points", "restored": "training points with their true labels"}
    around = " and ".join(f"{points[kind]:,} {kind}" for kind in ("clean", "noisy") if points.get(kind))
    devices = {f"{o['device_name']} ({o['device'].upper()})" for o in provenance}
    commits = {f"`{_commit(o)}`{' with changes' if o['dirty'] else ''}" for o in provenance}
    sentences = [
        f"**Scale `{e.scale}`{', for trying things out' if e.scale == 'demo' else ''}.** Data: {data['name']}, "
        f"{_listed({record['data']['source'] for record in runs})}, fingerprint `{data['fingerprint'][:12]}`; "
        f"{data['n_train']:,} training images{noise}, {data['n_test']:,} test images.",
        f"Training: {e.epochs:,} epochs of {optimizer} in {precision}; seed{'s' if len(seeds) > 1 else ''} "
        f"{', '.join(map(str, seeds))} ({'thin lines: each seed' if len(seeds) > 1 else 'one seed, so no spread is shown'}).",
        f"Measured around {around} {of.get(e.points_from, 'training points')}, P = {e.n_paths}, M = {e.n_tangents}. {_threshold(runs)}",
        f"Made on {_listed(devices)} in {facts.duration(cost.machine_seconds(runs))}, at commit {_listed(commits)}.",
    ]
    if e.overrides:
        sentences.insert(1, f"Set apart from the params file: {', '.join(f'`{text}`' for text in e.overrides)}.")
    if forgotten := moments.forgotten(runs.history):
        widths = ", ".join(map(str, forgotten))
        why = f"w = {widths} [forgot](beyond-epochs.html) what they had fitted (crosses)"
        sentences.append(
            f"{why}: sentences leave them out, and verdicts say after *else* what they would be without them."
        )
    if besides := [width for width in runs.explored if width != runs.width]:
        sentences.append(
            f"Measured besides the plan (triangles), and in no verdict: w = {', '.join(map(str, besides))}."
        )
    places = [record["config"] for record in runs if record["status"] == "diverged"]
    if places:
        diverged = {f"w = {place['width']}, seed {place['seed']}" for place in places}
        sentences.append(f"Diverged, and not drawn: {_listed(diverged)}.")
    return " ".join(sentences)


def _threshold(runs: Records) -> str:
    """Where the threshold is, and how many errors are left there or, if it is not reached, in the widest network."""
    last = store.last_epoch(runs.history, "train_error")
    last, n_train = last[last.width.isin(runs.experiment.widths)], runs[0]["data"]["n_train"]
    irreducible = store.irreducible_error(runs)
    unavoidable = round(irreducible * n_train / 100)
    twins = "identical images with different labels"
    if runs.threshold:
        left = f"; the {unavoidable} errors left there no network avoids: {twins}" if unavoidable else ""
        return f"Interpolation threshold: w = {runs.threshold} (dotted){left}."
    if last.empty:
        return "Interpolation threshold: not reached."
    widest = last[last.width == last.width.max()]
    low, high = (f"{round(value * n_train / 100):,}" for value in (widest.value.min(), widest.value.max()))
    count = low if low == high else f"{low} to {high}"
    errors, are = ("error", "is") if count == "1" else ("errors", "are")
    left = f"{count} {errors} of {n_train:,} {are} left at w = {widest.width.iloc[0]}"
    avoided = f", of which no network avoids {unavoidable}: {twins}" if unavoidable else ""
    allowed = {t: store.interpolation_threshold(last, irreducible=irreducible, tolerance=t) for t in trends.TOLERANCES}
    known = next((f" If {t:g}% were allowed, it would be w = {width}." for t, width in allowed.items() if width), "")
    return f"Interpolation threshold: not reached; {left}{avoided}.{known}"


def missing(runs: Records) -> str:
    """Which runs of an experiment have no record, and the command that makes them, with its time; empty if none."""
    if not runs.missing:
        return ""
    by_width: dict[int, list[str]] = {}
    for run in runs.missing:
        by_width.setdefault(run.width, []).append(str(run.seed))
    by_seeds: dict[str, list[int]] = {}
    for width, seeds in by_width.items():
        by_seeds.setdefault(f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}", []).append(width)
    listed = "; ".join(f"w = {', '.join(_stretches(widths))} ({seeds})" for seeds, widths in by_seeds.items())
    time = cost.in_words(runs.missing, locations.repository() / "results")
    return f"**Not measured yet:** {listed}. To compute them: `smooth-interpolation sweep {swept(runs)}`{time and f' ({time})'}"


def swept(runs: Records) -> str:
    """What `smooth-interpolation sweep` takes to make the runs: the params file, and what is set apart from it."""
    return f"params/{runs.experiment.scale}/{runs.experiment.experiment}.yaml{changed_fields(runs.experiment)}"


def _stretches(widths: Sequence[int]) -> Iterator[str]:
    """Ascending widths, three or more without a gap as one.

    Example:
        >>> list(_stretches([1, 3, 4, 6, 7, 8]))
        ['1', '3', '4', '6 to 8']
    """
    for _, part in itertools.groupby(enumerate(widths), lambda place: place[1] - place[0]):
        stretch = [width for _, width in part]
        yield from [f"{stretch[0]} to {stretch[-1]}"] if len(stretch) > 2 else map(str, stretch)


def table_of(records: Iterable[record_format.Record], experiment: Experiment | None = None) -> pd.DataFrame:
    """A row per run: width, seed, commit, data fingerprint, device, precision, cost, date, and the command that remakes it, with the
    options by which the experiment, else the record, differs from its params file."""
    changed = changed_fields(experiment, apart_from=("widths", "seeds")) if experiment else None
    rows = []
    for record in records:
        settings, made = record["config"], record["provenance"]
        own = dict(text.split("=", 1) for text in settings["overrides"])
        options = (
            _options({name: settings.get(name, said) for name, said in own.items()}) if changed is None else changed
        )
        place = f"params/{settings['scale']}/{settings['experiment']}.yaml --width {settings['width']} --seed {settings['seed']}"
        rows.append(
            {
                "width": settings["width"],
                "seed": settings["seed"],
                "commit": _commit(made) + (" with changes" if made["dirty"] else ""),
                "data": record["data"]["fingerprint"][:12],
                "device": made["device_name"],
                "precision": made["precision"],
                "cost": cost.duration(cost.seconds(record)),
                "date": made["end"][:10],
                "to remake it": f"smooth-interpolation run {place} --force{options}",
            }
        )
    return pd.DataFrame(rows).sort_values(["width", "seed"], ignore_index=True)


def table(records: Sequence[record_format.Record], experiment: Experiment | None = None) -> str:
    """`table_of` as HTML, folded."""
    found = table_of(records, experiment)
    head = "".join(f'<th scope="col">{name}</th>' for name in found)
    cells = found.map(lambda value: html.escape(str(value)))
    code = ["commit", "data", "to remake it"]
    cells[code] = "<code>" + cells[code] + "</code>"
    rows = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in cells.itertuples(index=False))
    return (
        f'<details class="origin"><summary>Origin of this figure: {len(found)} run{"s" if len(found) > 1 else ""}</summary>'
        '<div class="scrolls" tabindex="0" role="group" aria-label="Origin of this figure">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def changed_fields(experiment: Experiment, apart_from: Sequence[str] = ()) -> str:
    """The options of the command line that say where an experiment differs from its params file."""
    if not (file := locations.params_file(experiment.scale, experiment.experiment)).is_file():
        return ""  # it is a reader's own, elsewhere
    filed = config.load(file)
    fields = [field for field in config.FIELDS if field not in apart_from]
    changed = [field for field in fields if getattr(experiment, field) != getattr(filed, field)]
    return _options({field: getattr(experiment, field) for field in changed})


def _options(changed: Mapping[str, Any]) -> str:
    return "".join(f" --set {shlex.quote(f'{field}={_plain(value)}')}" for field, value in changed.items())


def _plain(value: Any) -> str:
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, tuple | list) else str(value)


def _commit(made: Any) -> str:
    return (made["commit"] or "unknown")[:10]


def _listed(texts: set[str]) -> str:
    return ", ".join(sorted(texts))
