"""Ray as the engine beyond one machine: what dies is made up for, by the same code path; the examples of a cluster."""

import contextlib
import os
import shlex
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import torch
import typer.main
import yaml
from reliability import clusters

from smooth_interpolation import cli, config, locations
from smooth_interpolation.cli import options
from smooth_interpolation.errors import ConfigError
from smooth_interpolation.measure import foreign
from smooth_interpolation.runs import cluster, locks, ray_engine, resources, store, work
from smooth_interpolation.runs.cluster import Request
from smooth_interpolation.runs.watching import Outcome

PARAMS = "params/demo/convnet-noise20.yaml"
SHARE = "it must be a share of one GPU, from 0 to 1"


def test_what_is_promised_of_a_cluster_holds(tmp_path):
    """One cluster for both: it starts slowly."""
    with clusters.local_cluster() as made:
        for happens in (clusters.deaths_of_workers, clusters.deaths_of_a_driver):
            (tmp_path / happens.__name__).mkdir()
            found = happens(made, tmp_path / happens.__name__, True)
            assert found.tried > 0 and found.held == found.tried


def test_what_is_promised_of_workers_holds(tmp_path):
    found = clusters.what_goes_wrong_in_a_worker(tmp_path, True)
    assert found.tried > 0 and found.held == found.tried


def test_a_request_that_no_node_meets_is_one_sentence():
    living = {"Alive": True, "Resources": {"CPU": 4.0, "memory": 8e9}}
    ray = types.SimpleNamespace(nodes=lambda: [living, {"Alive": False, "Resources": {"CPU": 4.0, "memory": 1e15}}])
    cluster.wait_for_room(ray, Request(memory=8 * 10**9), patience=0)
    with pytest.raises(ConfigError, match="No node of the cluster has what a run asks for .a core and 9 GB of memory"):
        cluster.wait_for_room(ray, Request(memory=9 * 10**9), patience=0)


def test_without_ray_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"^--engine ray needs Ray: pip install 'smooth-interpolation\[cluster\]'\.$"):
        ray_engine.run_sweep([], root=tmp_path)


def test_the_other_engines_do_not_load_ray():
    code = "import sys, smooth_interpolation.runs.sweep, smooth_interpolation.runs.ray_engine; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_no_cluster_at_an_address_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="127.0.0.1:1: no cluster answers there"):
        ray_engine.run_sweep([], address="127.0.0.1:1", root=tmp_path)


@pytest.mark.parametrize(
    "text, size",
    [("2GB", 2 * 10**9), ("500 MB", 5 * 10**8), ("1.5GiB", 3 * 2**29), ("4096", 4096), ("7k", 7000), ("2Gi", 2**31)],
)
def test_sizes(text, size):
    assert options.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e9", "2 XB", "0GB", "9" * 100])
def test_sizes_that_are_none(text):
    with pytest.raises(ConfigError, match="--memory-per-run"):
        options.parse_bytes(text)


def test_what_fits_on_a_node():
    node = {"CPU": 16.0, "GPU": 2.0, "memory": 64e9}
    assert Request().fits(node) == 16
    assert Request(gpus=0.25).fits(node) == 8 and Request(gpus=0.3).fits(node) == 6
    assert Request(memory=10 * 10**9).fits(node) == 6
    assert Request(gpus=0.1).fits({"CPU": 16.0}) == 0
    assert Request(gpus=0).fits({"CPU": 3.0}) == 3
    for gpus in (-0.1, 1.5, 2, float("nan")):
        with pytest.raises(ConfigError, match=f"--gpus-per-run is {gpus:g}: {SHARE}"):
            Request(gpus=gpus)


def test_after_memory_ran_out_more_is_asked_but_no_more_than_there_is():
    nodes = [{"memory": 16e9}, {"memory": 64e9}]
    assert Request(memory=10 * 10**9).more("memory", nodes).memory == 20 * 10**9
    assert Request(memory=40 * 10**9).more("memory", nodes).memory == 64 * 10**9
    assert Request().more("memory", nodes).memory == 16 * 10**9
    assert Request(gpus=0.25).more("gpu memory", nodes).gpus == 0.5
    assert Request(gpus=0.75).more("gpu memory", nodes).gpus == 1.0


