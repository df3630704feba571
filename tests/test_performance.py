"""Benchmarks: that they compare equal work, and what is made of their files."""

import functools
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import torch
from benchmarks import baseline, cpu, flops, gpu, step, timing
from matplotlib import pyplot as plt

from smooth_interpolation import config, figures, locations
from smooth_interpolation.book import performance, predictions
from smooth_interpolation.errors import RecordError
from smooth_interpolation.runs import cost
from smooth_interpolation.train import models

COMMITTED = locations.repository() / "benchmarks" / "results"


def test_the_gpus_benchmark_needs_no_jupyter_and_names_variants_as_the_book_does():
    assert (step.BEFORE, step.AFTER) == (performance.BEFORE, performance.AFTER)
    blocked = "import sys; sys.modules['IPython'] = sys.modules['matplotlib'] = None; import benchmarks.gpu"
    subprocess.run([sys.executable, "-c", blocked], check=True, cwd=locations.repository())


@pytest.mark.parametrize("width", [1, 5, 16])
def test_operations_of_a_convnet(width):
    macs = 1024 * 27 * width + 3 * 1024 * 18 * width**2 + 80 * width  # stages 2-4 cost the same
    first = 1024 * 27 * width  # whose input needs no gradient in training
    assert flops.count(models.ConvNet(width)) == (2 * macs, 4 * macs, 2 * (3 * macs - first))


