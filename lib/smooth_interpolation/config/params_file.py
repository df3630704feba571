"""Flat YAML, with the line of every field: plain values and lists of plain values, nothing that runs code or grows.

PyYAML's safe loader makes no objects, but it follows aliases (a few lines can become gigabytes), lets the second of two
equal keys win silently, and forgets lines. So its events are looked at first, which takes no more than the text does.
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_BYTES = 64 * 1024  # of a file
MAX_SCALAR = 1000  # characters of one value
EXPECTED = "write one 'field: value' a line"


class FlatYamlError(ValueError):
    """What is wrong, as the end of a sentence, and the line it is on (from 1; None if it is on no line)."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.problem, self.line = problem, line


def read(text: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The fields of a text and their lines, counted from 1.

    Raises:
        FlatYamlError: if it is anything but one flat mapping with distinct names.
    """
    node = _compose(text)
    if not isinstance(node, yaml.MappingNode):
        raise FlatYamlError(EXPECTED)
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key, item in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise FlatYamlError(EXPECTED, line)
        if key.value in values:
            raise FlatYamlError(f"'{key.value}' is there twice, first on line {lines[key.value]}: keep one", line)
        values[key.value], lines[key.value] = _construct(item), line
    return values, lines


def value(text: str) -> Any:
    """One value or one list of values.

    Raises:
        FlatYamlError: if it is neither.
    """
    node = _compose(text)
    if isinstance(node, yaml.MappingNode):
        raise FlatYamlError("write one value, or a list such as [1, 2]")
    return None if node is None else _construct(node)


def _compose(text: str) -> yaml.Node | None:
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise FlatYamlError(f"it is larger than {MAX_BYTES // 1024} KiB")
    try:
        _check(text)
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise FlatYamlError(f"not valid YAML; {EXPECTED}", mark.line + 1 if mark else None) from None
    except yaml.reader.ReaderError as error:  # a character that YAML does not allow
        line = text.count("\n", 0, error.position) + 1
        raise FlatYamlError(f"not valid YAML (a control character); {EXPECTED}", line) from None


def _check(text: str) -> None:
    """Refuse what is not flat, without building any of it."""
    documents, open_lists, open_mappings = 0, 0, 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise FlatYamlError("names with & or * are not read: write the value itself", line)
        if getattr(event, "tag", None):
            raise FlatYamlError("types with ! are not read: write a plain value", line)
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_SCALAR:
            raise FlatYamlError(f"a value of more than {MAX_SCALAR:,} characters", line)
        documents += isinstance(event, yaml.DocumentStartEvent)
        open_lists += isinstance(event, yaml.SequenceStartEvent) - isinstance(event, yaml.SequenceEndEvent)
        open_mappings += isinstance(event, yaml.MappingStartEvent) - isinstance(event, yaml.MappingEndEvent)
        if documents > 1:
            raise FlatYamlError("a second document: keep one", line)
        if open_lists > 1 or open_mappings > 1 or (open_lists and isinstance(event, yaml.MappingStartEvent)):
            raise FlatYamlError(f"a list or mapping within another; {EXPECTED}", line)


def _construct(node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item) for item in node.value]
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError, OverflowError):  # such as 2001-99-99, which looks like a date
        raise FlatYamlError(f"'{node.value[:40]}' is not a value", node.start_mark.line + 1) from None
