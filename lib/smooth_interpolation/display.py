"""A record as a person reads it on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from . import cost, store


def record_summary(record: store.Record) -> Iterator[str | Table]:
    """What was run, how it went, its volumes, and where it comes from."""
    settings, data, origin = record["config"], record["data"], record["provenance"]
    yield (
        f"[bold]{settings['scale']}/{settings['experiment']}, {settings['model']} of width {settings['width']}, "
        f"seed {settings['seed']}: {record['status']}[/]"
    )
    if record["history"]:
        last = record["history"][-1]
        train = ", ".join(f"{subset} {value:.2f}%" for subset, value in last["train_error"].items())
        yield f"Epoch {last['epoch']}: test error {last['test_error']:.2f}%; training error {train}"
    if record["volumes"]:
        table = Table("points", "size", "accuracy", "crossentropy", "Jacobian norm", "Hessian norm")
        for row in sorted(record["volumes"], key=lambda r: (r["subset"], r["size"])):
            means = (f"{row[metric]['mean']:.4g}" for metric in store.VOLUME_METRICS)
            table.add_row(row["subset"], str(row["size"]), *means)
        yield table
        yield "Size: augmentations per path; 0 is the point itself."
    changes = ", with changes" if origin["dirty"] else ""
    yield (
        f"{data['n_train']:,} training images, {data['n_corrupted']:,} with a wrong label; {store.describe_data(record)}\n"
        f"{origin['device_name']}, {origin['threads']} thread(s), {origin['precision']}, "
        f"{duration(cost.seconds(record))}; commit {(origin['commit'] or 'unknown')[:12]}{changes}"
    )


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
