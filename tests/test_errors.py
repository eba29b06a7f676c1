"""Errors, warnings and module reprs are torch's: every call is made of torch too, for real, and the two compared.

The class is compared always. The words are compared where torch's Python raises them, and for the errors of sizes and
dimensions that its C++ raises; C++'s other words list overloads of functions that do not exist here.
"""

from __future__ import annotations

import copy
import itertools
import linecache
import math
import pickle
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import cupysample
from cupysample import interpolate
from tests.known_differences import REFUSALS, RELAXATIONS, Outcome

SHAPES = {1: (2, 3, 5), 2: (2, 3, 5, 6), 3: (2, 3, 5, 6, 7)}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}

Call = tuple[tuple[int, ...], dict[str, Any]]

FUNCTIONS = ("interpolate", "upsample", "upsample_nearest", "upsample_bilinear")
MODULES = ("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d")


def tensor(*shape: int, dtype: str = "float32") -> Any:
    """Zeros as a tensor."""
    return torch.zeros(shape).to(getattr(torch, dtype))


def array(*shape: int, dtype: str = "float32") -> Any:
    """Zeros as an array."""
    return np.zeros(shape, getattr(ml_dtypes, dtype, dtype))


THEIRS = types.SimpleNamespace(
    zeros=tensor,
    **{name: getattr(F, name) for name in FUNCTIONS},
    **{name: getattr(torch.nn, name) for name in MODULES},
)
OURS = [
    types.SimpleNamespace(zeros=zeros, **{name: getattr(cupysample, name) for name in FUNCTIONS + MODULES})
    for zeros in (array, tensor)
]


def error_of(function: Callable[..., Any], *positional: Any, **named: Any) -> Exception | None:
    """Call and return what is raised."""
    try:
        function(*positional, **named)
    except Exception as error:
        return error
    return None


def said_by_python(error: Exception) -> bool:
    """Whether a raise statement of ``torch/nn/functional.py`` made the error."""
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename
    return file == F.__file__ and linecache.getline(file, trace.tb_lineno).strip().startswith("raise ")


# ---------------------------------------------------------------------------------------------------------------------
# One mistake


def wrong_sizes() -> Iterator[Call]:
    """Calls whose size or scale factor is wrong."""
    for n, shape in SHAPES.items():
        yield shape, {}
        yield shape, {"size": 3, "scale_factor": 2.0}
        for size in [
            *((3,) * (n + 1), [3] * (n + 1), ()),
            *(3.5, 4.0, True, "3", b"3", 3j, {3}, range(3), object(), np.float32(3), np.bool_(True)),
            *((3.5,) * n, [4.0] * n, ("3",) * n, (None,) * n, (True,) * n, (np.float32(3),) * n, ([3],) * n),
            *(np.array([3] * n + [3]), torch.tensor([3] * n + [3]), (torch.tensor(3.0),) * n),
            *(0, -1, (0,) + (3,) * (n - 1), (3,) * (n - 1) + (-1,)),
            2**62,
        ]:
            yield shape, {"size": size}
            yield shape, {"size": size, "mode": "area"}
            yield shape, {"size": size, "mode": LINEAR[n]}
        for factor in [
            *((2.0,) * (n + 1), [2.0] * (n + 1), ()),
            *(2j, {2.0}, object(), (None,) * n),
            *(0, 0.0, 0.01, -1.0, (-1.0,) + (2.0,) * (n - 1), False, math.nan, math.inf, -math.inf),
        ]:
            for mode in ("nearest", "nearest-exact", "area", LINEAR[n]):
                for recompute in (None, True):
                    yield shape, {"scale_factor": factor, "mode": mode, "recompute_scale_factor": recompute}
        for factor in ["2", ("2",) * n, np.array(2.0), np.array([2.0] * (n + 1)), torch.tensor(2.0), 1e20]:
            yield shape, {"scale_factor": factor}
            yield shape, {"scale_factor": factor, "mode": LINEAR[n]}
        for true in (True, 1, "yes", np.bool_(True)):
            yield shape, {"size": 3, "recompute_scale_factor": true}