def test_why_a_task_has_no_answer():
    ray = cluster.require(alone=True)
    for error, kind in (
        (ray.exceptions.OutOfMemoryError("killed by the node's monitor"), "memory"),
        (MemoryError(), "memory"),
        (ray.exceptions.WorkerCrashedError(), "worker"),
        (ray.exceptions.NodeDiedError("gone"), "worker"),
        (ray.exceptions.RayTaskError("f", "Traceback", ValueError("mine")).make_dual_exception_instance(), "failed"),
        (ray.exceptions.TaskUnschedulableError("never"), "failed"),
    ):
        assert cluster.cause(ray, error) == kind
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.parametrize(
    "error, kind",
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "gpu memory"),
        (MemoryError(), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), "memory"),
        (ValueError("mine"), "failed"),
    ],
)
@pytest.mark.parametrize("while_", ["training", "measuring"])
def test_memory_that_runs_out_is_told_from_other_errors(while_, error, kind, tmp_path, monkeypatch):
    def do(*_, **__):
        with foreign.in_one_sentence("The network") if while_ == "measuring" else contextlib.nullcontext():
            raise error

    monkeypatch.setattr(work, "do", do)
    run = config.load(locations.repository() / PARAMS).runs()[0]
    found, said = ray_engine._task(run, work.Options(root=tmp_path), tmp_path)
    assert found == kind and str(error) in said


@pytest.mark.parametrize(
    "words, message",
    [
        (["--engine", "rai"], "did you mean 'ray'?"),
        (["--engine", "ray", "--workers", "2"], "--workers does not go with --engine ray"),
        (["--gpus-per-run", "0.5"], "--gpus-per-run does not go with --engine processes"),
        (["--engine", "ray", "--memory-per-run", "much"], "--memory-per-run much: write a size"),
        (["--engine", "ray", "--gpus-per-run", "2"], f"--gpus-per-run is 2: {SHARE}"),
        (["--engine", "ray", "--gpus-per-run", "1.5"], f"--gpus-per-run is 1.5: {SHARE}"),
        (["--engine", "ray", "--gpus-per-run", "nan"], f"--gpus-per-run is nan: {SHARE}"),
        (["--gpus-per-run", "0"], "--gpus-per-run does not go with --engine processes"),
        (["--engine", "serial", "--gpus-per-run", "0"], "--gpus-per-run does not go with --engine serial"),
        (["--engine", "ray", "--gpus-per-run", "0", "--yes"], "--engine ray needs Ray"),
        (["--engine", "ray", "--gpus-per-run", "0", "--set", "epochs=5000"], "on one CPU thread, as 5 records"),
        (["--engine", "ray", "--device", "cpu", "--set", "epochs=5000"], "on one CPU thread, as 5 records"),
        (["--engine", "ray", "--gpus-per-run", "0.25", "--set", "epochs=99999"], "on one GPU, as"),
    ],
)
def test_options_are_checked_before_anything_starts(words, message, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    command = typer.main.get_command(cli.app)
    with pytest.raises(ConfigError) as caught:
        command.main(["sweep", PARAMS, "--results", str(tmp_path), *words], standalone_mode=False)
    assert message in str(caught.value)


# The driver, with a cluster that answers at once


class Answers:
    """In place of `ray`: each run's answers, in turn; a list of what was asked and cancelled."""

    exceptions = None

    def __init__(self, answers, interrupted=False):
        self.answers, self.interrupted = {run: list(each) for run, each in answers.items()}, interrupted
        self.flying, self.asked, self.cancelled, self.most = {}, [], [], 0

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 2.0, "memory": 8e9}}]

    def remote(self, **options):
        return lambda function: types.SimpleNamespace(options=self._options)

    def _options(self, **asked):
        self.asked.append(asked)
        return types.SimpleNamespace(remote=self._submit)

    def _submit(self, run, options, token):
        assert token.exists()
        reference = object()
        self.flying[reference] = run
        self.most = max(self.most, len(self.flying))
        return reference

    def wait(self, references, num_returns, timeout):
        if self.interrupted:
            if not self.cancelled:
                raise KeyboardInterrupt
            return [], references
        return references, []

    def get(self, reference):
        return self.answers[self.flying.pop(reference)].pop(0)

    def cancel(self, reference):
        self.cancelled.append(reference)


