"""The examples of the public functions run, and every function of the API page has one."""

import doctest
import importlib
import pkgutil
import re

import pytest
import torch

import api_docs
import smooth_interpolation
from smooth_interpolation import locations

PAGE = (locations.repository() / "book" / "api.md").read_text()
LISTED = re.findall(
    r"^\.\. auto(?:function|class|exception):: smooth_interpolation\.([\w.]+)\.(\w+)$", PAGE, re.MULTILINE
)
ON_PAGE = {
    getattr(importlib.import_module(f"smooth_interpolation.{module}"), name).__module__ for module, name in LISTED
}
NEED_NONE = {"smooth_interpolation.errors"}  # what they are is said by those that raise them
MODULES = sorted(found.name for found in pkgutil.walk_packages(smooth_interpolation.__path__, "smooth_interpolation."))


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_run(name):
    torch.manual_seed(0)
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert found.failed == 0
    assert found.attempted > 0 or name not in ON_PAGE - NEED_NONE


@pytest.mark.parametrize(("module", "name"), LISTED)
def test_every_listed_function_exists_and_has_an_example(module, name):
    thing = getattr(importlib.import_module(f"smooth_interpolation.{module}"), name)
    assert thing.__doc__
    needs = callable(thing) and not isinstance(thing, type)
    assert ">>>" in thing.__doc__ or not needs, f"{module}.{name} has no example"


def test_docstrings_become_markup_with_links():
    lines = [
        "Norm of `x`, ||J||, of Equation 2, see `paths.segment_lengths` and `segment_lengths`:",
        "",
        "    sum_p ||J||",
        "",
        "Args:",
        "    values: of `x`.",
        "",
        "        deeper",
        "",
        "Example:",
        '    >>> "`x` ||"',
        "    '`x` ||'",
    ]
    found = api_docs.rewrite(lines, {"segment_lengths": "a.paths.segment_lengths"})
    assert found[0] == (
        "Norm of ``x``, ‖J‖, of Equation :eq:`eq2`, see :py:obj:`paths.segment_lengths <a.paths.segment_lengths>` and "
        ":py:obj:`segment_lengths <a.paths.segment_lengths>`::"
    )
    assert found[2] == "    sum_p ‖J‖" and found[5] == "    values: of ``x``." and found[-2:] == lines[-2:]