def wrong_modes() -> Iterator[Call]:
    """Calls whose mode does not exist, or does not go with the other arguments or the input's dimensions."""
    for shape in [(), (5,), (3, 5), *SHAPES.values(), (2, 3, 5, 6, 7, 8)]:
        for mode in ("nearest", "nearest-exact", "area", "linear", "bilinear", "bicubic", "trilinear", "lanczos"):
            for align_corners in (None, False, True, 0, 1, "yes", torch.tensor(True)):
                size = () if len(shape) == 2 else 3
                yield shape, {"size": size, "mode": mode, "align_corners": align_corners}
            yield shape, {"scale_factor": 2.0, "mode": mode}
        for mode in ("nearest", "nearest-exact", "area"):
            yield shape, {"size": 3, "mode": mode, "antialias": True}
        others: list[Any] = ["foo", "Nearest", "", None, 3, ["nearest"], {}]
        for other in others:
            for antialias in (False, True):
                yield shape, {"size": 3, "mode": other, "antialias": antialias}
    for align_corners in (None, False, True):
        yield SHAPES[2], {"size": 3, "mode": "lanczos", "align_corners": align_corners, "antialias": True}


def empty_inputs() -> Iterator[Call]:
    """Calls with an input without pixels; no images at all are no mistake."""
    for n, shape in SHAPES.items():
        for mode in ("nearest", "nearest-exact", "area", LINEAR[n]):
            for axis in range(2, n + 2):
                for batch in (2, 0):
                    empty = (batch, 3, *(0 if d == axis else shape[d] for d in range(2, n + 2)))
                    yield empty, {"size": 3, "mode": mode}
                    yield empty, {"scale_factor": 2.0, "mode": mode}
            yield (0, *shape[1:]), {"size": 3, "mode": mode}


def relaxed(shape: tuple[int, ...], arguments: dict[str, Any]) -> bool:
    """Whether the call is one that ``RELAXATIONS`` describes."""
    return arguments.get("mode") == "lanczos" and len(shape) in (3, 5)


def same_words(theirs: Exception, shape: tuple[int, ...], arguments: dict[str, Any]) -> bool:
    """Whether the words are promised too."""
    if said_by_python(theirs):
        return True
    if not isinstance(theirs, RuntimeError):
        return False
    if arguments.get("mode") == "area":  # torch's pools see 1-D as 2-D, lack a space in 3-D, and multiply sizes first
        return len(shape) == 4 and "overflow" not in str(theirs)
    return True


@pytest.mark.parametrize("calls", [wrong_sizes, wrong_modes, empty_inputs])
def test_one_mistake(calls: Callable[[], Iterator[Call]]) -> None:
    """The class is torch's, and where promised the words; a valid call among them has torch's shape."""
    wrong = []
    for shape, arguments in calls():
        if relaxed(shape, arguments):
            continue
        theirs = error_of(F.interpolate, tensor(*shape), **arguments)
        for zeros in (array, tensor):
            ours = error_of(interpolate, zeros(*shape), **arguments)
            if type(ours) is not type(theirs):
                wrong.append((shape, arguments, theirs, ours))
            elif theirs is None:
                assert interpolate(zeros(*shape), **arguments).shape == F.interpolate(tensor(*shape), **arguments).shape
            elif same_words(theirs, shape, arguments) and str(ours) != str(theirs):
                wrong.append((shape, arguments, theirs, ours))
    assert not wrong, "\n".join(
        f"{shape} {arguments}: {theirs!r}, here {ours!r}" for shape, arguments, theirs, ours in wrong
    )


