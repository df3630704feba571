"""The workers of a host: which run goes where, what is shown of it, and what a dying worker leaves."""

import collections
import os
import signal
import time

import pytest
import torch

from smooth_interpolation import config
from smooth_interpolation.cli import display
from smooth_interpolation.runs import cost, resources, single, store, sweep, watching, work

TINY = {
    "n_train": 160, "n_test": 40, "batch_size": 64, "epochs": 20, "n_evaluations": 2, "n_clean_points": 4,
    "n_noisy_points": 4, "strengths": [5, 20], "n_paths": 1, "n_tangents": 1,
}  # fmt: skip
TWO_GPUS = torch.cuda.is_available() and torch.cuda.device_count() > 1


def tiny(**changes):
    return config.find("demo", "convnet-noise20", {**TINY, **changes})


def dealt(todo, slots, workers="ab"):
    """Who gets what, in turn."""
    queue = cost.Queue(cost.relative(todo, [], "cuda"))
    loads = {worker: {} for worker in workers}
    return queue, loads, list(queue.deal(loads, slots))


def test_the_longest_runs_are_first_and_who_has_least_to_do_gets_the_next():
    todo = tiny(widths=[1, 2, 4, 8, 16, 32, 64], seeds=[0, 1, 2]).runs()
    queue, loads, order = dealt(todo, 16)
    assert not queue.waiting and [run.width for _, run in order[:2]] == [64, 32]
    assert sum(loads["a"].values()) == pytest.approx(sum(loads["b"].values()), rel=0.05)
    owners = collections.defaultdict(set)
    for worker, run in order:
        owners[run.width].add(worker)
    assert sum(len(who) > 1 for who in owners.values()) <= 2  # split only as the queue runs low
    assert owners[64] == {"a"} and len(owners[32]) == 1


def test_the_next_run_goes_to_who_is_done():
    todo = tiny(widths=[1, 2, 4, 8], seeds=[0, 1]).runs()
    queue, loads, order = dealt(todo, 1)
    assert [(worker, run.width) for worker, run in order] == [("a", 8), ("b", 4)]
    assert list(queue.deal(loads, 1)) == []
    given = []
    for done in "bbbbb":
        loads[done].clear()
        given += [(worker, run.width, run.seed) for worker, run in queue.deal(loads, 1)]
    assert given == [("b", 4, 1), ("b", 2, 0), ("b", 2, 1), ("b", 1, 0), ("b", 1, 1)]  # its own, then nobody's
    loads["b"].clear()
    assert [run.width for _, run in queue.deal(loads, 1)] == [8] and not queue.waiting  # then another's


def test_one_width_alone_is_shared_by_all():
    todo = tiny(widths=[4], seeds=[0, 1, 2, 3]).runs()
    _, loads, _ = dealt(todo, 16)
    assert [len(load) for load in loads.values()] == [2, 2]


def test_runs_without_predicted_costs_go_in_the_order_given(tmp_path):
    todo = [tiny(epochs=1).run(width, seed) for width, seed in ((2, 0), (2, 1), (1, 0))]
    events = []
    sweep.sweep(todo, workers=1, root=tmp_path, device="cpu", watch=lambda *event: events.append(event))
    assert [run for run, kind, content in events if kind == "status" and content.stage == "start"] == todo


def _record(width, seconds, **origin):
    origin = {"device": "cuda", "threads": 1, "wall_s": {"train": seconds}, **origin}
    return {"status": "complete", "config": {"width": width}, "provenance": origin}


def test_costs_are_told_by_networks_that_trained_alone():
    todo = tiny(widths=[1, 2, 4]).runs()
    beside = [_record(1, 10.0, side_by_side=8.0), _record(4, 10.0, at_once=16)]
    assert cost.relative(todo, beside, "cuda") == cost.relative(todo, [], "cuda")
    alone = [_record(1, 10.0, side_by_side=1.0), _record(4, 40.0, side_by_side=1.0)]
    assert list(cost.relative(todo, alone, "cuda").values()) == pytest.approx([10, 20, 40])
    for device in ("cpu", "cuda"):
        assert sorted(cost.relative(todo, [], device).values()) == list(cost.relative(todo, [], device).values())


