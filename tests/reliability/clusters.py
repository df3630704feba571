"""Reliability: workers, nodes and drivers of a Ray cluster that die in mid-sweep, and memory that runs out.

The cluster is one of this machine alone, on its loopback address.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from smooth_interpolation import config
from smooth_interpolation.config import Run
from smooth_interpolation.runs import cluster, locks, ray_engine, store, sweep, work
from smooth_interpolation.runs.ray_engine import _task
from smooth_interpolation.train import evaluation

from .scenarios import Count, count, scenario

PATIENCE = 600.0  # seconds, also on a busy machine
NODE = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": 80 * 2**20, "node_ip_address": "127.0.0.1"}
HEAD = {**NODE, "include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback alone, on every system
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # keeps others out; Ray remembers the first that it sees
    "RAY_worker_niceness": "0",
    "RAY_prestart_worker_first_driver": "0",  # tasks have an environment of their own and would not use them
    "RAY_health_check_period_ms": "1000",  # a dead node is noticed in seconds
    "RAY_health_check_failure_threshold": "3",
}
FIELDS = {  # trained for long enough to be killed meanwhile, on a busy machine too
    "experiment": "tiny", "scale": "demo", "dataset": "dead_leaves", "n_train": 100, "n_test": 40, "model": "convnet",
    "optimizer": "sgd", "learning_rate": 0.01, "batch_size": 50, "epochs": 220, "n_evaluations": 4, "strengths": [5, 20],
    "n_paths": 1, "n_tangents": 1, "n_clean_points": 4, "n_noisy_points": 4, "widths": [1, 2, 3], "seeds": [0],
}  # fmt: skip


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """Of Ray, for as long as it lasts."""
    path = os.pathsep.join(sys.path)  # workers import this module by the name that it has here
    with mock.patch.dict(os.environ, {**SETTINGS, "PYTHONPATH": path}):
        cluster.require(alone=True)
        yield


@contextlib.contextmanager
def local_cluster() -> Iterator[Any]:
    """A head and another node, of one core each."""
    with settings():
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args=HEAD)
        session = made.head_node.get_session_dir_path()
        try:
            made.add_node(**NODE)
            yield made
        finally:
            made.shutdown()
            shutil.rmtree(session, ignore_errors=True)


class Driver:
    """A sweep on a cluster, in a process of its own; what is done to it happens while it is watched."""

    def __init__(self, params: Path, root: Path, address: str):
        self.todo, self.root = config.load(params).runs(), root
        self.seen: dict[Run, set[tuple[int, int]]] = {run: set() for run in self.todo}
        self.harmed: set[int] = set()
        self.arguments = [str(params), str(root), address]
        self.start()

    def start(self) -> None:
        code = f"import sys; from {__package__} import clusters; clusters.drive(*sys.argv[1:])"
        path = os.pathsep.join(sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *self.arguments],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )

    def until(self, condition: Callable[[], Any]) -> Any:
        """What the condition gives once it is true; None if the sweep ended before."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                kill(self.process.pid)
                raise TimeoutError(f"nothing for {PATIENCE:.0f} seconds from the sweep in {self.root}")
            self._look()
            if found := condition():
                return found
            time.sleep(0.005)
        self._look()
        return None

    def worker(self, of: Any = None) -> int | None:
        """A process, of a node or of any, that was not harmed yet, has trained a while, and has written no record."""
        for run in self.todo:
            record = store.path_of(run, self.root)
            steps = [int(path.suffixes[0][1:]) for path in record.parent.glob(f".work/{record.stem}.*.safetensors")]
            with contextlib.suppress(OSError, ValueError):
                found = locks.look(store.lock_path(run, self.root))
                pid = found[0].pid if found and max(steps, default=0) > 10 else 0
                if pid and pid not in self.harmed and (of is None or _parent(pid) == _raylet(of)):
                    self.harmed.add(pid)
                    return pid
        return None

    def end(self) -> list[list[str]]:
        """Its answer: what became of each run that it did."""
        self.until(lambda: False)
        output, _ = self.process.communicate()
        return json.loads(output.splitlines()[-1])

    def once(self, run: Run) -> bool:
        return len(self.seen[run]) == 1

    def _look(self) -> None:
        for run, seen in self.seen.items():
            with contextlib.suppress(FileNotFoundError):
                found = store.path_of(run, self.root).stat()
                seen.add((found.st_ino, found.st_mtime_ns))


def drive(params: str, root: str, address: str) -> None:
    """The body of a `Driver`."""
    todo = sweep.plan(config.load(params), Path(root), "cpu")
    outcome = ray_engine.run_sweep(
        todo, address=address, root=Path(root), device="cpu", gpus_per_run=0.25, checkpoint_epochs=1
    )
    kinds = {kind: getattr(outcome, kind) for kind in ("complete", "diverged", "failed", "skipped")}
    print(json.dumps([[kind, str(run)] for kind, runs_ in kinds.items() for run in runs_]), flush=True)


def kill(pid: int | None) -> None:
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _raylet(node: Any) -> int:
    """The process by which Ray runs a node."""
    return int(node.all_processes["raylet"][0].process.pid)


