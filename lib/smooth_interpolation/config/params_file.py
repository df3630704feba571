"""Params files: found, read as flat YAML with the line of every field, and made an `Experiment`.

Flat is: plain values and lists of plain values. PyYAML's safe loader makes no objects, but it follows aliases (a few lines can become
gigabytes), lets the second of two equal keys win silently, and forgets lines.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from .. import files, locations
from ..errors import ConfigError
from .fields import at, build, sentence, unknown_name
from .settings import FIELDS, SCALES, Experiment

MAX_BYTES = 64 * 1024  # of a file
MAX_SCALAR = 1000  # characters of one value
EXPECTED = "write one 'field: value' a line"
NO_PARAMS = "params/ comes with the project's repository, not with the package: go there, or name a file of your own"


class _Loader(yaml.SafeLoader):
    """Refuses what is not flat before it is composed, and reads 1e-3 as a number, as YAML 1.2 does."""

    def __init__(self, text: str, place: Callable[[int], str]) -> None:
        super().__init__(text)
        self.place = place  # in words, of a line

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        place = self.place(event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise ConfigError(f"{place}: names with & or * are not read: write the value itself.")
        if event.tag:
            raise ConfigError(f"{place}: types with ! are not read: write a plain value.")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_SCALAR:
            raise ConfigError(f"{place}: a value of more than {MAX_SCALAR:,} characters.")
        within = isinstance(parent, yaml.SequenceNode) and isinstance(event, yaml.CollectionStartEvent)
        if within or (parent is not None and isinstance(event, yaml.MappingStartEvent)):
            raise ConfigError(f"{place}: a list or mapping within another; {EXPECTED}.")
        return super().compose_node(parent, index)

    def construct(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return [self.construct(item) for item in node.value]
        try:
            return self.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):  # such as 2001-99-99, which looks like a date
            where = self.place(node.start_mark.line + 1)
            raise ConfigError(f"{where}: '{node.value[:40]}' is not a value.") from None


EXPONENT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+.0123456789"))


def parsed(text: str, where: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The fields of a text, which must be one flat mapping with distinct names, and their lines, counted from 1."""
    node, loader = _composed(text, lambda line: f"{where}, line {line}" if line else where)
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{where}: {EXPECTED}.")
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key, item in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{where}, line {line}: {EXPECTED}.")
        if key.value in values:
            first = f"first on line {lines[key.value]}"
            raise ConfigError(f"{where}, line {line}: '{key.value}' is there twice, {first}: keep one.")
        values[key.value], lines[key.value] = loader.construct(item), line
    return values, lines


def value(text: str, where: str) -> Any:
    """One value or one list of values; ConfigError, naming the place, for anything else."""
    node, loader = _composed(text, lambda line: where)
    if isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{where}: write one value, or a list such as [1, 2].")
    return None if node is None else loader.construct(node)


def _composed(text: str, place: Callable[[int], str]) -> tuple[yaml.Node | None, _Loader]:
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise ConfigError(f"{place(0)}: it is larger than {MAX_BYTES // 1024} KiB.")
    try:
        loader = _Loader(text, place)
        node = loader.get_node() if loader.check_node() else None
        if loader.check_node():
            raise ConfigError(f"{place(loader.peek_event().start_mark.line + 1)}: a second document: keep one.")
        return node, loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{place(mark.line + 1 if mark else 0)}: not valid YAML; {EXPECTED}.") from None
    except yaml.reader.ReaderError as error:  # a character that YAML does not allow
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{place(line)}: not valid YAML (a control character); {EXPECTED}.") from None