@pytest.mark.parametrize("mode", ["nearest", "area", "bilinear"])
@pytest.mark.parametrize(
    "arguments",
    [{"size": 2**63}, {"size": (3, 10**30)}, {"scale_factor": 1e20, "recompute_scale_factor": True}],
    ids=str,
)
def test_sizes_beyond_64_bits(mode: str, arguments: dict[str, Any]) -> None:
    """What is no int64 is no size: torch's TypeError, not the RuntimeError of what cannot be allocated."""
    theirs = error_of(F.interpolate, tensor(1, 1, 4, 4), mode=mode, **arguments)
    ours = error_of(interpolate, array(1, 1, 4, 4), mode=mode, **arguments)
    assert type(ours) is type(theirs)


# ---------------------------------------------------------------------------------------------------------------------
# Several mistakes


def _arguments(dimensions: int) -> Iterator[dict[str, Any]]:
    """Every combination of right and wrong arguments."""
    values = {
        "size": (None, 3, (3,) * dimensions, (3,) * (dimensions + 1), 3.5, (3.5,) * dimensions, 0),
        "scale_factor": (None, 2.0, (2.0,) * (dimensions + 1), 2j, 0.0, math.nan),
        "mode": ("nearest", "area", "linear", "bilinear", "bicubic", "lanczos", "foo"),
        "align_corners": (None, True, 1),
        "recompute_scale_factor": (None, True),
        "antialias": (False, True),
    }
    for combination in itertools.product(*values.values()):
        yield dict(zip(values, combination, strict=True))


@pytest.mark.parametrize("dimensions", [0, 1, 2, 3])
def test_of_several_mistakes_torch_reports_the_same(dimensions: int) -> None:
    """20,000 calls: the order of the checks is torch's."""
    shape = (2, 3, 5, 6, 7)[: dimensions + 2]
    x, y = tensor(*shape), array(*shape)
    for arguments in _arguments(dimensions):
        if relaxed(shape, arguments):
            continue
        theirs = arguments
        if arguments["mode"] == "linear" and dimensions == 1:  # antialiasing it is no mistake here
            theirs = {**arguments, "antialias": False}
        expected = error_of(F.interpolate, x, **theirs)
        actual = error_of(interpolate, y, **arguments)
        assert type(actual) is type(expected), arguments
        if expected is not None and said_by_python(expected):
            assert str(actual) == str(expected), arguments


@pytest.mark.parametrize(
    "arguments", [{"size": 0}, {"size": 3.5}, {"scale_factor": 0.0}, {"size": 3, "align_corners": 1}]
)
def test_the_dtype_is_checked_last(arguments: dict[str, Any]) -> None:
    """As in torch, where the sizes are checked before a kernel for the dtype is looked for."""
    shape = SHAPES[2]
    theirs = error_of(F.interpolate, tensor(*shape, dtype="bool"), mode="bilinear", **arguments)
    assert theirs is not None
    assert not isinstance(theirs, NotImplementedError)
    ours = error_of(interpolate, array(*shape, dtype="bool"), mode="bilinear", **arguments)
    assert type(ours) is type(theirs)


# ---------------------------------------------------------------------------------------------------------------------
# Deliberate differences


@pytest.mark.parametrize("row", RELAXATIONS, ids=lambda row: row.what[:40])
def test_relaxations(row: Outcome) -> None:
    """Every example is refused by torch and computed here."""
    for call in row.calls:
        assert type(error_of(call, THEIRS)) is row.error
        for api in OURS:
            call(api)


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: row.what[:40])
def test_refusals(row: Outcome) -> None:
    """Every example is computed by torch and refused here."""
    for call in row.calls:
        call(THEIRS)
        for api in OURS:
            assert type(error_of(call, api)) is row.error


# ---------------------------------------------------------------------------------------------------------------------
# Inputs


class Scipylike:
    """Has a shape and a dtype, and is no array."""

    shape = (1, 1, 4, 4)
    dtype = np.dtype(np.float32)
    ndim = 4

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.zeros(self.shape, dtype)