def driven(ray, root, kind=ray_engine._Driver, memory=0, in_flight=None):
    request = Request(memory=memory)
    driver = kind(ray, work.Options(root=root), request, in_flight, Outcome())
    return driver.drive([ray_engine._Flight(run, request) for run in ray.answers])


def tiny(n):
    return config.find("demo", "convnet-noise20", {"widths": list(range(1, n + 1))}).runs()


def test_no_more_runs_are_in_flight_than_allowed(tmp_path):
    ray = Answers({run: [("complete", None)] for run in tiny(5)})
    assert driven(ray, tmp_path, in_flight=3).complete == tiny(5)
    assert ray.most == 3
    ray = Answers({run: [("complete", None)] for run in tiny(9)})
    driven(ray, tmp_path)
    assert ray.most == 4  # twice the cores


def test_a_run_that_never_gets_further_is_given_up_and_others_go_on(tmp_path):
    first, second = tiny(2)
    ray = Answers({first: [("memory", "all of it is used")] * 9, second: [("worker", ""), ("diverged", None)]})
    outcome = driven(ray, tmp_path, memory=10**9)
    assert outcome.diverged == [second]
    [(run, reason)] = outcome.failed
    assert run == first and reason == "memory ran out, 4 times without getting further. all of it is used"
    asked = [each["memory"] for each in ray.asked if each["name"] == str(first)]
    assert asked == [10**9, 2 * 10**9, 4 * 10**9, 8 * 10**9]
    assert [each["memory"] for each in ray.asked if each["name"] == str(second)] == [10**9, 10**9]


def test_a_run_that_gets_further_each_time_is_never_given_up(tmp_path):
    class Advancing(ray_engine._Driver):
        def _look(self):
            for flight in self.flying.values():
                flight.stage = (False, flight.stage[1] + 1)

    [run] = tiny(1)
    ray = Answers({run: [("worker", ""), ("stopped", None)] * 10 + [("complete", None)]})
    assert driven(ray, tmp_path, Advancing).complete == [run]


def test_a_run_that_another_sweep_holds_is_awaited_and_then_left_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "AWAIT", 0.0)
    mine, theirs = tiny(2)
    path = store.lock_path(theirs, tmp_path)
    path.parent.mkdir(parents=True)
    lock = locks.acquire(path, locks.Observer())
    try:
        outcome = driven(Answers({theirs: [], mine: [("complete", None)]}), tmp_path)
    finally:
        lock.release()
    assert outcome.complete == [mine]
    [(run, why)] = outcome.skipped
    assert run == theirs and f"in progress on {lock.owner}" == why
    begun = Answers({theirs: [("skipped", "in progress"), ("complete", None)]})  # by a sweep that then stopped
    assert driven(begun, tmp_path).complete == [theirs]


def test_an_interrupted_driver_asks_its_runs_twice_for_a_checkpoint(tmp_path):
    ray = Answers({run: [] for run in tiny(2)}, interrupted=True)
    with pytest.raises(KeyboardInterrupt):
        driven(ray, tmp_path)
    assert len(ray.cancelled) == 4 and set(ray.cancelled) == set(ray.flying)


def test_at_the_limit_of_time_runs_are_asked_for_a_checkpoint_and_left(tmp_path):
    first, *others = tiny(3)
    until = time.monotonic() + ray_engine.GRACE + resources.SPARE + 1

    class Waiting(Answers):
        def wait(self, references, num_returns, timeout):
            time.sleep(0.2)
            done = [reference for reference in references if self.flying[reference] == first]
            return done, [reference for reference in references if reference not in done]

    ray = Waiting({first: [("complete", None)], **{run: [] for run in others}})
    driver = ray_engine._Driver(ray, work.Options(root=tmp_path), Request(), None, Outcome(), until)
    outcome = driver.drive([ray_engine._Flight(run, Request()) for run in ray.answers])
    assert outcome.complete == [first] and sorted(outcome.left, key=others.index) == others
    assert set(ray.cancelled) == set(ray.flying) and time.monotonic() < until


