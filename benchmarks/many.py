"""Ten thousand records into tables, and the status of ten thousand planned runs: seconds, each in a new process."""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smooth_interpolation import config, locations
from smooth_interpolation.runs import record_format, store, tables

BOUNDS = {"load": 5.0, "status": 3.0}  # seconds that the two may take


def many(quick: bool) -> list[dict[str, Any]]:
    """Wall and processor seconds: of reading, verifying and tabulating records, and of `smooth-interpolation status`."""
    side, repetitions = (10, 1) if quick else (100, 3)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        params = _params(directory, side)
        size = _make_records(params, directory / "results")
        cases = {
            "load": [sys.executable, "-m", "benchmarks.many", str(params), str(directory / "results")],
            "status": [
                *(sys.executable, "-m", "smooth_interpolation.cli", "status", str(params)),
                *("--results", str(directory / "none")),
            ],
        }
        for case, command in cases.items():
            found = [_seconds(command, case) for _ in range(repetitions)]
            wall, processor = (statistics.median(values) for values in zip(*found, strict=True))
            rows.append({"case": case, "runs": side**2, "bound_s": BOUNDS[case], "wall_s": wall, "cpu_s": processor})
            rows[-1] |= {"load": os.getloadavg()[0], "cores": len(os.sched_getaffinity(0))}
            rows[-1] |= {"bytes": size} if case == "load" else {}
            print(f"many, {case}: {side**2:,} runs in {wall:.2f} s, {processor:.2f} s of the processor", flush=True)
    return rows


def _params(directory: Path, side: int) -> Path:
    text = locations.params_file("demo", "convnet-noise20").read_text()
    for field, values in (("widths", range(1, side + 1)), ("seeds", range(side))):
        text = re.sub(rf"(?m)^{field}:.*$", f"{field}: {list(values)}", text)
    path = directory / "many.yaml"
    path.write_text(text)
    return path


def _make_records(params: Path, root: Path) -> int:
    """Copies of the demo's records, each under a configuration of its own; their bytes."""
    measured = [store.read(run) for run in config.find("demo", "convnet-noise20", {"seeds": [0]}).runs()]
    models = [record for record in measured if record]
    size = 0
    for i, run in enumerate(config.load(params).runs()):
        record = models[i % len(models)] | {"config": run.model_dump(mode="json"), "digest": run.digest}
        path = store.path_of(run, root)
        path.parent.mkdir(parents=True, exist_ok=True)
        size += path.write_bytes(record_format.encode(record))  # not durably: 10,000 times would take minutes
    return size


def _seconds(command: list[str], case: str) -> tuple[float, float]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    output = subprocess.run(command, cwd=locations.repository(), check=True, capture_output=True, text=True).stdout
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if case == "load":  # it tells what it took without the start of Python
        return tuple(json.loads(output))
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def _load(params: Path, root: Path) -> None:
    records = store.read_all(config.load(params).runs(), root)
    assert len(tables.volumes_table(records)) and len(tables.history_table(records))


if __name__ == "__main__":
    print(json.dumps(_timed(lambda: _load(Path(sys.argv[1]), Path(sys.argv[2])))))