def read(path: Path | str) -> tuple[dict[str, Any], dict[str, int]]:
    """The fields of a params file, and the lines they are on. Raises ConfigError if it is missing or no flat YAML."""
    path = locations.given(path)
    try:
        text = files.read_bytes(path, MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        known = (locations.repository() / "params").is_dir()
        advice = "params files are named params/<scale>/<experiment>.yaml" if known else NO_PARAMS
        raise ConfigError(sentence(f"Cannot read {path}: {reason}{_similar(path) or f'; {advice}'}")) from None
    return parsed(text, str(path))


def _similar(path: Path) -> str:
    """'; did you mean ...?' with a file that there is, for a path to none: as it is called from here."""
    root = locations.repository()
    known = [file.relative_to(root).as_posix() for file in (root / "params").glob("*/*.yaml")]
    if path.exists() or not (near := difflib.get_close_matches(path.as_posix()[-100:], known, n=1)):
        return ""
    return f"; did you mean '{near[0] if root == Path.cwd() else root / near[0]}'?"


def based(path: Path | str, within: tuple[Path, ...] = ()) -> tuple[dict[str, Any], dict[str, int]]:
    """`read`, with what the file's `base` has that the file has not: `base: gpu/convnet-noise20`, or a file beside it.

    With a base, the experiment is named after the file unless it says otherwise, and the scale is the file's directory
    below `params/`, or else the base's.
    """
    values, lines = read(path)
    if (base := values.pop("base", None)) is None:
        return values, lines
    where, here = at(str(path), lines, "base"), locations.given(path).resolve()
    if not isinstance(base, str):
        raise ConfigError(f"{where}: base must name a params file, such as demo/convnet-noise20.")
    if here in within:
        raise ConfigError(f"{where}: its base leads back to it: name another.")
    name = base.removesuffix(".yaml") + ".yaml"
    places = [here.parent / name, locations.repository() / "params" / name]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ConfigError(sentence(f"{where}: there is no {name}{_similar(Path('params', name))}"))
    beneath, _ = based(found, (*within, here))
    own = {"experiment": here.stem} | ({"scale": here.parent.name} if here.parent.parent.name == "params" else {})
    return {**beneath, **own, **values}, lines


def load(path: Path | str, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment in a params file, with some fields set apart from it.

    Fields that differ from the file name their records' directory, so that they never mix with the file's own.
    A value of None, and a value equal to the file's, is no override.

    Example:
        >>> experiment = load(locations.params_file("demo", "convnet-noise20"), {"epochs": 20})
        >>> len(experiment.runs()), experiment.run(width=8, seed=0).path.name
        (5, 'w008-s0.json')
    """
    where = str(path)
    values, lines = based(path)
    for name in (*values, *(overrides or {})):
        if name not in FIELDS:
            place = at(where, lines, name) if name in values else "Parameters"
            raise ConfigError(f"{place}: {unknown_name(name, FIELDS)}")
    filed = build(Experiment, values, where, lines)
    given = {key: _untyped(key, value) for key, value in (overrides or {}).items() if value is not None}
    changed = build(Experiment, {**filed.model_dump(), **given}, "the given parameters" if given else where)
    was, apart = filed.model_dump(mode="json"), []
    for key, value in changed.model_dump(mode="json").items():
        if key not in ("widths", "seeds", "overrides") and value != was[key]:
            apart.append(f"{key}={'-'.join(map(str, value)) if isinstance(value, list) else value}")
    return changed.model_copy(update={"overrides": tuple(apart)})


def _untyped(name: str, given: Any) -> Any:
    """A number or list that came as text: papermill's -p passes [1, 2] so, and its -f 1e-3."""
    if not isinstance(given, str) or Experiment.model_fields[name].annotation is str:
        return given
    try:
        found = value(given, name)
    except ConfigError:
        return given
    wanted = isinstance(found, bool) == (Experiment.model_fields[name].annotation is bool)
    return found if isinstance(found, int | float | list) and wanted else given


def find(scale: str, experiment: str, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """`load` of `params/<scale>/<experiment>.yaml` in this repository, or of the file that `experiment` names.

    Example:
        >>> find("demo", "convnet-noise20", {"epochs": 20}).name
        'convnet-noise20+epochs=20'
    """
    if isinstance(experiment, str) and experiment.endswith(".yaml"):
        return load(experiment, overrides)
    directory = locations.params_file("any", "any").parents[1]
    if not directory.is_dir():
        raise ConfigError(f"No experiments here: {NO_PARAMS}.")
    scales = dict.fromkeys([*SCALES, *sorted(path.parent.name for path in directory.glob("*/*.yaml"))])
    if scale not in scales:
        raise ConfigError(f"scale: {unknown_name(scale, scales)}")
    directory = directory / scale
    known = {path.stem: path for path in directory.glob("*.yaml")}
    if not isinstance(experiment, str) or experiment not in known:
        raise ConfigError(f"No experiment of this name at scale '{scale}': {unknown_name(experiment, known)}")
    return load(known[experiment], overrides)
