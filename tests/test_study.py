"""A study of one's own: networks and images that are not in the library, kept weights measured again, costs known before."""

import importlib
import inspect
import sys

import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import smooth_interpolation as si
from smooth_interpolation import claims, config, locations
from smooth_interpolation.book import origins
from smooth_interpolation.cli.commands import app
from smooth_interpolation.data import dead_leaves, preparation
from smooth_interpolation.errors import ConfigError, DataError, RecordError
from smooth_interpolation.measure import volumes
from smooth_interpolation.runs import cost, resources, single, store, sweep, tables, weights
from smooth_interpolation.train import loop, models

MODELS = """
from torch import nn

def MLP(width, n_classes, image_shape):
    n = image_shape[0] * image_shape[1] * image_shape[2]
    return nn.Sequential(nn.Flatten(), nn.Linear(n, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, n_classes))

def lazy(width, n_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(n_classes))

def wrong(width, n_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(n_classes + 1))

def none(width, n_classes):
    return width

number = 3
"""
MINE = """
base: demo/convnet-noise20
scale: mine
dataset: grey
model: my_models_of_test:MLP
n_train: null
n_test: null
widths: [2, 3]
epochs: 3
n_evaluations: 3
n_last_evaluations: 0
strengths: [3, 6]
n_paths: 2
n_tangents: 2
n_clean_points: 6
n_noisy_points: 4
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Grey images of 16 x 16 pixels, a module of networks, a params file."""
    base = tmp_path_factory.mktemp("mine")
    for split, name in enumerate(("train", "test")):
        for i, (image, label) in enumerate(zip(*dead_leaves.draw(60, 10, seed=5, split=split), strict=True)):
            folder = base / "data" / "grey" / name / f"c{label}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).convert("L").resize((16, 16)).save(folder / f"{i:02}.png")
    (base / "my_models_of_test.py").write_text(MODELS)
    (base / "mine.yaml").write_text(MINE)
    return base


@pytest.fixture
def mine(place, tmp_path, monkeypatch):
    """Of these, with results and a cache of their own."""
    monkeypatch.setenv(locations.DATA_VARIABLE, str(place / "data"))
    monkeypatch.setenv(locations.RESULTS_VARIABLE, str(tmp_path / "results"))
    monkeypatch.setenv(locations.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.chdir(place)
    yield lambda **changes: config.load(place / "mine.yaml", changes)
    sys.modules.pop("my_models_of_test", None)


def untrained(monkeypatch):
    def fail(trainers, *_):
        if list(trainers):
            raise AssertionError("something is trained")
        return []

    monkeypatch.setattr(loop, "steps", fail)


def test_a_network_and_images_of_ones_own_are_a_study(mine):
    runs = si.records(None, "mine.yaml").complete()
    assert len(runs) == 2 and runs.experiment.scale == "mine"
    assert [record["data"]["name"] for record in runs] == ["grey"] * 2 and len(runs[0]["data"]["mean"]) == 1
    again = single.run(mine().run(2, 0))
    assert again["history"] == runs[0]["history"] and again["volumes"] == runs[0]["volumes"]  # its dropout, too
    network = weights.network(mine().run(3, 0))
    assert network(torch.zeros(1, 1, 16, 16)).shape == (1, 10)
    judged = si.judge(runs)
    assert set(judged.index) == {one.name for one in claims.CLAIMS}
    apart = judged[judged.sentence.str.startswith("It does not apply")]
    assert set(apart.index) == {one.name for one in claims.CLAIMS if claims.NOISY not in one.experiments}
    assert "Scale `mine` is none of the book's" in claims.verdicts.trial("mine")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "my_models_of_test:wrong"}, r"returns \(1, 11\) of one image: it must be \(1, 10\)"),
        ({"model": "my_models_of_test:none"}, "it is a int and no torch.nn.Module"),
        ({"model": "my_models_of_test:number"}, "must be a callable of width and n_classes"),
        ({"model": "my_models_of_test:lost"}, "cannot be imported.*has no attribute 'lost'"),
        ({"model": "no_such_module:MLP"}, "cannot be imported.*put no_such_module.py into"),
        ({"strengths": [3, 20]}, "fewer than strength 20 erases: set strengths"),
        ({"input_mean": [0.5, 0.5, 0.5]}, "of 1 channels and input_mean has 3 values"),
        ({"points_from": "test", "n_clean_points": 40, "n_noisy_points": 12, "n_test": 30}, "there are 30 test images"),
    ],
)
def test_pieces_that_do_not_fit_are_one_sentence(mine, change, words):
    with pytest.raises((ConfigError, DataError), match=words) as caught:
        single.run(mine(**change).run(2, 0))
    assert "\n" not in str(caught.value)