@pytest.mark.parametrize(
    "x",
    [[[[[1.0]]]], "image.png", None, 3, 3.0, object(), memoryview(b"abcd"), np.float32(1), np.ndarray, Scipylike()],
    ids=lambda x: type(x).__name__,
)
def test_other_objects_are_a_type_error_that_says_what_is_accepted(x: Any) -> None:
    with pytest.raises(TypeError, match=r"^input: must be .*numpy\.ndarray.*cupy\.ndarray.*torch\.Tensor") as caught:
        interpolate(x, size=2)
    assert type(x).__qualname__ in str(caught.value)
    with pytest.raises(TypeError, match=r"^out: must be "):
        interpolate(array(1, 1, 4, 4), size=2, out=x if x is not None else [])


def test_a_masked_array_is_refused_because_its_mask_would_be_dropped() -> None:
    with pytest.raises(TypeError, match=r"^input: a numpy\.ma\.MaskedArray carries a mask"):
        interpolate(np.ma.masked_less(array(1, 1, 4, 4), 1), size=2)


@pytest.mark.parametrize(
    ("zeros", "dtype"),
    [(array, d) for d in ("O", "U3", "S2", "M8[s]", "m8[s]", "V4", "i4,f4", "float8_e4m3fn", "g")]
    + [(tensor, d) for d in ("float8_e4m3fn", "float8_e5m2", "complex32")],
)
@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_other_dtypes_are_not_implemented(zeros: Callable[..., Any], dtype: str) -> None:
    """The class is torch's for a dtype without a kernel; the words name the dtypes there are."""
    x = zeros(1, 1, 4, 4, dtype=dtype)
    for mode in ("nearest", "bilinear"):
        with pytest.raises(NotImplementedError, match=r"^input: dtype .* is not implemented .* use one of float16, "):
            interpolate(x, size=2, mode=mode)


@pytest.mark.parametrize("mode", ["bilinear", "area"])
def test_bool_is_not_implemented_where_values_would_be_mixed(mode: str) -> None:
    for zeros in (array, tensor):
        with pytest.raises(NotImplementedError, match=r"dtype bool .* bool in the nearest modes"):
            interpolate(zeros(1, 1, 4, 4, dtype="bool"), size=2, mode=mode)


# ---------------------------------------------------------------------------------------------------------------------
# Calls do not depend on the calls before them

TWINS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"size": 2}, {"size": 2.0}),
    ({"size": 1}, {"size": True}),
    ({"size": (2, 2)}, {"size": (2.0, 2.0)}),
    ({"size": (1, 1)}, {"size": (True, True)}),
    ({"size": [2, 2]}, {"size": (2.0, 2)}),
    ({"size": np.int64(2)}, {"size": np.float64(2)}),
    ({"size": np.int64(1)}, {"size": np.bool_(True)}),
    ({"size": 2, "mode": "bilinear", "align_corners": True}, {"size": 2, "mode": "bilinear", "align_corners": 1}),
    ({"size": 2, "mode": "bilinear", "align_corners": False}, {"size": 2, "mode": "bilinear", "align_corners": 0}),
    ({"size": 2, "mode": "bilinear", "align_corners": True}, {"size": 2, "mode": "bilinear", "align_corners": 1.0}),
    ({"size": 2, "align_corners": None}, {"size": 2, "align_corners": False}),
    ({"scale_factor": 2}, {"scale_factor": 2 + 0j}),
    ({"scale_factor": (2.0, 2.0)}, {"scale_factor": (2.0 + 0j, 2.0)}),
    ({"size": 2, "recompute_scale_factor": 0}, {"size": 2, "recompute_scale_factor": 1}),
]
"""A valid call, and an invalid one whose arguments compare equal or nearly so."""