def test_counting_leaves_the_network_alone():
    network = models.ResNet18(1).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    flops.count(network)
    assert network.training and all(p.requires_grad and p.grad is None for p in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("section", ["ceilings", "training", "measuring", "cost", "profile", "float32", "many"])
def test_every_part_of_the_benchmark_runs(section):
    """Each asserts first that baseline and library agree."""
    result = cpu.SECTIONS[section](True)
    assert result and json.loads(json.dumps(timing.rounded(result)))


def test_shares_of_a_profile_add_up():
    for widths in performance.Benchmarks("cpu")["profile"].values():
        for shares in widths.values():
            assert sum(shares.values()) == pytest.approx(1, abs=1e-2) and shares["convolutions"] > 0.2


def test_a_baseline_that_computes_something_else_is_noticed(monkeypatch):
    monkeypatch.setattr(baseline.Anchors, "erase", staticmethod(lambda image, strength, path: image))
    with pytest.raises(AssertionError):
        cpu.measuring_rates(True)


def test_the_benchmark_for_gpus_compares_with_eager_steps(without_codegen):
    errors = gpu.check("cpu", True)
    assert 0 < errors["float64, convnet, adam, compiled, as one"] < 1e-6
    assert {name.split(", ")[0] for name in errors} == set(gpu.TOLERANCE)
    for wrong in (
        "measures, convnet, jacobian_norm",
        "float64, resnet18, sgd, compiled, as one",
        "bf16, convnet, adam, compiled",
    ):
        for size in (2.0, float("nan")):
            with pytest.raises(SystemExit, match=f"Wrong on this device: {wrong} is off"):
                gpu.judge({**errors, wrong: size})


def run_benchmark(monkeypatch, directory, *arguments):
    monkeypatch.setattr("sys.argv", ["gpu", "--device", "cpu", "--quick", "--output", str(directory), *arguments])
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # put back afterwards
    gpu.main()
    return json.loads((directory / "gpu-quick.json").read_text())


def test_parts_for_several_gpus_are_merged(tmp_path, monkeypatch, without_codegen):
    monkeypatch.setattr(step, "together", lambda width: 4)
    run_benchmark(monkeypatch, tmp_path, "--only", "step", "--widths", "2")
    parts = run_benchmark(monkeypatch, tmp_path, "--only", "step", "--widths", "1")
    assert list(parts) == ["step, w = 2", "step, w = 1"] and all(part["origin"]["torch"] for part in parts.values())
    rows = OnGpu(parts)["step"]
    assert {row["width"] for row in rows} == {1, 2} and {row["networks"] for row in rows} == {4, 3, 1}
    assert all(row["ratio"]["median"] > 0 and row["compile_s"] >= 0 for row in rows)
    whole = run_benchmark(monkeypatch, tmp_path, "--only", "precisions", "--widths", "4")
    assert {row["precision"] for row in OnGpu(whole)["precisions"]} == {"fp32", "tf32"}
    gpu.keep("step", parts["step, w = 1"], True, tmp_path)
    assert set(timing.read("gpu-quick", tmp_path)) == {"step", "precisions, w = 4"}


@pytest.mark.long
def test_two_processes_share_a_sweep_in_the_benchmark():
    found = step.hosts("cpu", True)
    assert found["runs"] == 2 and found["share"] == pytest.approx(found["two_s"] / found["one_s"])


def test_the_least_bytes_are_those_of_the_convolutions():
    values = 1024 * 3 + 1024 * 6 + 256 * 12 + 64 * 24  # of a ConvNet of width 3
    assert step.least_bytes(models.ConvNet(3)) == 8 * values


def test_ratios_are_taken_within_each_repetition():
    assert timing.ratio([2.0, 4.0, 9.0], [1.0, 1.0, 3.0]) == {"median": 3.0, "min": 2.0, "max": 4.0}
    assert timing.rate(6, [1.0, 2.0, 3.0]) == {"median": 3.0, "min": 2.0, "max": 6.0}
    calls = []
    timing.alternate({name: lambda n=name: calls.append(n) for name in "ab"}, 2)
    assert "".join(calls) == "ababab"


def test_committed_files_were_measured_by_committed_code():
    for name in performance.HARDWARE:
        for section, origin in performance.Benchmarks(name).origins.items():
            assert origin["dirty"] is False and len(origin["commit"]) == 40, (name, section)


def test_a_missing_file_is_one_sentence(monkeypatch, tmp_path):
    (tmp_path / "params").mkdir()
    monkeypatch.setattr(locations, "repository", lambda: tmp_path)
    with pytest.raises(RecordError, match="python -m benchmarks.gpu makes it"):
        performance.Benchmarks("gpu")


def test_an_origin_without_a_commit_is_unknown(monkeypatch, tmp_path):
    places = {"commit": None, "device_name": "a processor", "torch": "2.9.1", "measured": "2026-11-01"}
    content = {"training": {"origin": places, "result": []}, "measuring": {"origin": places | {"commit": "0123456789"}}}
    path = tmp_path / "benchmarks" / "results" / "cpu.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    monkeypatch.setattr(locations, "repository", lambda: tmp_path)
    assert performance.Benchmarks("cpu").origin().endswith("; PyTorch 2.9.1; commit 0123456, unknown.")


def test_exponents_are_slopes_of_the_logarithms():
    assert performance.exponent([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2)


class Made(performance.Benchmarks):
    """100 images and 1 point a second at every width."""

    name = "cpu"

    def __init__(self):
        speed = {"median": 100.0}, {"median": 1.0}
        self._sections = {
            section: {"result": [{"width": width, "library": rate} for width in (1, 64)]}
            for section, rate in zip(("training", "measuring"), speed, strict=True)
        }


def test_predicted_hours_add_up():
    experiment = config.find(
        "laptop", "convnet-noise20", {"widths": [1, 8], "seeds": [0], "epochs": 9, "n_evaluations": 1}
    )
    hours = predictions.predicted_hours(experiment, Made())
    assert hours["training"] == pytest.approx(2 * 9 * 4000 / 100 / 3600)
    gradients = 14_000 / 2 + 500 * 5 + 500 * 5 * 25  # errors, points at the last epoch, volumes
    assert hours["measuring"] == pytest.approx(2 * gradients / 125 / 3600)
    wider = config.find("laptop", "convnet-noise20", {"widths": [128], "seeds": [0], "epochs": 9})
    assert predictions.predicted_hours(wider, Made())["training"] == pytest.approx(4 * 9 * 4000 / 100 / 3600)


class OnGpu(performance.Benchmarks):
    """Sections as a file holds them."""

    name = "gpu"

    def __init__(self, sections):
        self._sections = sections
        self.origins = {section: content["origin"] for section, content in sections.items()}


def made_on_gpu(device="a GPU"):
    """A step of 1,000 images a second, twice as fast as before; half as fast in float32, and one network alone."""

    def row(width, n, variant, rate, precision="bf16", family="convnet"):
        ratio = {"median": rate / 500.0, "min": 1.9, "max": 2.1}
        speed = {"median": rate, "min": rate, "max": rate}
        return {
            **{"family": family, "width": width, "networks": n, "precision": precision, "variant": variant},
            **{"images_per_s": speed, "ratio": ratio, "compile_s": 9.0, "flop_per_s": 1e12, "bytes_per_s": 1e9},
        }

    rows = {
        width: [row(width, n, variant, rate / (1 + (n == 1))) for n in (8, 3, 1)
                for variant, rate in ((performance.BEFORE, 500.0), (performance.AFTER, 1000.0))]
        for width in (1, 64)
    }  # fmt: skip
    precisions = [row(w, 8, performance.AFTER, 500.0, p) for w in (1, 64) for p in ("tf32", "fp32")]
    measuring = [
        {"width": w, "points_per_s": {"median": 8.0}, "layout": "channels last", "chunk": None} for w in (1, 64)
    ]
    limits = {"matrix product, bf16, FLOP/s": 1e14, "matrix product, float32, FLOP/s": 1e13, "copy, bytes/s": 1e12}
    sections = {
        "ceilings": limits, "step, w = 1": rows[1], "step, w = 64": rows[64], "precisions": precisions,
        "measuring": measuring, "hosts": {"runs": 12, "one_s": 100.0, "two_s": 55.0, "share": 0.55},
    }  # fmt: skip
    origin = {"device_name": device, "commit": "a" * 40, "torch": "2", "measured": "2026-01-01"}
    return OnGpu({name: {"origin": origin, "result": result} for name, result in sections.items()})


def test_before_and_after_with_the_share_of_the_limits():
    found = made_on_gpu()
    table = performance.steps(found)
    assert list(table.index) == [("convnet", n, w) for n in (8, 3, 1) for w in (1, 64)]
    first = table.iloc[0]
    assert (
        first["ratio"] == "2.0\N{NO-BREAK SPACE}(1.9\N{NON-BREAKING HYPHEN}2.1)"
        and first["captured"] == "500"
        and first["compiled"] == "-"
    )
    assert first["of the bf16 rate"] == "1%" and first["of the bandwidth"] == "0.1%" and first["compiling, s"] == "9"


def test_predicted_cost_on_several_gpus(monkeypatch, tmp_path):
    monkeypatch.setenv(locations.RESULTS_VARIABLE, str(tmp_path))
    found = made_on_gpu()
    changes = {"widths": [1, 64], "seeds": [0, 1], "epochs": 36, "n_evaluations": 1, "n_last_evaluations": 0}
    for precision, factor in (("bf16", 1), ("tf32", 2)):
        hours = predictions.predicted_hours(
            config.find("gpu", "convnet-noise20", {**changes, "precision": precision}), found
        )
        measuring = (60_000 / 2 + 2000 * 5 + 2000 * 5 * 25) / 1000 / 3600
        assert hours["training"] == pytest.approx(factor * 4 * 36 * 50_000 / 1000 / 3600)
        assert hours["measuring"] == pytest.approx(4 * measuring)
    alone = 36 * 50_000 / 500 * 8 / 3600  # in TensorFloat-32: a share of eight side by side
    assert hours["longest"] == pytest.approx(alone + measuring)
    table = predictions.gpu_cost_table(found, ("gpu",))
    assert list(table.index) == [("gpu", name) for name in predictions.EXPERIMENTS]
    one, eight = table.loc[("gpu", "convnet-noise20"), ["1 GPU", "8 GPUs"]]
    assert one.endswith("days") and eight.endswith(("h", "min", "days")) and one != eight
    assert set(table.loc[("gpu", "resnet18-noise20"), ["training", "1 GPU", "8 GPUs"]]) == {"not measured"}


def test_time_on_a_gpu_counts_once_where_runs_overlap():
    def record(device, start, end, **origin):
        day = datetime(2026, 1, 1, tzinfo=UTC)
        times = {name: (day + timedelta(seconds=s)).isoformat() for name, s in (("start", start), ("end", end))}
        return {"provenance": {"device": device, "threads": 1, "wall_s": {"train": end - start}, **times, **origin}}

    assert cost.machine_seconds([]) == 0
    overlapping = [record("cuda", 0, 100), record("cuda", 10, 60), record("cuda", 90, 130), record("cuda", 200, 210)]
    assert cost.machine_seconds(overlapping) == 140
    assert cost.machine_seconds([record("cpu", 0, 100), record("cpu", 0, 50, cpu_s=20)]) == 120
    assert cost.seconds(record("cuda", 0, 100, at_once=4)) == 25


def test_the_figures_can_be_drawn(monkeypatch, tmp_path):
    monkeypatch.setenv(locations.RESULTS_VARIABLE, str(tmp_path))
    found = performance.Benchmarks("cpu")
    for figure in (
        performance.cost_by_width(found),
        performance.cost_by_amount(found),
        performance.gpu_rates(made_on_gpu()),
    ):
        assert all(panel.get_title() and panel.get_xlabel() for panel in figure.axes)
        plt.close(figure)
    table = predictions.cost_table("convnet-noise20", found)
    assert list(table.index) == list(config.SCALES) and (table["runs"] > 0).all()


def test_what_was_paid_counts_the_runs_of_other_devices(monkeypatch):
    experiment = config.find("gpu", "convnet-noise20")
    devices = ["a GPU", "another", "a GPU"]
    made = [
        {
            "provenance": {
                "device": "cuda",
                "device_name": name,
                "start": f"2026-01-01T00:0{i}",
                "end": f"2026-01-01T00:0{i + 1}",
            }
        }
        for i, name in enumerate(devices)
    ]
    monkeypatch.setattr(predictions.store, "read_all", lambda runs: made)
    paid = functools.partial(predictions._paid, experiment, "cuda")
    assert paid("a GPU") == "3\N{NO-BREAK SPACE}min (3 of 48 runs, 1 of them on another)"
    assert paid("a GPU; another").endswith("(3 of 48 runs)") and predictions._paid(experiment, "cpu", "") == "-"
    made[:] = made[1:2]
    assert paid("a GPU").endswith("(1 of 48 runs on another)")


@pytest.mark.parametrize(
    "digits, value",
    [("0.99", 0.987), ("1.0", 1.02), ("12", 11.6), ("99", 99.4), ("100", 99.6), ("100", 101.2), ("1,200", 1246.5)],
)
def test_the_page_on_performance_has_two_significant_digits(digits, value):
    assert performance.digits(value) == digits


def test_every_figure_has_a_cost_or_says_that_it_is_unknown(monkeypatch):
    table = predictions.figure_table(performance.Benchmarks("cpu"), performance.Benchmarks("gpu"))
    assert set(table.index) == {"`fig1ab`", *(f"`{name}`" for name in figures.FIGURES)}
    assert {"`fig2-parts`", "`fig3-parts`"} <= set(table.index)
    assert table.file["`fig7b`"] == "`convnet-asymmetric.yaml`" and table.file["`fig1d`"] == "`convnet-cifar100.yaml`"
    assert (table.map(str) != "").all(axis=None) and not table.map(lambda text: "nan" in text).any(axis=None)
    monkeypatch.setattr(predictions, "_paid", lambda experiment, kind, hardware: "-")
    monkeypatch.setattr(
        predictions, "predicted_hours", lambda *_: dict.fromkeys(("training", "measuring", "longest"), float("nan"))
    )
    table = predictions.figure_table(performance.Benchmarks("cpu"), performance.Benchmarks("gpu"))
    assert set(table.drop(index="`fig1ab`").iloc[:, 2:].to_numpy().flat) == {"unknown"}
