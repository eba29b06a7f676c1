"""Arrays of other libraries: JAX for real on a CPU, bare producers of DLPack and of ``__cuda_array_interface__``."""

from __future__ import annotations

import sys
import tracemalloc
import types
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import cupysample
from cupysample import _foreign, interpolate, interpolate_backward
from cupysample._program import Program
from tests import cases, cupy_on_host
from tests.cupy_on_host import Driver

CPU, CUDA, PINNED, ROCM = (1, 0), (2, 0), (3, 0), (10, 0)
MANAGED = 13


class Bare:
    """An array of no library: the two methods of DLPack, over NumPy's memory."""

    def __init__(self, values: NDArray[Any], device: tuple[int, int] = CPU) -> None:
        self.values, self.device = values, device

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, **options: Any) -> Any:
        return self.values.__dlpack__(**options)


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Where the NumPy path read and wrote."""
    seen: list[tuple[int, int]] = []
    run = Program.run

    def spy(program: Program, source: Any, out: Any, threads: Any) -> None:
        seen.append((source.ctypes.data, out.ctypes.data))
        run(program, source, out, threads)

    monkeypatch.setattr(Program, "run", spy)
    return seen


def noise(*shape: int, dtype: str = "float32") -> NDArray[Any]:
    return cases.values(np.random.default_rng(0), shape, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "uint8", "int16", "complex64", "bool"])
def test_jax(dtype: str, addresses: list[tuple[int, int]]) -> None:
    """JAX in, JAX out, read and written where it lies; the same numbers as NumPy's."""
    values = noise(2, 3, 5, 6, dtype=dtype)
    mode = "nearest" if dtype == "bool" else "bilinear"
    x = jnp.asarray(values)
    y = interpolate(x, size=(7, 4), mode=mode)
    assert isinstance(y, jax.Array)
    assert addresses[-1] == (x.unsafe_buffer_pointer(), y.unsafe_buffer_pointer())
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(np.asarray(y), interpolate(values, size=(7, 4), mode=mode))
    if dtype in cases.FLOATS:
        g = interpolate_backward(y, x.shape, (7, 4), mode=mode)
        assert isinstance(g, jax.Array)
        assert addresses[-1] == (y.unsafe_buffer_pointer(), g.unsafe_buffer_pointer())
        np.testing.assert_array_equal(np.asarray(g), interpolate_backward(np.asarray(y), x.shape, (7, 4), mode=mode))
    assert isinstance(cupysample.Upsample(scale_factor=2)(x), jax.Array)
    cupysample.warmup(x, 3, backward=dtype in cases.FLOATS)


def test_jax_arrays_are_read_only() -> None:
    x = jnp.ones((1, 1, 2, 2))
    out = jnp.zeros((1, 1, 4, 4))
    with pytest.raises(ValueError, match="out: must be writeable, got a read-only array"):
        interpolate(x, 4, out=out)
    assert not out.any()