def test_layers_that_wait_for_a_shape_get_one(mine):
    run = mine(model="my_models_of_test:lazy").run(2, 0)
    assert models.of_run(run, (1, 16, 16))[1].in_features == 256
    grey = models.of_run(mine(model="convnet").run(2, 0), (1, 16, 16))
    assert grey(torch.zeros(2, 1, 16, 16)).shape == (2, 10)


def test_what_is_only_measured_otherwise_is_not_trained(mine, monkeypatch):
    trained = single.measure(mine().run(2, 0))
    untrained(monkeypatch)
    other = single.measure(mine(strengths=[2, 5, 8]).run(2, 0))
    assert len(other["volumes"]) == 3 * 4 and other["epochs_run"] == 3
    assert other["history"][:-1] == trained["history"][:-1]
    for metric, values in trained["history"][-1].items():
        assert other["history"][-1][metric] == pytest.approx(values)
    assert other["provenance"]["wall_s"]["train"] == trained["provenance"]["wall_s"]["train"]
    assert other["provenance"]["resumed"][-1]["epoch"] == 3
    at_points = [[row for row in record["volumes"] if row["size"] == 0] for record in (trained, other)]
    assert at_points[0] == at_points[1]
    fewer = single.measure(mine(n_clean_points=3).run(2, 0))
    assert "jacobian_norm" in fewer["history"][-1] and "jacobian_norm" not in fewer["history"][0]
    assert fewer["history"][0]["train_error"] == trained["history"][0]["train_error"]
    assert len(tables.history_table([fewer])) and len(tables.volumes_table([fewer]))


def test_weights_of_a_network_of_ones_own_are_those_of_its_source(mine, place, monkeypatch):
    run = mine().run(2, 0)
    single.measure(run)
    file = place / "my_models_of_test.py"
    monkeypatch.setattr(
        models, "maker", lambda name, maker=models.maker: sys.modules.pop("my_models_of_test", 0) and maker(name)
    )
    kept = weights.network(run).state_dict()
    file.write_text(MODELS.replace("nn.ReLU()", "nn.Tanh()"))  # the same tensors, another function
    importlib.invalidate_caches()
    with pytest.raises(RecordError, match="No weights"):
        weights.network(run)
    file.write_text(MODELS)
    importlib.invalidate_caches()
    assert all(torch.equal(kept[name], tensor) for name, tensor in weights.network(run).state_dict().items())


def test_what_training_depends_on_is_trained(mine, monkeypatch):
    single.measure(mine().run(2, 0))
    plain = mine().run(2, 0)
    same = [{"strengths": [2]}, {"points_from": "test"}, {"keep_epochs": [2]}, {"n_evaluations": 2}, {"delta": 0.2}]
    others = [{"weight_decay": 0.1}, {"epochs": 4}, {"n_train": 50}, {"data_seed": 1}, {"precision": "bf16"}]
    for changes in same:
        assert weights.weights_path(mine(**changes).run(2, 0)) == weights.weights_path(plain)
    paths = {weights.weights_path(mine(**changes).run(2, 0)) for changes in others}
    assert len(paths | {weights.weights_path(plain)}) == 1 + len(others)
    untrained(monkeypatch)
    with pytest.raises(AssertionError, match="something is trained"):
        single.measure(mine(weight_decay=0.1).run(2, 0))
    with pytest.raises(RecordError, match="no weights of such a training are kept"):
        single.measure(mine(epochs=4).run(3, 0), reuse=True)


