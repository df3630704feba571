"""The table of settings: complete, and made of the params files."""

import pytest

from smooth_interpolation import config, hyperparameters


def test_every_field_has_an_origin():
    assert set(hyperparameters.ORIGINS) == set(config.FIELDS) - {"experiment", "scale"}
    kinds = {hyperparameters.TEXT, hyperparameters.READING, hyperparameters.CHOICE}
    assert {origin for origin, _ in (*hyperparameters.ORIGINS.values(), *hyperparameters.BUILT_IN.values())} == kinds


@pytest.mark.parametrize(
    "experiment", ["convnet-noise20", "convnet-cifar100", "resnet18-noise20", "convnet-asymmetric"]
)
def test_the_table_is_made_of_the_params_files(experiment):
    table = hyperparameters.table(experiment)
    assert set(config.SCALES) <= set(table.columns) and not table.isna().any(axis=None)
    assert table.loc["epochs", "paper"] == "4,000" and table.loc["widths", "paper"] == "1-64, all"
    laptop = config.find("laptop", experiment)
    assert table.loc["widths", "laptop"] == f"{len(laptop.widths)} of {laptop.widths[0]}-{laptop.widths[-1]}"
    assert table.loc["learning_rate", "laptop"] == str(laptop.learning_rate)


def test_what_only_one_scale_has_is_a_table_too():
    assert "paper" not in hyperparameters.table("convnet-leaves100")
    assert hyperparameters.origins().loc["momentum", "origin"] == hyperparameters.TEXT
    assert len(hyperparameters.built_in()) == len(hyperparameters.BUILT_IN)
