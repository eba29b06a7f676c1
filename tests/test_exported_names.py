"""The public names: sorted, complete and described."""

from __future__ import annotations

import inspect
import re
import types
from typing import Any

import pytest

import cupysample

PUBLIC: dict[str, Any] = {name: getattr(cupysample, name) for name in cupysample.__all__}


def sections(text: str) -> dict[str, str]:
    """The sections of a docstring in NumPy's convention, by title."""
    parts = re.split(r"^([A-Z]\w+)\n-{3,}\n", inspect.cleandoc(text), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_all_is_sorted_and_complete() -> None:
    assert cupysample.__all__ == sorted(set(cupysample.__all__))
    visible = {
        name
        for name, value in vars(cupysample).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert visible == set(cupysample.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_described(name: str) -> None:
    """Functions list Parameters and Returns, but torch's deprecated names, which say what they are; classes say it all."""
    value = PUBLIC[name]
    assert value.__doc__, name
    assert value.__module__.startswith("cupysample.")
    if inspect.isclass(value):
        for method, member in vars(value).items():
            if inspect.isfunction(member) and (method == "__call__" or not method.startswith("_")):
                assert member.__doc__, f"{name}.{method}"
    elif "deprecated" not in value.__doc__:
        found = sections(value.__doc__)
        assert "Returns" in found
        lines = re.findall(r"^(\w+(?:, \w+)*) : ", found["Parameters"], re.MULTILINE)
        described = [each for line in lines for each in line.split(", ")]
        assert described == list(inspect.signature(value).parameters)


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if not inspect.isclass(value)])
def test_functions_take_the_arguments_of_interpolate(name: str) -> None:
    """In its order, with its defaults; the gradient has its own two in place of the input, warmup its own, threads are a number."""
    parameters = dict(inspect.signature(PUBLIC[name]).parameters)
    reference = inspect.signature(cupysample.interpolate).parameters
    for own in ("grad_output", "input_size", "backward", "any_size", "n"):
        parameters.pop(own, None)
    assert list(parameters) == [each for each in reference if each in parameters]
    assert all(parameter.default == reference[each].default for each, parameter in parameters.items())
