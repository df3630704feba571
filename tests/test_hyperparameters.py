"""The tables of settings: complete, made of the params files, and honest about where a value comes from."""

import pytest
import yaml

from smooth_interpolation import config, locations
from smooth_interpolation.book import hyperparameters

FILES = sorted((locations.repository() / "params").glob("*/*.yaml"))


def test_every_field_of_a_params_file_has_an_origin():
    known = set(hyperparameters.known()["origins"]) | set(hyperparameters.PLACES)
    for path in FILES:
        assert (set(yaml.safe_load(path.read_text())) - {"base"}) <= known, path
    assert set(hyperparameters.fields()) == set(config.FIELDS) - set(hyperparameters.PLACES)


def test_origins_are_of_the_five_kinds_and_all_are_used():
    known = hyperparameters.known()
    entries = [entry for values in known["origins"].values() for entry in values.values()]
    kinds = {where for where, _ in entries} | {where for _, where in known["built_in"].values()}
    assert kinds == set(known["meanings"]) and len(kinds) == 5


def test_an_origin_belongs_to_a_value():
    assert hyperparameters.origin("momentum", 0.9)[0] == "paper and code"
    assert hyperparameters.origin("momentum", 0.8) == (hyperparameters.OURS, "")
    assert hyperparameters.origin("precision", "tf32")[0] == "authors' code"
    assert hyperparameters.origin("input_std", (0.2023, 0.1994, 0.2010))[0] == "authors' code"
    assert hyperparameters.origin("input_std", None)[0] == hyperparameters.OURS
    assert hyperparameters.origin("a field of tomorrow", [1]) == (hyperparameters.OURS, "")


def test_a_field_added_later_is_listed_as_ours(monkeypatch):
    class Later(config.Experiment):
        later: float = 0.5

    find = config.find
    monkeypatch.setattr(config, "FIELDS", (*config.FIELDS, "later"))
    monkeypatch.setattr(config, "find", lambda *place: Later(**find(*place).model_dump()))
    row = hyperparameters.origins().loc["later"]
    assert (row["value"], row["from"], row["note"]) == ("0.5", hyperparameters.OURS, "")
    assert hyperparameters.common().loc["later"].tolist() == ["0.5"] * 4


def test_origins_list_every_value_of_the_paper_scale_once():
    table = hyperparameters.origins()
    assert set(table.index) == set(hyperparameters.fields())
    rates = {str(config.find("paper", name).learning_rate) for name in hyperparameters.PAPER}
    assert len(rates) == 2 and set(table.loc["learning_rate", "value"]) == rates
    assert table.loc["noise", "value"].tolist() == ["symmetric", "none", "asymmetric"]
    assert table.loc["dataset", "value"] == "cifar10 or cifar100"
    assert (table.loc[["weight_decay", "dropout"], "from"] == "paper's text").all()


@pytest.mark.parametrize("experiment", hyperparameters.PAPER)
def test_the_table_is_made_of_the_params_files(experiment):
    table = hyperparameters.table(experiment)
    assert table.columns.tolist() == list(config.SCALES) and not table.isna().any(axis=None)
    assert table.loc["epochs", "paper"] == "4,000" and table.loc["widths", "paper"] == "1-64, all"
    laptop = config.find("laptop", experiment)
    assert table.loc["widths", "laptop"] == f"{len(laptop.widths)} of {laptop.widths[0]}-{laptop.widths[-1]}"
    assert table.loc["learning_rate", "laptop"] == str(laptop.learning_rate)
    assert table.loc["momentum", "paper"] == ("-" if laptop.optimizer == "adam" else "0.9")
    common, particular = hyperparameters.common(), hyperparameters.differing()
    assert set(common.index).isdisjoint(particular.index)
    assert set(common.index) | set(particular.index) == set(table.index)
    used = table.loc[common.index]
    assert (used.eq(common) | used.eq("-")).all(axis=None)
    assert {"momentum", "strengths"} <= set(common.index) and "epochs" in particular.index


def test_one_table_has_what_differs_between_experiments_and_scales():
    assert {path.stem for path in FILES if path.parent.name == "paper"} == set(hyperparameters.PAPER)
    found = hyperparameters.differing()
    assert list(found) == list(hyperparameters.PAPER)
    assert found.loc["noise"].tolist() == ["symmetric", "none", "symmetric", "asymmetric"]
    assert "(demo)" in found.loc["epochs", "convnet-noise20"] and "momentum" not in found.index
    assert found.apply(lambda row: row.nunique() > 1 or "(" in row.iloc[0], axis=1).all()


def test_what_differs_from_the_authors_code_follows_the_params_file(monkeypatch):
    settings = config.find("paper", "convnet-noise20")
    rate, divisor = "constant learning rate", "input divided by"
    there, effect = "here, at paper scale", "effect on the curves"

    def table(tried=(), **changed):
        monkeypatch.setattr(config, "find", lambda *place: settings.model_copy(update=changed))
        return hyperparameters.differences(tried)

    assert table(learning_rate=0.01).loc[rate, [there, effect]].tolist() == ["0.01", hyperparameters.NOT_MEASURED]
    assert table({"learning_rate"}, learning_rate=0.01).loc[rate, effect] == "the trial below"
    assert table(learning_rate=0.004).loc[rate, [there, effect]].tolist() == ["the same", "none"]
    assert table(input_std=None).loc[divisor, there].startswith("0.2470, 0.2435, 0.2616")
    assert table({"input_std"}, input_std=None).loc[divisor, effect].endswith("the trial below")
    assert table(input_std=(0.2023, 0.1994, 0.2010)).loc[divisor, there] == "the same"
    set_by = {one["field"] for one in hyperparameters.known()["differences"] if "field" in one}
    assert len(set_by) == 4 and set_by <= set(config.FIELDS)


def test_the_constant_between_the_two_curvatures():
    m, delta = 4, 0.1
    as_printed, root_mean_square = m**0.5 / (m**2 * delta**2), 1 / delta  # of unit differences
    factor = f"{as_printed / root_mean_square:.2f} times"
    assert factor in hyperparameters.differences().loc["curvature", "effect on the curves"]