def test_a_large_array_is_not_copied() -> None:
    for x in (jnp.ones((1, 3, 2000, 2000)), Bare(np.ones((1, 3, 2000, 2000), np.float32))):
        interpolate(x, size=1)
        tracemalloc.start()
        interpolate(x, size=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100_000


def test_bare_producers(addresses: list[tuple[int, int]]) -> None:
    """Any strides; NumPy out, for nothing is known of their library; ``out`` is theirs."""
    base = noise(2, 6, 8, 10)
    for values in (base, base[:, ::2, 3:], base.transpose(0, 3, 1, 2), np.broadcast_to(base[:, :1], base.shape)):
        x: Any = Bare(values)
        y = interpolate(x, size=5, mode="bicubic")
        assert isinstance(y, np.ndarray)
        assert addresses[-1][0] == values.ctypes.data
        np.testing.assert_array_equal(y, interpolate(values, size=5, mode="bicubic"))
        out: Any = Bare(np.zeros(y.shape, y.dtype))
        assert interpolate(x, size=5, mode="bicubic", out=out) is out
        assert addresses[-1][1] == out.values.ctypes.data
        np.testing.assert_array_equal(out.values, y)
        with pytest.raises(ValueError, match=r"out: must have shape \(.*\), got \(1, 1\)"):
            interpolate(x, size=5, out=Bare(np.zeros((1, 1), y.dtype)))
    overlapping: Any = Bare(base)
    with pytest.raises(ValueError, match="out: must not overlap the input"):
        interpolate(overlapping, scale_factor=1, out=overlapping)


def test_bare_producers_where_torch_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    assert isinstance(interpolate(Bare(noise(1, 1, 2, 2)), 4), np.ndarray)


class Older(Bare):
    """A producer from before DLPack 1.0."""

    def __dlpack__(self, stream: None = None) -> Any:  # type: ignore[override]
        return self.values.__dlpack__()


@pytest.mark.parametrize("kind", [Bare, Older])
def test_bfloat16_of_bare_producers(kind: type[Bare], addresses: list[tuple[int, int]]) -> None:
    """NumPy's reader lacks it; read in place all the same, as NumPy's own array of it is."""
    values = noise(2, 3, 5, 6, dtype="bfloat16")
    tensor: Any = torch.from_numpy(values.view(np.uint16)).view(torch.bfloat16)
    x: Any = kind(tensor.permute(0, 1, 3, 2))
    y = interpolate(x, size=7, mode="bilinear")
    assert addresses[-1][0] == values.ctypes.data
    expected = interpolate(values.transpose(0, 1, 3, 2), size=7, mode="bilinear")
    assert y.dtype == expected.dtype == values.dtype
    np.testing.assert_array_equal(y, expected)
    if kind is Bare:
        out: Any = Bare(torch.zeros(2, 3, 7, 7, dtype=torch.bfloat16))
        assert interpolate(x, size=7, mode="bilinear", out=out) is out
        assert addresses[-1][1] == out.values.data_ptr()
        np.testing.assert_array_equal(out.values.view(torch.uint16).numpy(), expected.view(np.uint16))


def test_bfloat16_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    x: Any = Bare(torch.zeros(1, 1, 2, 2, dtype=torch.bfloat16))
    with pytest.raises(
        BufferError, match=r"^input: .*Bare cannot be read .*: bfloat16 .* needs ml_dtypes: pip install"
    ):
        interpolate(x, 4)


def test_read_only_producers_are_respected() -> None:
    x, out = Bare(noise(1, 1, 2, 2)), Bare(np.zeros((1, 1, 4, 4), np.float32))
    out.values.flags.writeable = False
    with pytest.raises(ValueError, match="out: must be writeable"):
        interpolate(x, 4, out=out)
    x.values.flags.writeable = False
    assert interpolate(x, 4).shape == (1, 1, 4, 4)  # type: ignore[attr-defined]


def test_pinned_memory_is_host_memory() -> None:
    class Pinned(Bare):
        def __dlpack__(self, **options: Any) -> Any:
            return self.values.__dlpack__(**options)

    x = Pinned(noise(1, 1, 2, 2), PINNED)
    assert isinstance(interpolate(x, 4), np.ndarray)


@pytest.mark.parametrize("error", [BufferError, NotImplementedError, RuntimeError, TypeError, ValueError])
@pytest.mark.parametrize("method", ["__dlpack__", "__dlpack_device__"])
def test_whatever_a_producer_raises_is_a_buffer_error(method: str, error: type[Exception]) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise error("sharded")

    x = type("Refusing", (Bare,), {method: refuse})(noise(1, 1, 2, 2))
    with pytest.raises(BufferError, match=r"^input: .*Refusing cannot be read without a copy: sharded$"):
        interpolate(x, 4)


def test_bad_producers_are_clear_errors() -> None:
    """Argument, rule, what came; the producer's own words are kept."""

    class Refusing(Bare):
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("the stream is gone")

    values = noise(1, 1, 2, 2)
    with pytest.raises(BufferError, match=r"^grad_output: .*Refusing cannot be read"):
        interpolate_backward(Refusing(values), (1, 1, 4, 4), 2)
    with pytest.raises(BufferError, match=r"^out: .*Refusing cannot be read"):
        interpolate(Bare(values), 4, out=Refusing(values))
    with pytest.raises(
        TypeError, match=r"^input: must lie in host memory or on a CUDA device, got DLPack's device type 10"
    ):
        interpolate(Bare(values, ROCM), 4)
    with pytest.raises(TypeError, match=r"input: must be a numpy.ndarray, .* with __dlpack__, .* got builtins.type"):
        interpolate(Bare, 4)
    big: Any = values.astype(">f4")
    with pytest.raises(BufferError, match=r"^input: .*Bare cannot be read without a copy: DLPack only supports native"):
        interpolate(Bare(big), 4)
    with pytest.raises(NotImplementedError, match="Got 3D input, but bilinear mode needs 4D input"):
        interpolate(Bare(values[0]), 4, mode="bilinear")


def test_what_jax_traces_has_no_values() -> None:
    x = jax.numpy.ones((1, 1, 2, 2))
    for traced in (jax.jit, jax.grad, jax.vmap):
        with pytest.raises(
            TypeError, match=r"^input: .*Tracer; what jax.jit, grad and vmap trace has no values: use jax.pure_cal"
        ):
            traced(lambda x: interpolate(x, 4).sum())(x)
    result = jax.ShapeDtypeStruct((1, 1, 4, 4), x.dtype)
    y = jax.jit(lambda x: jax.pure_callback(lambda x: interpolate(x, 4), result, x))(x)
    np.testing.assert_array_equal(y, np.ones((1, 1, 4, 4)))


def test_out_is_of_the_inputs_kind() -> None:
    values = noise(1, 1, 2, 2)
    with pytest.raises(TypeError, match=r"^out: must be a NumPy array as the input is, got tests\.test_foreign\.Bare$"):
        interpolate(values, 4, out=Bare(np.zeros((1, 1, 4, 4), np.float32)))
    with pytest.raises(TypeError, match=r"^out: must be a NumPy array as the input is, got a torch array$"):
        interpolate(Bare(values), 4, out=torch.zeros(1, 1, 4, 4))


def test_libraries_without_a_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """``from_dlpack`` at the library's top level, or in TensorFlow's own place, where it takes a capsule."""
    library: Any = types.ModuleType("paddle")
    library.from_dlpack = lambda x: ("paddle", x)
    monkeypatch.setitem(sys.modules, "paddle", library)
    place: Any = types.ModuleType("tensorflow.experimental.dlpack")
    place.from_dlpack = lambda capsule: ("tensorflow", type(capsule).__name__)
    for name in ("tensorflow", "tensorflow.experimental"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "tensorflow.experimental.dlpack", place)
    values = noise(1, 1, 2, 2)
    paddle = type("Tensor", (Bare,), {"__module__": "paddle.base"})(values)
    name, result = interpolate(paddle, 4)
    assert name == "paddle"
    np.testing.assert_array_equal(result, interpolate(values, 4))
    tensorflow = type("EagerTensor", (Bare,), {"__module__": "tensorflow.python.framework.ops"})(values)
    assert interpolate(tensorflow, 4) == ("tensorflow", "PyCapsule")


@pytest.mark.parametrize(("device", "moved"), [("cpu:0", []), ("cpu:1", ["cpu:1"])])
def test_results_lie_on_the_device_of_the_input(device: str, moved: list[str]) -> None:
    """Where several share a memory a library takes results to its first; those that lie right are left alone."""
    asked = []

    class Namespaced(Bare):
        def __init__(self, values: NDArray[Any], device: str) -> None:
            super().__init__(values)
            self.device = device  # type: ignore[assignment]

        def __dlpack_device__(self) -> tuple[int, int]:
            return CPU

        def __array_namespace__(self) -> Any:
            return types.SimpleNamespace(from_dlpack=lambda x: Namespaced(np.from_dlpack(x), "cpu:0"))

        def to_device(self, device: str) -> Any:
            asked.append(device)
            return Namespaced(self.values, device)

    y: Any = interpolate(Namespaced(noise(1, 1, 2, 2), device), 4)
    assert (y.device, asked) == (device, moved)


# ---------------------------------------------------------------------------------------------------------------------
# On a device


@pytest.fixture
def driver() -> Iterator[Driver]:
    with cupy_on_host.installed() as (_, driver):
        yield driver


class OnDevice(Bare):
    """A producer whose memory is the stand-in's device memory."""

    def __init__(self, values: NDArray[Any], index: int = 0, kind: int = CUDA[0]) -> None:
        super().__init__(values, (kind, index))
        self.streams: list[int | None] = []

    def __dlpack__(self, *, stream: int | None = None, **options: Any) -> Any:
        self.streams.append(stream)
        assert options.get("max_version") == (1, 0)  # of which the mark of read-only memory is
        return super().__dlpack__(**options)


class Described:
    """Numba's and RMM's kind: ``__cuda_array_interface__`` and nothing else."""

    def __init__(self, values: NDArray[Any], **more: Any) -> None:
        self.values = values
        self.__cuda_array_interface__ = values.__array_interface__ | {"version": 3} | more


@pytest.mark.host
def test_device_memory_stays_where_it_is(driver: Driver) -> None:
    """One launch on the producer's device, its addresses; a CuPy array out. Managed memory is of a device too."""
    values = noise(1, 2, 4, 5)
    expected = interpolate(values, 7, mode="bilinear")
    there = values.copy()
    driver.places[there.ctypes.data] = 2
    on_device = [(0, OnDevice(values)), (2, OnDevice(values, 2)), (2, OnDevice(values, 2, MANAGED))]
    for index, x in (*on_device, (0, Described(values)), (2, Described(there))):
        launched = len(driver.launched)
        y: Any = interpolate(x, 7, mode="bilinear")
        assert isinstance(y, cupy_on_host.Array)
        assert y.device.id == index
        assert [launch[1] for launch in driver.launched[launched:]] == [index]
        np.testing.assert_allclose(y.values, expected, atol=1e-6)
    assert driver.device == 0


@pytest.mark.host
def test_empty_device_memory_lies_on_the_current_device(driver: Driver) -> None:
    """Its address is 0, of which CUDA knows no device."""
    y: Any = interpolate(Described(np.zeros((0, 2, 4, 5), np.float32), data=(0, False)), scale_factor=2)
    assert (y.shape, y.device.id, driver.launched) == ((0, 2, 8, 10), 0, [])


@pytest.mark.host
def test_out_on_another_device_is_written(driver: Driver) -> None:
    values, out = noise(1, 2, 4, 5), np.zeros((1, 2, 8, 10), np.float32)
    driver.places |= {values.ctypes.data: 2, out.ctypes.data: 2}
    interpolate(Described(values), scale_factor=2, out=Described(out))
    np.testing.assert_array_equal(out, interpolate(values, scale_factor=2))
    assert driver.device == 0


@pytest.mark.host
@pytest.mark.usefixtures("driver")
def test_producers_are_told_the_current_stream() -> None:
    x, out = OnDevice(noise(1, 2, 4, 5)), OnDevice(np.zeros((1, 2, 7, 7), np.float32))
    interpolate(x, 7, out=out)
    with cupy_on_host.Stream(non_blocking=True) as stream:
        interpolate(x, 7)
        interpolate(x, 7, out=out)
    assert x.streams == [1, stream.ptr, stream.ptr]
    assert set(out.streams) == {1, stream.ptr}


@pytest.mark.host
def test_results_are_given_away_on_their_device(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose current stream is what their reader is made to wait for."""
    devices = []
    library: Any = types.ModuleType("paddle")
    library.from_dlpack = lambda _: devices.append(driver.device)
    monkeypatch.setitem(sys.modules, "paddle", library)
    interpolate(type("Tensor", (OnDevice,), {"__module__": "paddle.base"})(noise(1, 2, 4, 5), 2), 7)
    assert (devices, driver.device) == ([2], 0)


@pytest.mark.host
def test_host_memory_stays_there_beside_a_device(driver: Driver) -> None:
    """CuPy and a device at hand, arrays of the CPU are the CPU's: nothing is launched, uploaded or allocated there."""
    values = noise(1, 2, 4, 5)
    for x in (values, torch.from_numpy(values), Bare(values), Bare(values, PINNED), jnp.asarray(values)):
        np.testing.assert_array_equal(interpolate(x, 7, mode="bicubic"), interpolate(values, 7, mode="bicubic"))
        cupysample.warmup(x, 7, mode="bicubic")
    assert (driver.launched, driver.uploads, driver.allocations) == ([], 0, 0)


@pytest.mark.host
def test_tensorflow_on_a_device(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses a stream, waits until its values are there, and expects the same of what it takes."""
    waits = []

    def take(capsule: Any) -> Any:
        waits.append(driver.waits)
        return capsule

    place: Any = types.ModuleType("tensorflow.experimental.dlpack")
    place.from_dlpack = take
    for name in ("tensorflow", "tensorflow.experimental", "tensorflow.experimental.dlpack"):
        monkeypatch.setitem(sys.modules, name, place if name.endswith("dlpack") else types.ModuleType(name))
    monkeypatch.setattr(cupy_on_host.Array, "__dlpack__", lambda self: self.values.__dlpack__(), raising=False)

    class EagerTensor(OnDevice):
        __module__ = "tensorflow.python.framework.ops"

        def __dlpack__(self, *, stream: None = None, **options: Any) -> Any:  # type: ignore[override]
            if stream is not None:
                raise RuntimeError("tf.Tensor does not support DLPack export with a non-None stream")
            return self.values.__dlpack__()

    x, out = EagerTensor(noise(1, 2, 4, 5)), EagerTensor(np.zeros((1, 2, 8, 10), np.float32))
    assert "dltensor" in repr(interpolate(x, scale_factor=2))
    assert waits == [1]
    assert [launch[1] for launch in driver.launched] == [0]
    with pytest.raises(ValueError, match="out: must be writeable, got a read-only array"):
        interpolate(x, scale_factor=2, out=out)


@pytest.mark.host
def test_device_memory_marked_read_only_is_not_written(driver: Driver) -> None:
    """CuPy's own reader drops the mark; DLPack 1.0's flag and the other interface's are read here."""
    x = OnDevice(noise(1, 1, 2, 2))
    for values in (np.zeros((1, 1, 4, 4), np.float32), np.zeros((1, 1, 4, 4), np.float32)):
        for out in (OnDevice(values), Described(values)):
            out.values.flags.writeable = True
            assert interpolate(x, 4, out=out) is out
            launched = len(driver.launched)
            out.values.flags.writeable = False
            fixed = out if isinstance(out, OnDevice) else Described(values)
            with pytest.raises(ValueError, match="out: must be writeable, got a read-only array"):
                interpolate(x, 4, out=fixed)
            assert len(driver.launched) == launched


@pytest.mark.host
@pytest.mark.usefixtures("driver")
def test_a_stream_that_means_two_things_is_refused() -> None:
    values = noise(1, 2, 4, 5)
    with pytest.raises(BufferError, match=r"^input: .*Described cannot be read .*stream 0 is ambiguous"):
        interpolate(Described(values, stream=0), 7)
    assert isinstance(interpolate(Described(values, stream=1), 7), cupy_on_host.Array)


def test_device_memory_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    for x in (OnDevice(noise(1, 1, 2, 2)), Described(noise(1, 1, 2, 2))):
        with pytest.raises(RuntimeError, match=r"with CuPy, which cannot be imported .*cupy-cuda12x\[ctk\]"):
            interpolate(x, 4)


def test_results_that_a_library_cannot_import_are_not_lost() -> None:
    """No ``from_dlpack``: NumPy's array."""
    result = noise(1, 1, 2, 2)
    assert _foreign.exported(result, Bare(result)) is result