def test_the_weights_that_came_with_the_records_are_measured_again(tmp_path, monkeypatch):
    untrained(monkeypatch)
    run = config.find("demo", "convnet-noise20", {"strengths": [5], "n_paths": 1}).run(8, 0)
    record = single.measure(run, tmp_path)
    committed = store.read(config.find("demo", "convnet-noise20").run(8, 0))
    assert record["history"][:-1] == committed["history"][:-1]


@pytest.mark.parametrize("source", ["train", "restored", "test"])
def test_a_table_has_a_row_for_each_point_and_size(mine, source):
    single.run(mine().run(3, 0))
    experiment = mine(points_from=source)
    run, data = experiment.run(3, 0), preparation.prepare(experiment)
    table = si.points_table([run])
    assert len(table) == 10 * 3 and table[["width", "seed"]].drop_duplicates().values.tolist() == [[3, 0]]
    split = data.dataset.test if source == "test" else data.dataset.train
    first = table[table["size"] == 0]
    assert split.labels[torch.tensor(first.id.values)].tolist() == first.true_label.tolist()
    assert (first.noisy == (first.label != first.true_label)).all() and first.noisy.sum() == (
        0 if source == "test" else 4
    )
    labels = first.label if source == "train" else first.true_label
    images = split.images[torch.tensor(first.id.values)].float() / 255
    network = weights.network(run, data.dataset.fingerprint)
    expected = volumes.volume_metrics(
        network, images, labels.tolist(), normalize=data.normalize, strengths=(3, 6), n_paths=2, n_tangents=2
    )
    for size in range(3):
        found = torch.tensor(table[table["size"] == size].jacobian_norm.values)
        torch.testing.assert_close(found, expected.jacobian_norm[:, size], rtol=1e-4, atol=1e-6)
    assert (table.tangent_hessian_rms / table.tangent_hessian_norm).dropna().round(6).eq(round(2**1.5 * 0.1, 6)).all()


def test_the_command_measures_again_and_writes_a_table(mine, tmp_path):
    def command(*words):
        return CliRunner().invoke(app, ["measure", "mine.yaml", *map(str, words)], catch_exceptions=True)

    assert "nothing can be measured" in str(command().exception)
    single.run(mine().run(2, 0))
    said = command("--set", "strengths=[4]", "--table", tmp_path / "points.csv")
    assert said.exit_code == 0 and "No weights are kept of w3-s0" in said.output and "1 of them now" in said.output
    table = pd.read_csv(tmp_path / "points.csv")
    assert len(table) == 20 and {"id", "label", "true_label", "jacobian_norm"} <= set(table)
    assert "must end in .csv or .parquet" in str(command("--table", "points.xls").exception)
    assert "must be one of keep_epochs" in str(command("--table", "p.csv", "--epoch", 2).exception)


def test_a_table_is_written_as_its_name_ends(tmp_path, monkeypatch):
    def lacking(*_, **__):
        raise ImportError

    monkeypatch.setattr(pd.DataFrame, "to_parquet", lacking)
    with pytest.raises(ConfigError, match="needs pyarrow"):
        weights.write_table(pd.DataFrame(), tmp_path / "a.parquet")


