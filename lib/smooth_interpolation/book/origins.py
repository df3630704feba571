"""What a figure is drawn from, in words: scale, data, training, threshold, machines, commits; and what is missing."""

from __future__ import annotations

from .. import locations
from ..claims import trends
from ..runs import cost, record_format, store
from ..runs.records import Records
from . import facts, presentation


def describe(runs: Records) -> str:
    """One paragraph on what is drawn: scale, data, images, epochs, seeds, device and commit."""
    e = runs.experiment
    if not len(runs):
        return f"Scale `{e.scale}`: nothing measured yet."
    data, provenance = runs[0]["data"], [record["provenance"] for record in runs]
    noise = f" ({data['n_corrupted']:,} with a wrong label)" if data["n_corrupted"] else ""
    seeds = sorted({record["config"]["seed"] for record in runs})
    spread = "thin lines: each seed" if len(seeds) > 1 else "one seed, so no spread is shown"
    optimizer = {"sgd": "SGD", "adam": "Adam"}[e.optimizer]
    precision = {"bf16": "bfloat16", "tf32": "TensorFloat-32", "fp32": "float32"}[e.precision]
    points = {row["subset"]: row["n_points"] for record in runs for row in record["volumes"] or []}
    kind_of_points = {"test": "test points", "restored": "training points with their true labels"}.get(
        e.points_from, "training points"
    )
    around = " and ".join(f"{points[kind]:,} {kind}" for kind in ("clean", "noisy") if points.get(kind))
    sources = {record["data"]["source"] for record in runs}
    trying = ", for trying things out" if e.scale == "demo" else ""
    devices = {f"{o['device_name']} ({o['device'].upper()})" for o in provenance}
    commits = {f"`{(o['commit'] or 'unknown')[:10]}`{' with changes' if o['dirty'] else ''}" for o in provenance}
    spent = facts.duration(cost.machine_seconds(runs))
    diverged = {str(c) for c in map(_run_of, runs) if c}
    sentences = [
        f"**Scale `{e.scale}`{trying}.** Data: {data['name']}, {_listed(sources)}, "
        f"fingerprint `{data['fingerprint'][:12]}`; "
        f"{data['n_train']:,} training images{noise}, {data['n_test']:,} test images.",
        f"Training: {e.epochs:,} epochs of {optimizer} in {precision}; seed{'s' if len(seeds) > 1 else ''} "
        f"{', '.join(map(str, seeds))} ({spread}).",
        f"Measured around {around} {kind_of_points}, P = {e.n_paths}, M = {e.n_tangents}. {_threshold(runs)}",
        f"Made on {_listed(devices)} in {spent}, at commit {_listed(commits)}.",
    ]
    if e.overrides:
        sentences.insert(1, f"Set apart from the params file: {', '.join(f'`{text}`' for text in e.overrides)}.")
    if besides := [width for width in runs.explored if width != runs.width]:
        sentences.append(
            f"Measured besides the plan (triangles), and in no verdict: w = {', '.join(map(str, besides))}."
        )
    if diverged:
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
    left = f"{low if low == high else f'{low} to {high}'} errors of {n_train:,} are left at w = {widest.width.iloc[0]}"
    avoided = f", of which no network avoids {unavoidable}: {twins}" if unavoidable else ""
    allowed = {t: store.interpolation_threshold(last, irreducible=irreducible, tolerance=t) for t in trends.TOLERANCES}
    known = next((f" If {t:g}% were allowed, it would be w = {width}." for t, width in allowed.items() if width), "")
    return f"Interpolation threshold: not reached; {left}{avoided}.{known}"


def _run_of(record: record_format.Record) -> str | None:
    settings = record["config"]
    return f"w = {settings['width']}, seed {settings['seed']}" if record["status"] == "diverged" else None


def missing(runs: Records) -> str:
    """Which runs of an experiment have no record, and the command that makes them, with its time; empty if none."""
    if not runs.missing:
        return ""
    e = runs.experiment
    by_width: dict[int, list[str]] = {}
    for run in runs.missing:
        by_width.setdefault(run.width, []).append(str(run.seed))
    by_seeds: dict[str, list[str]] = {}
    for width, seeds in by_width.items():
        by_seeds.setdefault(f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}", []).append(str(width))
    listed = "; ".join(f"w = {', '.join(widths)} ({seeds})" for seeds, widths in by_seeds.items())
    file = f"params/{e.scale}/{e.experiment}.yaml"
    options = presentation.changed_fields(e)
    time = cost.in_words(runs.missing, locations.repository() / "results")
    return f"**Not measured yet:** {listed}. To compute them: `smooth-interpolation sweep {file}{options}`{time and f' ({time})'}"


def _listed(texts: set[str]) -> str:
    return ", ".join(sorted(texts))