@pytest.mark.parametrize("twins", TWINS, ids=str)
@pytest.mark.parametrize("valid_first", [True, False])
def test_valid_and_invalid_calls_do_not_meet_in_a_cache(
    twins: tuple[dict[str, Any], dict[str, Any]], valid_first: bool
) -> None:
    """In either order, repeatedly, on a shape no other test has made."""
    valid, invalid = twins
    x = array(1, 1, 4 + TWINS.index(twins), 31 + valid_first)
    x[:] = np.arange(x.size).reshape(x.shape)
    expected = F.interpolate(torch.from_numpy(x), **valid).numpy()
    theirs = error_of(F.interpolate, torch.from_numpy(x), **invalid)
    assert theirs is not None
    for i in range(4):
        if (i % 2 == 0) == valid_first:
            np.testing.assert_allclose(interpolate(x, **valid), expected, rtol=1e-6)
        else:
            assert type(error_of(interpolate, x, **invalid)) is type(theirs)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (
            "size",
            [2, np.int32(2), np.uint8(2), (2, 2), [2, 2], torch.Size([2, 2])]
            + [(torch.tensor(2), 2), torch.tensor(2), (torch.tensor([2]), 2), torch.tensor([[2]])],
        ),
        ("scale_factor", [2, 2.0, np.float32(2), np.float64(2), np.int64(2), (2, 2.0), [2.0, np.float16(2)]]),
        ("antialias", [True, 1, np.bool_(True), "yes"]),
        ("antialias", [False, 0, np.bool_(False), None, ""]),
        ("align_corners", [None, False]),
        ("recompute_scale_factor", [None, False, 0, ""]),
    ],
)
def test_spellings_of_one_value(name: str, values: list[Any]) -> None:
    """Everything torch takes for the same value gives the same result, here as there."""
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 7), np.float32)
    rest = {} if name in ("size", "scale_factor") else {"scale_factor": 1.7}
    results = []
    for value in values:
        arguments: dict[str, Any] = {"mode": "bilinear", **rest, name: value}
        F.interpolate(torch.from_numpy(x), **arguments)
        results.append(interpolate(x, **arguments))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


# ---------------------------------------------------------------------------------------------------------------------
# Deprecated functions


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("upsample", {"size": 3}),
        ("upsample", {"scale_factor": 2, "mode": "bicubic", "align_corners": True}),
        ("upsample_nearest", {"scale_factor": 2}),
        ("upsample_bilinear", {"size": (3, 4)}),
    ],
)
def test_deprecated_functions_warn_as_torch_does(name: str, arguments: dict[str, Any]) -> None:
    """Category, words and the line that is blamed are torch's; so is the result."""
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 7), np.float32)
    with warnings.catch_warnings(record=True) as theirs:
        warnings.simplefilter("always")
        expected = getattr(F, name)(torch.from_numpy(x), **arguments)
    with warnings.catch_warnings(record=True) as ours:
        warnings.simplefilter("always")
        actual = getattr(cupysample, name)(x, **arguments)
    assert [(w.category, str(w.message), w.filename) for w in ours] == [
        (w.category, str(w.message), w.filename) for w in theirs
    ]
    assert ours[0].filename == __file__
    np.testing.assert_allclose(actual, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_modules_do_not_warn(name: str) -> None:
    getattr(cupysample, name)(size=3)(array(1, 1, 4, 4))


# ---------------------------------------------------------------------------------------------------------------------
# Modules

SOME_SIZES: list[Any] = [0, 3, True, 3.5, "3", (2, 3), [2, 3], (), torch.Size([2, 3]), np.int64(3), None]
SOME_FACTORS: list[Any] = [
    *(0, 0.0, 2, 2.0, 2.5, True, False, "2", "x", (2, 3), (2.0,), (), [], {}, 1j, (None,)),
    *(np.float32(2), np.array(2.0), np.array([2.0, 3.0]), torch.tensor(2.0), object),
]
ARGUMENTS: list[dict[str, Any]] = [
    {},
    *({"size": value} for value in SOME_SIZES),
    *({"scale_factor": value} for value in SOME_FACTORS),
    {"size": 3, "scale_factor": 2},
]
"""Arguments of every module's constructor."""
MORE: list[dict[str, Any]] = [
    {"size": 3, "mode": "bicubic", "align_corners": True},
    {"scale_factor": (1, 2), "mode": "bilinear", "recompute_scale_factor": True},
    {"mode": 3},
    {"foo": 1},
]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [(name, arguments) for name in MODULES for arguments in ARGUMENTS] + [("Upsample", more) for more in MORE],
    ids=str,
)
def test_modules_show_themselves_as_torch_s(name: str, arguments: dict[str, Any]) -> None:
    """The repr is torch's, or the constructor raises what torch's does, in the same words."""

    def shown(module: Any) -> str:
        try:
            return repr(getattr(module, name)(**arguments))
        except Exception as error:
            return repr(error)

    assert shown(cupysample) == shown(torch.nn)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("UpsamplingNearest2d", {"size": (3, 9)}),
        ("UpsamplingBilinear2d", {"scale_factor": 2}),
        *(("Upsample", more) for more in MORE[:2]),
    ],
    ids=str,
)
def test_modules_resample_as_torch_s_do(name: str, arguments: dict[str, Any]) -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 7), np.float32)
    theirs, ours = (getattr(module, name)(**arguments) for module in (torch.nn, cupysample))
    np.testing.assert_allclose(ours(x), theirs(torch.from_numpy(x)).numpy(), atol=1e-5)