def test_what_takes_long_is_said_and_asked_for(monkeypatch):
    monkeypatch.setattr(resources, "choose", lambda name: torch.device("cpu"))
    untrained(monkeypatch)
    runs = si.records("gpu", "convnet-noise20")
    with pytest.raises(ConfigError, match=r"about \d+ h \d\d min on one CPU thread.*give -p train_minutes \d+\.$"):
        runs.with_width(15)
    other = si.records("gpu", "convnet-noise20", epochs=200, train_minutes=1)
    with pytest.raises(ConfigError, match="48 networks of gpu/convnet-noise20.epochs=200 would train for about"):
        other.complete()
    with pytest.raises(ConfigError, match="train_minutes is 'long'"):
        si.records("demo", "convnet-noise20", train_minutes="long")
    words = ["run", "params/gpu/convnet-noise20.yaml", "--width", "15"]
    assert "give --yes or a --time-limit." in str(CliRunner().invoke(app, words).exception)


def test_a_time_is_told_by_records_of_the_same_kind_and_grows_with_the_work():
    known = cost.known(locations.results())
    run = config.find("demo", "convnet-noise20").run(8, 0)
    seconds, n = cost.expected(run, known, "cpu")
    assert n == 5 and seconds == pytest.approx(cost.seconds(store.read(run)))
    twice = cost.expected(config.find("demo", "convnet-noise20", {"epochs": 200}).run(8, 0), known, "cpu")
    assert twice[0] == pytest.approx(2 * seconds)
    assert cost.expected(run.model_copy(update={"model": "a:B"}), known, "cpu") is None


def test_records_of_the_same_settings_tell_a_time_before_those_of_the_same_precision_and_those_before_others():
    record = store.read(config.find("demo", "convnet-noise20").run(8, 0))

    def taking(seconds, **settings):
        origin = record["provenance"] | {"wall_s": {"train": seconds}, "cpu_s": seconds}
        return record | {"config": record["config"] | settings, "provenance": origin}

    plain, coarse, other = (
        taking(100.0),
        taking(10.0, precision="bf16", scale="mine"),
        taking(30.0, overrides=["schedule=cosine"]),
    )
    for changes, told in (
        ({}, 100),
        ({"precision": "bf16"}, 10),
        ({"schedule": "cosine"}, 30),
        ({"schedule": "step"}, 65),
    ):
        run = config.find("demo", "convnet-noise20", changes).run(8, 0)
        found = cost.expected(run, [plain, coarse, other], "cpu")
        assert found is not None and round(found[0]) == told


def test_a_network_that_no_record_is_like_is_timed(mine):
    single.agreed([mine().run(2, 0)], 2)
    with pytest.raises(ConfigError, match="as their first steps tell: to agree, give -p train_minutes"):
        single.agreed([mine(epochs=900_000).run(2, 0)], 2)