def test_two_pretended_gpus_do_a_sweep_together(tmp_path):
    todo = tiny(widths=[1, 2, 3], seeds=[0, 1]).runs()
    events = []
    costs = cost.relative(todo, [])
    outcome = sweep.sweep(
        todo, devices=["cpu", "cpu"], costs=costs, root=tmp_path, watch=lambda *event: events.append(event)
    )
    assert sorted(outcome.complete, key=todo.index) == todo and not outcome.failed and not outcome.left
    begun = [run for run, kind, content in events if kind == "status" and content.stage == "start"]
    assert [run.width for run in begun[:2]] == [3, 2] and sorted(begun, key=todo.index) == todo
    two = [next(i for i, event in enumerate(events) if event[0] == run and event[1] != "status") for run in begun[:2]]
    third = next(i for i, event in enumerate(events) if event[0] == begun[2])
    assert third > min(two)  # as soon as one was done, not in shares fixed before
    assert {content.device for _, kind, content in events if kind == "status"} == {"cpu"}
    processes = {store.read(run, tmp_path)["provenance"]["peak_memory_mib"]["process"] for run in todo}
    assert processes
    for run in todo[:2]:
        assert store.read(run, tmp_path)["volumes"] == single.run(run, device="cpu")["volumes"]


def _holder(run, root):
    """The process that does a run, as its status file says."""
    directory = store.path_of(run, root).parent
    return next(
        (found.pid for found in watching.under_way(directory) if (found.width, found.seed) == (run.width, run.seed)),
        None,
    )


def test_a_dying_worker_takes_only_what_it_had_begun(tmp_path):
    todo = tiny(widths=[1, 2, 3, 4], seeds=[0, 1], epochs=40).runs()
    killed = []

    def kill_once(run, kind, content):
        if not killed and run.width == 4 and kind == "status" and content.stage == "train":
            killed.append(run)
            os.kill(_holder(run, tmp_path), signal.SIGKILL)

    outcome = sweep.sweep(todo, devices=["cpu", "cpu"], costs=cost.relative(todo, []), root=tmp_path, watch=kill_once)
    assert [run for run, _ in outcome.failed] == killed and "ended with code -9" in outcome.failed[0][1]
    assert sorted(outcome.complete, key=todo.index) == [run for run in todo if run not in killed]


def test_another_takes_the_place_of_a_worker_that_died(tmp_path):
    todo = tiny(widths=[1, 2, 3]).runs()

    def kill(run, kind, content):
        if kind == "status" and content.stage == "train" and _holder(run, tmp_path):
            os.kill(_holder(run, tmp_path), signal.SIGKILL)

    outcome = sweep.sweep(todo, devices=["cpu"], root=tmp_path, device="cpu", watch=kill)
    assert {run for run, _ in outcome.failed} == set(todo) and "ended with code -9" in outcome.failed[-1][1]


def test_the_gpu_of_a_run_is_shown(tmp_path, monkeypatch):
    run = tiny().run(2, 0)
    path = store.lock_path(run, tmp_path)
    path.parent.mkdir(parents=True)
    lock = watching.locks.acquire(path, watching.locks.Observer())
    watching.StatusFile(run, tmp_path, "processes", "cuda:1")
    (found,) = watching.under_way(store.path_of(run, tmp_path).parent)
    lock.release()
    assert found.device == "cuda:1" and display._row(found)[-1].startswith("cuda:1 of ")


def test_a_run_that_is_half_done_costs_half(tmp_path):
    run, whole = tiny(epochs=10).run(2, 0), tiny(epochs=10).run(2, 1)
    asked = iter([False] * 15)  # 3 an epoch
    with pytest.raises(KeyboardInterrupt):
        work.do([run], work.Options(root=tmp_path, device="cpu"), stop=lambda: next(asked, True))
    costs = display.costs([run, whole], [], "cpu", tmp_path)
    assert 0.4 < costs[run] / costs[whole] < 0.8


def test_devices_are_those_that_are_visible(monkeypatch):
    monkeypatch.setattr(resources, "choose", lambda name: torch.device("cuda" if name == "auto" else name))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert resources.named() == resources.named("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert resources.named("cuda:1") == ["cuda:1"] and resources.named("cpu") == ["cpu"]


@pytest.mark.skipif(not TWO_GPUS, reason="there are no two GPUs")
def test_two_gpus_share_a_sweep(tmp_path):
    experiment = tiny(widths=[2, 4, 8, 16], seeds=[0, 1, 2], n_train=1000, epochs=60)
    where, ended = {}, {}

    def watch(run, kind, content):
        if kind == "status":
            where[run] = content.device
        else:
            ended[where[run]] = time.monotonic()

    begun = time.monotonic()
    outcome = sweep.sweep(experiment.runs(), devices=resources.named(), at_once=4, root=tmp_path, watch=watch)
    assert len(outcome.complete) == 12 and not outcome.failed
    assert {"cuda:0", "cuda:1"} <= set(where.values())
    assert abs(ended["cuda:0"] - ended["cuda:1"]) < 0.5 * (max(ended.values()) - begun)
    assert all(store.read(run, tmp_path)["provenance"]["device"] == "cuda" for run in experiment.runs())