def test_an_antialiasing_module_says_so() -> None:
    assert repr(cupysample.Upsample(size=3, mode="bilinear", antialias=True)) == (
        "Upsample(size=3, mode='bilinear', antialias=True)"
    )


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize(
    "module",
    [
        cupysample.Upsample(scale_factor=(1.7, 2), mode="bicubic", align_corners=False, antialias=True),
        cupysample.Upsample(size=(3, 4), mode="area"),
        cupysample.UpsamplingNearest2d(size=3),
        cupysample.UpsamplingBilinear2d(scale_factor=2),
    ],
    ids=repr,
)
def test_modules_survive_copies_and_pickles(copied: Callable[[Any], Any], module: Any) -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 7), np.float32)
    other = copied(module)
    assert type(other) is type(module)
    assert vars(other) == vars(module)
    assert repr(other) == repr(module)
    np.testing.assert_array_equal(other(x), module(x))


def test_old_pickles_recompute_their_scale_factor() -> None:
    """As torch's do, of modules pickled before the argument existed; such modules never antialias."""
    state = vars(cupysample.Upsample(scale_factor=2.5, mode="bilinear"))
    module = cupysample.Upsample.__new__(cupysample.Upsample)
    module.__setstate__({k: v for k, v in state.items() if k not in ("recompute_scale_factor", "antialias")})
    theirs = torch.nn.Upsample(scale_factor=2.5, mode="bilinear")
    theirs.__setstate__({k: v for k, v in vars(theirs).items() if k != "recompute_scale_factor"})
    assert module.recompute_scale_factor is theirs.recompute_scale_factor is True
    assert module.antialias is False
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 7), np.float32)
    np.testing.assert_allclose(module(x), theirs(torch.from_numpy(x)).numpy(), atol=1e-6)


@pytest.mark.parametrize("arguments", [{"scale_factor": 0}, {"size": 3, "scale_factor": 2}, {"size": 3, "mode": "foo"}])
def test_modules_fail_when_called_as_torch_s_do(arguments: dict[str, Any]) -> None:
    theirs = error_of(torch.nn.Upsample(**arguments), tensor(1, 1, 4, 4))
    ours = error_of(cupysample.Upsample(**arguments), array(1, 1, 4, 4))
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("name", [n for n in dir(torch.nn.Upsample(2)) if n in torch.nn.Upsample.__constants__])
def test_modules_have_torch_s_attributes(name: str) -> None:
    theirs = getattr(torch.nn.Upsample(scale_factor=(2, 3), mode="bicubic"), name)
    assert getattr(cupysample.Upsample(scale_factor=(2, 3), mode="bicubic"), name) == theirs