def test_a_dry_run_needs_no_images(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv(locations.DATA_VARIABLE, str(tmp_path))
    experiment = config.find("demo", "convnet-noise20", {"dataset": "nowhere"})
    assert len(sweep.plan(experiment, tmp_path, dry=True)) == 5 and "No images of 'nowhere'" in caplog.text


def test_status_tells_of_records_that_are_not_planned(mine):
    single.measure(mine().run(2, 0))
    single.measure(mine().run(5, 0))
    single.measure(mine(strengths=[2]).run(2, 0))
    said = CliRunner().invoke(app, ["status", "mine.yaml"]).output
    assert "besides the file, in no verdict: records of w005-s0; records with mine+strengths=2: 1" in " ".join(
        said.split()
    )


DEMO = str(locations.params_file("demo", "convnet-noise20"))


def test_a_study_whose_params_file_is_elsewhere_is_told_of_too(mine, tmp_path):
    for seed, width in ((0, 2), (1, 2), (0, 3)):
        single.measure(mine(seeds=[0, 1, 2]).run(width, seed), tmp_path)

    def said(*words):
        result = CliRunner().invoke(app, [*words, "--results", str(tmp_path)], catch_exceptions=False)
        return " ".join(result.output.split())

    assert "demo/convnet-noise20 0 5 0 unknown" in said("status")
    assert "mine/mine 3 ? 0 ? ?: their params files are not among params/" in said("status")
    assert "Left out, and judged with their params files" in said("claims") and "mine/mine (3 rec" in said("claims")
    both = said("status", "mine.yaml", DEMO, "--set", "seeds=[0,1,2]")
    assert both.endswith("mine/mine, missing: w = 2: seed 2; w = 3: seeds 1, 2 demo/convnet-noise20, missing: all")
    both = said("claims", "mine.yaml", DEMO)
    assert both.startswith("mine/mine ") and both.count("no verdict on the paper") == 2
    assert both.index("Scale `mine`") < both.index("demo/convnet-noise20 ") < both.index("Scale `demo`")


def test_the_defaults_are_the_same_everywhere():
    fields = config.Measurement.model_fields
    for function in (si.volume_metrics, si.examine, si.svd_paths, si.shift_paths):
        known = inspect.signature(function).parameters
        for name in ("n_paths", "n_tangents", "delta", "strengths"):
            if name in known and known[name].default is not None:
                assert known[name].default == fields[name].default, (function, name)


def test_the_root_mean_square_does_not_depend_on_the_number_of_directions():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Tanh(), nn.Linear(5, 5))
    images, labels = torch.rand(20, 3, 8, 8), torch.arange(20) % 5
    found = {}
    for m in (2, 8):
        table = si.examine(network, images, labels, n_tangents=m, n_paths=1).volumes
        at_points = table[(table["size"] == 0) & (table.subset == "all")].set_index("metric")["mean"]
        found[m] = at_points.tangent_hessian_rms, at_points.tangent_hessian_norm
    assert found[8][0] == pytest.approx(found[2][0], rel=0.2) and found[8][1] < 0.2 * found[2][1]
    runs = si.records("demo", "convnet-noise20")
    wide = runs.volumes.pivot_table(index=["width", "size", "subset"], columns="metric", values="mean")
    assert (wide.tangent_hessian_rms / wide.tangent_hessian_norm).dropna().round(9).eq(tables.rms_factor(4, 0.1)).all()


def test_what_normalize_multiplies_is_said_and_curves_for_scale_are_drawn():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    images, labels = torch.rand(6, 3, 32, 32), torch.arange(6)
    found = si.examine(network, images, labels, n_paths=1, normalize=lambda x: (x - 0.5) / 0.25)
    assert found.input_scale == pytest.approx((4, 4, 4)) and "4, 4, 4 of its input" in found.units["input"]
    assert "a normalisation within it counts" in si.examine(network, images, labels, n_paths=1).units["input"]
    labelled = [line.get_label() for line in found.figure().axes[0].lines]
    assert [label.split(":")[1] for label in labelled if ":" in label] == [" at threshold", " beyond threshold"]
    assert len(found.figure(reference=False).axes[0].lines) == 1
    with pytest.raises(DataError, match="give a loss="):
        si.examine(network, images, torch.rand(6))


def test_explored_widths_are_in_figures_marked_and_in_no_verdict(mine, tmp_path):
    planned = si.records(None, "mine.yaml").complete()
    single.measure(mine().run(5, 0))
    runs = si.records(None, "mine.yaml")
    assert runs.explored == [5] and len(runs) == 3 and len(runs.planned) == 2
    pd.testing.assert_frame_equal(si.judge(runs), si.judge(planned))
    panels = si.figures.fig2(runs).axes
    marks = [line.get_xdata()[0] for line in panels[0].lines if line.get_label() == "_explored"]
    assert marks == [5] and "in no verdict: w = 5." in origins.describe(runs)
    assert "in no verdict" not in origins.describe(planned)
    words = ["figure", "fig2", "mine.yaml", "--width", "5", "--output", str(tmp_path / "fig2.svg")]
    assert "2 of 2 runs, and besides them w = 5" in " ".join(CliRunner().invoke(app, words).output.split())