def test_what_went_wrong_with_a_task_is_told_in_words():
    assert cluster.told(ValueError("\x1b[36mray::f()\x1b[39m failed")) == "ray::f() failed"
    missing = cluster.told(RuntimeError("...\nModuleNotFoundError: No module named 'smooth_interpolation'"))
    assert missing.startswith("the nodes do not have this package")


# The examples of book/reproduce.md


def _example(language, first):
    text = (locations.repository() / "book/reproduce.md").read_text()
    blocks = [part.split("```")[0] for part in text.split(f"```{language}\n")[1:]]
    [block] = [block for block in blocks if block.startswith(first)]
    return block


def _check_sweep(words, directory):
    """Whether our command has these options, and takes them."""
    command = typer.main.get_command(cli.app)
    assert words[:2] == ["smooth-interpolation", "sweep"]
    context = command.commands["sweep"].make_context("sweep", words[2:])
    assert context.params["engine"] == "ray" and 0 < context.params["gpus_per_run"] <= 1
    assert context.params["params"].match("params/paper/convnet-noise20.yaml")
    assert config.load(locations.repository() / "params/paper/convnet-noise20.yaml").scale == "paper"


def test_the_slurm_example_starts_a_cluster_and_a_sweep(tmp_path):
    import ray.scripts.scripts

    script = _example("bash", "#!/bin/bash\n#SBATCH")
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    stand_ins = {
        "srun": 'for i; do shift; case $i in --*) ;; *) exec "$i" "$@";; esac; done',
        "smooth-interpolation": "",
    }
    for name, body in {**stand_ins, "ray": ""}.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/bash\necho "{name} $@" >> "$LOG"\n{body}\n')
        path.chmod(0o755)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/activate").write_text("")
    said = tmp_path / "said"
    slurm = {"SLURM_NNODES": "4", "SLURM_CPUS_PER_TASK": "16", "SLURMD_NODENAME": "node1", "LOG": str(said)}
    environment = {**slurm, "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    done = subprocess.run(["bash"], input=script + "wait\n", text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0
    lines = said.read_text().splitlines()
    assert "srun --nodes=3 --ntasks=3 --exclude=node1 ray start --address=node1:6379 --num-cpus=16 --block" in lines
    assert lines[-1] == "ray stop"
    for words in map(shlex.split, lines):
        if words[0] == "ray":  # with options that Ray has
            command = ray.scripts.scripts.cli.commands[words[1]]
            command.make_context(words[1], words[2:])
        elif words[0] == "smooth-interpolation":
            _check_sweep(words, tmp_path)


def test_the_kubernetes_example_is_a_ray_job_whose_pods_share_a_directory():
    job = yaml.safe_load(_example("yaml", "apiVersion"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    _check_sweep(shlex.split(job["spec"]["entrypoint"]), None)
    groups = job["spec"]["rayClusterSpec"]
    for group in (groups["headGroupSpec"], *groups["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        [container] = pod["containers"]
        variables = {entry["name"]: entry["value"] for entry in container["env"]}
        [mount] = container["volumeMounts"]
        assert mount["name"] == pod["volumes"][0]["name"]
        assert variables["RAY_USAGE_STATS_ENABLED"] == "0"
        for name in (locations.DATA_VARIABLE, locations.RESULTS_VARIABLE):
            assert Path(variables[name]).is_relative_to(mount["mountPath"])
        assert "/" not in container["image"]


def test_workers_are_told_the_places_of_the_driver(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(locations.DATA_VARIABLE, "images")
    variables = ray_engine._variables()
    assert variables[locations.DATA_VARIABLE] == str(tmp_path / "images") and variables["OMP_NUM_THREADS"] == "1"
    assert Path(variables[locations.CACHE_VARIABLE]).is_absolute()
    assert Path(variables[locations.RESULTS_VARIABLE]).is_absolute() and work.Options(engine="ray")
