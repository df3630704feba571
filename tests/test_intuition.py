"""The two regressions of Figures 1a and 1b: their data, their descent, and the measures of smoothness."""

import dataclasses

import numpy as np
import pytest
from numpy.polynomial.legendre import legvander

from smooth_interpolation import cli, locations
from smooth_interpolation.claims.words import number
from smooth_interpolation.figures import intuition_figures, style
from smooth_interpolation.studies import intuition


@pytest.fixture(scope="module")
def data():
    return intuition.noisy_scalars()


@pytest.fixture(scope="module")
def fits(data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(locations.CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        trained = intuition.fit_network(data)
        patch.setattr(intuition, "_descend", None)
        kept = intuition.fit_network(data)  # not trained again
    x = np.linspace(-1, 1, 101)
    assert np.array_equal(trained.function(x), kept.function(x)) and trained.residual == kept.residual
    return [intuition.fit_polynomial(data), trained]


def test_the_right_share_of_labels_is_wrong():
    data = intuition.noisy_scalars(40, share=0.25, shift=0.7, seed=3)
    off = np.abs(data.y - data.truth(data.x))
    assert data.noisy.sum() == 10 and np.allclose(off, np.where(data.noisy, 0.7, 0))
    assert (np.diff(data.x) > 0).all() and np.abs(data.x).max() < 1 and not data.noisy[[0, -1]].any()
    assert np.array_equal(data.y, intuition.noisy_scalars(40, share=0.25, shift=0.7, seed=3).y)
    assert not np.array_equal(data.x, intuition.noisy_scalars(40, share=0.25, shift=0.7, seed=4).x)


def test_descent_ends_at_the_interpolant_of_smallest_norm(data):
    fit = intuition.fit_polynomial(data, degree=200, steps=20_000)
    phi, x = legvander(data.x, 200), np.linspace(-1, 1, 101)
    closed = np.linalg.pinv(phi) @ data.y
    np.testing.assert_allclose(fit.function(x), legvander(x, 200) @ closed, rtol=0, atol=1e-11)
    assert fit.residual < 1e-12 and fit.n_parameters == 201


def test_descent_in_the_span_is_descent_on_the_coefficients(data):
    fit = intuition.fit_polynomial(data, degree=60, steps=50)
    phi, c = legvander(data.x, 60), np.zeros(61)
    rate = 1 / np.linalg.eigvalsh(phi @ phi.T)[-1]
    for _ in range(50):
        c -= rate * phi.T @ (phi @ c - data.y)
    x = np.linspace(-1, 1, 101)
    np.testing.assert_allclose(fit.function(x), legvander(x, 60) @ c, rtol=0, atol=1e-12)
    assert fit.residual > 0.1  # on its way


def test_a_basis_of_cheap_low_degrees_is_as_broad_as_the_network(data, fits):
    radius = intuition.spacing(data) / 2
    flat = intuition.fit_polynomial(data, power=-0.5, steps=40_000)
    table = intuition.compare(data, [flat, fits[1]], radius)
    assert flat.residual < 1e-3
    assert table["mean reach of wrong labels"].iloc[0] == pytest.approx(
        table["mean reach of wrong labels"].iloc[1], abs=0.1
    )
    phi, x = legvander(data.x, 80), np.linspace(-1, 1, 50)
    weights = (2.0 * np.arange(81) + 1) ** 0.5
    closed = weights * (np.linalg.pinv(phi * weights) @ data.y)
    fitted = intuition.fit_polynomial(data, degree=80, steps=20_000, power=0.5)
    np.testing.assert_allclose(fitted.function(x), legvander(x, 80) @ closed, rtol=0, atol=1e-9)


def test_both_fit_every_label_with_many_more_parameters(data, fits):
    polynomial, network = fits
    assert polynomial.residual < 1e-12 and network.residual < 0.01
    assert all(fit.n_parameters > 30 * len(data.x) for fit in fits)


def test_a_network_is_the_same_twice(data, tmp_path, monkeypatch):
    x = np.linspace(-1, 1, 50)
    fits = []
    for name in "ab":  # where nothing is kept yet
        monkeypatch.setenv(locations.CACHE_VARIABLE, str(tmp_path / name))
        fits.append(intuition.fit_network(data, width=16, depth=2, steps=50))
    first, second = fits
    assert np.array_equal(first.function(x), second.function(x))


def test_smoothness_of_known_functions(data):
    around = intuition.smoothness(lambda x: 3 * x, data, 0.01)
    np.testing.assert_allclose(around[["slope", "steepest"]], 3, rtol=1e-8)
    radius = 0.02
    wiggle = intuition.smoothness(lambda x: np.abs(x - data.x[4]), data, radius)
    assert wiggle.slope[4] == pytest.approx(1)  # up and down: variation does not cancel

    def reaching(x):  # the wrong label over half of each neighbourhood, the truth elsewhere
        near = np.argmin(np.abs(x[:, None] - data.x), axis=1)
        return np.where(np.abs(x - data.x[near]) < radius / 2, data.y[near], data.truth(x))

    reach = intuition.smoothness(reaching, data, radius).reach
    assert reach[data.noisy].to_numpy() == pytest.approx(0.5, abs=0.01) and reach[~data.noisy].isna().all()
    assert intuition.deviation(lambda x: data.truth(x) + 0.25, data) == pytest.approx(0.25)


def test_the_network_holds_wrong_labels_over_more_of_the_way(data, fits):
    radius = intuition.spacing(data) / 2
    table = intuition.compare(data, fits, radius)
    polynomial, network, truth = (table.iloc[i] for i in range(3))
    assert network["mean reach of wrong labels"] > 2 * polynomial["mean reach of wrong labels"]
    assert network["steepest, noisy"] < polynomial["steepest, noisy"] / 2
    assert network["deviation from truth"] > polynomial["deviation from truth"] > truth["deviation from truth"] == 0
    around = intuition.smoothness(fits[1].function, data, radius)
    assert network["steepest, noisy"] == around.steepest[around.noisy].max() > network["mean slope, noisy"]
    said = intuition_figures.findings(data, fits, table).data
    assert f"up to {number(polynomial['steepest, noisy'])} steep" in said
    assert f"at slopes of at most {network['steepest, noisy']:.0f}." in said
    text = intuition_figures.describe(data, fits)
    assert f"{network['mean reach of wrong labels']:.0%}" in text and f"{len(data.x)} points" in text
    assert text.count("hits all points") == 2 and f"Both pass through all {len(data.x)} points" in said


def test_what_misses_points_is_not_said_to_pass_through_them(data, fits):
    early = dataclasses.replace(fits[0], residual=0.34)
    text = intuition_figures.describe(data, [early, fits[1]])
    assert "(a) Polynomial, degree" in text and "misses points by up to 0.34, near a wrong label" in text
    assert text.count("hits all points") == 1
    table = intuition.compare(data, fits, intuition.spacing(data) / 2)
    said = intuition_figures.findings(data, [early, fits[1]], table).data
    assert "they miss points by up to 0.34. The polynomial" in said and "through all" not in said


def test_the_figure_draws_points_truth_and_fits(data, fits):
    drawn = intuition_figures.fig1ab(data, fits)
    assert drawn.again(narrow=True).get_size_inches()[0] == style.NARROW
    for near in drawn.axes[2:]:  # one wrong label and its reach
        assert {"reach of a wrong label", "fitted function"} <= {line.get_label() for line in near.get_lines()}
    for panel, fit, letter in zip(drawn.axes[:2], fits, "ab", strict=True):
        lines = {line.get_label(): line for line in panel.get_lines()}
        assert panel.get_title(loc="left") == letter and panel.get_title().replace("\n", " ") == fit.name
        assert lines["wrong label"].get_ydata().tolist() == data.y[data.noisy].tolist()
        x, y = lines["fitted function"].get_data()
        np.testing.assert_array_equal(y, fit.function(x))


def test_the_command_draws_it_without_params(tmp_path):
    path = tmp_path / "figure.svg"
    with pytest.raises(SystemExit) as end:
        cli.app(["figure", "fig1ab", "--output", str(path)])
    assert end.value.code == 0 and 10_000 < path.stat().st_size < 300_000
