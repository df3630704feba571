"""The tables of the trial that fixed the settings, from made-up networks."""

import json

import pytest

from smooth_interpolation.book import trial


def network(width, last, **settings):
    row = {
        "scale": "gpu", "dataset": "cifar10", "noise": "symmetric", "width": width, "n_train": 50_000, "epochs": 400, "precision": "bf16",
        "input_std": "own", "learning_rate": 0.005, "seed": 0, "train_error_by_epoch": {"50": 20.0, "400": last},
        "train_error_last_tenth": {"mean": last + 1, "min": last, "max": last + 2}, "test_error": 40.25,
        "commit": "0123456789", "device_name": "a device",
    }  # fmt: skip
    return row | settings


@pytest.fixture
def write(tmp_path):
    def to_file(rows):
        path = tmp_path / "trial.json"
        path.write_text(rows if isinstance(rows, str) else json.dumps(rows))
        return path

    return to_file


def test_each_setting_is_compared_at_equal_others(write):
    rows = [
        network(w, last - 4 * (precision == "fp32") + (rate == 0.004), precision=precision, learning_rate=rate)
        for w, last in ((16, 10.0), (24, 4.0))
        for precision in ("bf16", "fp32")
        for rate in (0.004, 0.005)
    ]
    ((caption, part),) = trial.groups(trial.read(write(rows))).items()
    assert caption == (
        "ConvNets, cifar10, gpu scale; noise symmetric; images 50,000; epochs 400; normalisation own; batch 128; "
        "schedule constant; 8 networks on a device, commit 0123456"
    )
    table = trial.by_width(part).set_index(["precision", "rate"])
    assert table.loc[("bf16", "0.005"), "w = 16"] == "11.0 (10.0\u201112.0)"
    assert table.loc[("fp32", "0.005"), "threshold"] == "24" and (table.threshold == "-").sum() == 3
    assert trial.varied(trial.read(write(rows))) == {"precision", "learning_rate"}
    effects = trial.effects(part).set_index(["setting", "from", "to"])
    assert effects.loc[("precision", "bf16", "fp32"), "w = 24"] == "-4.0 (-4.0 to -4.0)"
    assert effects.loc[("rate", "0.004", "0.005"), "w = 16"] == "-1.0 (-1.0 to -1.0)" and len(effects) == 2


def test_a_batch_size_and_a_schedule_are_compared_with_what_rows_without_them_had(write):
    rows = [network(64, 1.25), network(64, 0.5, batch_size=512), network(64, 0.0, batch_size=512, schedule="cosine")]
    ((_, part),) = trial.groups(trial.read(write(rows))).items()
    assert list(trial.by_width(part).set_index(["batch", "schedule"]).index) == [
        ("128", "constant"),
        ("512", "constant"),
        ("512", "cosine"),
    ]
    assert list(trial.effects(part)["w = 64"].str.split().str[0]) == ["-0.75", "-0.50"]


def test_the_threshold_needs_every_wider_network_and_every_seed(write):
    rows = [network(w, 0.0, n_train=n, epochs=n // 10, seed=s) for n in (1000, 2000) for w in (2, 4, 8) for s in (0, 1)]
    rows[5]["train_error_by_epoch"]["400"] = 0.1  # n = 1000, w = 8, seed 1
    rows[8]["train_error_by_epoch"]["400"] = 0.1  # n = 2000, w = 4, seed 0
    ((_, part),) = trial.groups(trial.read(write(rows))).items()
    table = trial.by_width(part).set_index(["images", "epochs"])
    assert table.loc[("1,000", "100"), "threshold"] == "-" and table.loc[("2,000", "200"), "threshold"] == "8"
    assert trial.effects(part).empty and not trial.varied(trial.read(write(rows)))


def test_a_row_per_network_along_the_epochs_and_a_group_per_dataset(write):
    rows = [
        network(16, 3.0),
        network(16, 5.0, seed=1),
        network(8, 1.0, dataset="cifar100"),
        network(8, 1.0, model="resnet18"),
    ]
    found = list(trial.groups(trial.read(write(rows))).values())
    assert [len(part) for part in found] == [2, 1, 1]
    table = trial.by_epoch(found[0])
    assert table.columns.tolist() == ["epochs", "w", "seed", "50", "400", "test"]
    assert table["400"].tolist() == ["3.0", "5.0"] and table.test.tolist() == ["40.2", "40.2"]


def test_many_widths_are_rows(write):
    rows = [network(w, 1.0 if w < 4 else 0.0, n_train=n, epochs=n // 10) for n in (1000, 2000) for w in range(1, 6)]
    ((_, part),) = trial.groups(trial.read(write(rows))).items()
    table = trial.by_width(part)
    assert table.columns.tolist() == ["images", "1,000", "2,000"]
    assert table.images.tolist() == ["epochs", *(f"w = {w}" for w in range(1, 6)), "threshold"]
    assert table["2,000"].tolist() == ["200", *["2.0"] * 3, *["1.0"] * 2, "4"]


def test_the_committed_file_is_read():
    for part in trial.groups(trial.read()).values():
        assert len(trial.by_epoch(part)) == len(part) and len(trial.by_width(part))


def test_the_conclusion_says_what_moves_the_threshold(write):
    rows = [network(w, 5.0 + w / 10 + jump, precision=p) for w in (2, 4) for p, jump in (("bf16", 0.0), ("fp32", 0.5))]
    ((_, part),) = trial.groups(trial.read(write(rows))).items()
    text = trial.conclusion(part)
    assert text.startswith("No setting moves the threshold: at w = 2 to 4 none") and "precision 0.50." in text
    rows = [network(w, 0.0 if w == 4 or p == "fp32" else 5.0, precision=p) for w in (2, 4) for p in ("bf16", "fp32")]
    ((_, part),) = trial.groups(trial.read(write(rows))).items()
    assert trial.conclusion(part).startswith("Thresholds among w = 2 to 4: 2, 4")
    ((_, part),) = trial.groups(trial.read(write([network(4, 5.0, precision=p) for p in ("bf16", "fp32")]))).items()
    assert trial.conclusion(part).startswith("At w = 4 none of them fits all labels within")
