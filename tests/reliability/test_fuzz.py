"""Readers fed with what hypothesis invents: they accept it, or refuse it in one sentence; see `fuzz`."""

import io
import json
import subprocess
import sys
import zipfile

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from smooth_interpolation import cli, config, locations
from smooth_interpolation.cli import options
from smooth_interpolation.errors import UserError
from smooth_interpolation.runs import store

from . import bad_input, fuzz, hostile

quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
PLAIN = hostile.PLAIN.splitlines()
SHORT = fuzz.short_record()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module", autouse=True)
def where_files_go(tmp_path_factory):
    fuzz.place.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(fuzz.PLACE, str(tmp_path_factory.mktemp("fuzz")))
        yield fuzz.place()
    fuzz.place.cache_clear()


@given(st.binary(max_size=300))
@quick
def test_every_reader_survives_any_bytes(content):
    for target in fuzz.TARGETS.values():
        target(content)


fragments = st.sampled_from(
    ["&a", "*a", "!!x", "[", "]", "{", "}", ": ", "- ", "|", ">", "'", '"', "#", "---", "0x1", "1:2:3", "\t", "\x85"]
)
lines = st.sampled_from(PLAIN)
written = st.lists(lines | fragments | st.text(max_size=12), max_size=8).map("".join)


@given(st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), written), min_size=1, max_size=3))
@quick
def test_params_files_with_other_lines(changes):
    text = list(PLAIN)
    for at, line in changes:
        text[at] = line
    fuzz.params("\n".join(text).encode(errors="surrogatepass"))


@given(st.sampled_from([name for name in config.FIELDS if name != "scale"]), json_values | st.integers(-5, 5))
@quick
def test_params_files_with_other_values(field, value):
    text = [f"{field}: {json.dumps(value)}" if line.startswith(f"{field}:") else line for line in PLAIN]
    fuzz.params("\n".join(text).encode(errors="surrogatepass"))


@given(
    st.lists(
        st.text(max_size=20) | st.tuples(st.sampled_from(config.FIELDS), st.text(max_size=9)).map("=".join), max_size=3
    )
)
@quick
def test_options_that_set_fields(texts):
    fuzz.accepts(lambda: options.experiment_of(locations.params_file("demo", "convnet-noise20"), texts))


words = st.sampled_from(["status", "show", "figure", "fig2", "--set", "--results", "--width", "--output", "params/demo/convnet-noise20.yaml", "README.md", "-x", "--", "0"])  # fmt: skip


@given(st.lists(words | st.text(max_size=8), max_size=6))
@settings(quick, max_examples=100)
def test_any_words_on_the_command_line(arguments):
    if "--output" in arguments:  # which would write there
        arguments = [word for word in arguments if not word.endswith((".svg", ".pdf", ".png"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["smooth-interpolation", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
    assert caught.value.code in (0, 1)


@given(st.data())
@quick
def test_records_with_another_part_and_a_right_checksum(data):
    record = json.loads(json.dumps(SHORT))
    for _ in range(data.draw(st.integers(1, 2))):
        part, key = record, None
        while True:  # walk down to a random place
            keys = list(part) if isinstance(part, dict) else list(range(len(part)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if not isinstance(part[key], dict | list) or data.draw(st.integers(0, 3)) == 0:
                part[key] = data.draw(json_values)
                break
            part = part[key]
    fuzz.signed_record(json.dumps(record).encode())


flips = st.lists(st.tuples(st.integers(min_value=0), st.integers(0, 255)), min_size=1, max_size=4)


def flipped(content, changes):
    content = bytearray(content)
    for at, value in changes:
        content[at % len(content)] = value
    return bytes(content)


@given(flips)
@quick
def test_a_record_with_flipped_bytes_is_refused_or_says_the_same(changes):
    path = fuzz.place() / "flipped.json"
    path.write_bytes(flipped(hostile.GOOD, changes))
    try:
        assert store.read_file(path) == store.read_file(hostile.DEMO)  # white space
    except UserError as error:
        assert "\n" not in str(error)


@given(flips)
@quick
def test_a_checkpoint_with_flipped_bytes_is_never_believed(changes):
    content = flipped(fuzz.good_checkpoint(), changes)
    assert fuzz.checkpoint(content) == (content == fuzz.good_checkpoint())


@given(st.sampled_from(sorted(fuzz.checkpoint_text())), st.none() | st.text(max_size=12), json_values)
@example("progress", "two\nlines", None)
@quick
def test_a_checkpoint_with_another_text_and_a_right_checksum(part, name, value):
    text = fuzz.checkpoint_text()
    if name is None or not isinstance(text[part], dict):
        text[part] = value
    else:
        text[part][name if len(name) % 2 else sorted(text[part])[len(name) % len(text[part])]] = value
    fuzz.signed_checkpoint(json.dumps(text).encode())


parts = st.sampled_from(
    ["train", "test", "cat", "dog", "..", "", "/", "a\nb", "é", "0.png", "1.jpg", "x.txt", "\\", "C:"]
)
contents = st.sampled_from([b"", b"x", hostile.png(), hostile.png((9, 9)), hostile.png(mode="P"), hostile.ANIMATED])


@given(
    st.lists(st.tuples(st.lists(parts, min_size=1, max_size=4).map("/".join), contents), max_size=4), st.none() | flips
)
@quick
def test_zips_of_any_names_and_images_and_with_flipped_bytes(more, changes):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**dict(hostile._good_entries()), **dict(more)}.items():
            archive.writestr(zipfile.ZipInfo(name or "empty"), content)
    content = buffer.getvalue()
    fuzz.archive(flipped(content, changes) if changes else content)


@given(st.sampled_from(fuzz.seeds("image")), flips, st.integers(0, 60))
@quick
def test_images_with_flipped_bytes_or_cut_short(content, changes, cut):
    fuzz.image(flipped(content, changes)[: len(content) - cut])


@given(st.sampled_from(fuzz.seeds("tensors")), flips)
@quick
def test_tensor_files_with_flipped_bytes(content, changes):
    fuzz.tensors(flipped(content, changes) if content else content)


@given(st.sampled_from(["status", "lock"]), st.text(max_size=9), json_values)
@quick
def test_status_files_and_locks_with_another_value(target, name, value):
    content = json.loads(fuzz.seeds(target)[0])
    content[sorted(content)[len(name) % len(content)] if len(name) < 8 else name] = value
    fuzz.TARGETS[target](json.dumps(content).encode())


def test_the_guided_fuzzer_runs():
    command = [sys.executable, "-m", "tests.reliability.fuzz", "--seconds", "1", "--only", "lock"]
    result = subprocess.run(command, cwd=locations.repository(), capture_output=True, text=True, timeout=120)
    assert result.returncode == 0 and "lock seconds" in result.stdout and "finds 0" in result.stdout, result.stdout


@pytest.mark.parametrize("scenario", [bad_input.hostile_files_are_refused, bad_input.mutated_files_end_in_a_sentence])
def test_what_the_table_of_reliability_counts_holds(scenario, tmp_path):
    found = scenario(tmp_path, True)
    assert found.tried >= 100 and found.held == found.tried