def planned(directory: Path, **changes: Any) -> tuple[Path, dict[Run, Any]]:
    """A params file, and what the serial engine finds for each of its runs."""
    path = directory / "tiny.yaml"
    path.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in {**FIELDS, **changes}.items()))
    return path, _serial(tuple(config.load(path).runs()))


@functools.cache
def _serial(todo: tuple[Run, ...]) -> dict[Run, Any]:
    with tempfile.TemporaryDirectory() as root:
        sweep.serial(todo, root=Path(root), device="cpu")
        return {run: found(run, Path(root)) for run in todo}


def found(run: Run, root: Path) -> Any:
    """What a record says, apart from its origin."""
    record = store.read(run, root)
    return record and {name: value for name, value in record.items() if name != "provenance"}


def tidy(root: Path) -> bool:
    """Whether nothing but records is left, and the mark of the place."""
    left = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".json"]
    return all(path.name.startswith(".place-") for path in left)


@scenario(
    "Two workers and a whole node of a Ray cluster die in mid-sweep: every run has one record, the serial engine's"
)
def workers_and_a_node_die(directory: Path, quick: bool) -> Count:
    with local_cluster() as made:
        return deaths_of_workers(made, directory, quick)


def deaths_of_workers(made: Any, directory: Path, quick: bool) -> Count:
    """In a cluster that is there, and is then whole again."""
    held = []
    for i in range(1 if quick else 3):
        here = directory / str(i)
        here.mkdir()
        params, expected = planned(here)
        driver = Driver(params, here / "ray", made.address)
        [node] = made.worker_nodes
        kill(driver.until(driver.worker))
        driver.until(lambda: driver.worker(of=node))  # noqa: B023
        made.remove_node(node, allow_graceful=False)
        kill(driver.until(driver.worker))
        said = driver.end()
        held += [
            said.count(["complete", str(run)]) == 1 and driver.once(run) and found(run, driver.root) == expected[run]
            for run in driver.todo
        ]
        held.append(tidy(driver.root) and len(driver.harmed) == 3)
        made.add_node(**NODE)
    return count(held)


@scenario("The driver of a sweep on Ray is killed and started again: what was done is not done again, the rest is")
def driver_is_killed(directory: Path, quick: bool) -> Count:
    with local_cluster() as made:
        return deaths_of_a_driver(made, directory, quick)


def deaths_of_a_driver(made: Any, directory: Path, quick: bool) -> Count:
    """In a cluster that is there."""
    held = []
    for i in range(1 if quick else 3):
        here = directory / str(i)
        here.mkdir()
        params, expected = planned(here)
        driver = Driver(params, here / "ray", made.address)
        driver.until(lambda: any(driver.seen.values()) and driver.worker())  # noqa: B023
        kill(driver.process.pid)
        driver.process.communicate()
        driver.start()
        said = [run for kind, run in driver.end() if kind == "complete"]
        held += [driver.once(run) and found(run, driver.root) == expected[run] for run in driver.todo]
        rest = [run for run in driver.todo if str(run) in said]
        held.append(0 < len(rest) < len(driver.todo) and len(said) == len(rest) and tidy(driver.root))
    return count(held)


@scenario(
    "Runs on Ray run out of memory, by Python's account and by Ray's, and go on with more; what another try would not "
    "mend fails once, with a reason; none stops another"
)
def what_goes_wrong_in_a_worker(directory: Path, quick: bool) -> Count:
    held = []
    with settings(), mock.patch.object(ray_engine, "_task", _troubled):
        for i in range(1 if quick else 3):
            here = directory / str(i)
            here.mkdir()
            _, expected = planned(here, epochs=4)
            root = here / "ray"
            outcome = ray_engine.run_sweep(
                list(expected), address="local", memory_per_run=10**8, root=root, device="cpu"
            )
            reasons = dict(outcome.failed)
            for run, record in expected.items():
                asked = json.loads(f"[{_memory_asked(root, run).read_text().strip(', ')}]")
                if run.width == 1:
                    again = asked == [10**8, 2 * 10**8, 4 * 10**8] and outcome.complete.count(run) == 1
                    held.append(again and found(run, root) == record)
                else:
                    told = {2: "all nodes share", 3: "ZeroDivisionError"}[run.width] in reasons.get(run, "")
                    held.append(told and asked == [10**8])
    return count(held)


def _memory_asked(root: Path, run: Run) -> Path:
    return root.parent / f"{run.path.stem}.memory"


def _troubled(run: Run, options: work.Options, token: Path) -> tuple[str, Any]:
    """A worker that runs out of memory at its first two tries, or does not see the results, or has a mistake in its code."""
    import ray

    assert options.root
    asked = _memory_asked(options.root, run)
    with open(asked, "a") as file:
        file.write(f"{int(ray.get_runtime_context().get_assigned_resources()['memory'])}, ")
    tries = asked.read_text().count(",")
    if run.width == 2:
        return _task(run, options, token.with_name("elsewhere"))
    if run.width == 1 and tries == 1:
        raise ray.exceptions.OutOfMemoryError("as Ray says it of a worker that it ended")
    error = MemoryError if run.width == 1 else ZeroDivisionError
    if run.width == 3 or tries == 2:
        with mock.patch.object(evaluation.Evaluator, "volumes", side_effect=error("a made-up one")):
            return _task(run, options, token)
    return _task(run, options, token)
