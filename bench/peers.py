"""The same call by others, where they are installed, run on the device and have the case."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from bench.machines import Call, Cpu, Machine
from bench.workloads import Workload

COMPILED = ("features", "features-bicubic", "photo", "volume", "audio")
"""Whose forward call in float32, contiguous, is also timed as ``torch.compile`` and CuPy's ``zoom`` have it."""

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take three quarters of the device's memory


def peers(
    workload: Workload, machine: Machine, x: Any, makers: dict[str, Callable[[Workload, Machine, Any], Call | None]]
) -> Iterator[tuple[str, Call]]:
    """(name, call) of everybody who accepts the call: each version has other cases, and other errors for the rest."""
    for name, make in makers.items():
        try:
            call = make(workload, machine, x)
            if call is not None:
                call()
                yield name, call
        except Exception:  # noqa: PERF203 - whatever a peer raises for what it lacks
            continue


def torch(workload: Workload, machine: Machine, x: Any) -> Call:
    """``torch.nn.functional.interpolate``, or autograd's backward of it."""
    library = importlib.import_module("torch")
    interpolate, tensor = library.nn.functional.interpolate, machine.tensor(x)
    if not workload.gradient:
        return lambda: interpolate(tensor, **workload.arguments)
    memory_format = library.channels_last if workload.channels_last else library.contiguous_format
    source = library.empty(workload.shape, dtype=tensor.dtype, device=tensor.device, memory_format=memory_format)
    y = interpolate(source.requires_grad_(), **workload.arguments)
    return lambda: library.autograd.grad(y, source, tensor, retain_graph=True)


def torch_compile(workload: Workload, machine: Machine, x: Any) -> Call | None:
    """``torch.compile`` of the same."""
    if not _compiled(workload) or isinstance(machine, Cpu):
        return None
    library = importlib.import_module("torch")
    interpolate, tensor = library.nn.functional.interpolate, machine.tensor(x)
    compiled: Callable[[Any], Any] = library.compile(lambda t: interpolate(t, **workload.arguments))
    return lambda: compiled(tensor)


def _compiled(workload: Workload) -> bool:
    plain = workload.dtype == "float32" and workload.layout == "contiguous" and not workload.gradient
    return workload.name in COMPILED and plain


def jax(workload: Workload, machine: Machine, x: Any) -> Call | None:
    """``jax.image.resize``, compiled: half-pixel centres, antialias or not; no nearest of torch's, no area."""
    methods = {
        "linear": "linear",
        "bilinear": "linear",
        "trilinear": "linear",
        "bicubic": "cubic",
        "lanczos": "lanczos3",
    }
    method = methods.get(str(workload.arguments.get("mode")))
    if method is None or workload.gradient or workload.dtype == "uint8" or workload.channels_last:
        return None
    library = importlib.import_module("jax")
    array = library.numpy.from_dlpack(machine.tensor(x))
    antialias = bool(workload.arguments.get("antialias"))
    resize = library.jit(lambda a: library.image.resize(a, workload.output_shape, method, antialias))
    return lambda: resize(array).block_until_ready()


def cupyx_zoom(workload: Workload, machine: Machine, x: Any) -> Call | None:
    """``cupyx.scipy.ndimage.zoom`` with the same grid and order; it has no antialias and other borders."""
    order = {"nearest": 0, "linear": 1, "bilinear": 1, "trilinear": 1, "bicubic": 3}.get(
        str(workload.arguments.get("mode"))
    )
    if order is None or not _compiled(workload) or workload.arguments.get("antialias") or isinstance(machine, Cpu):
        return None
    zoom = importlib.import_module("cupyx.scipy.ndimage").zoom
    factors = [n_out / n_in for n_in, n_out in zip(workload.shape, workload.output_shape, strict=True)]
    return lambda: zoom(x, factors, order=order, mode="grid-constant", grid_mode=True)


def lanczos_triton(workload: Workload, machine: Machine, x: Any) -> Call | None:
    """lanczos-triton: antialiased Lanczos of images."""
    if workload.arguments.get("mode") != "lanczos" or workload.gradient or isinstance(machine, Cpu):
        return None
    resize = importlib.import_module("lanczos_triton").resize
    tensor, size = machine.tensor(x), workload.output_shape[2:]
    return lambda: resize(tensor, size)


def cv_cuda(workload: Workload, machine: Machine, x: Any) -> Call | None:
    """CV-CUDA's ``resize`` of images, NHWC: without antialias."""
    methods = {"nearest": "NEAREST", "bilinear": "LINEAR", "bicubic": "CUBIC", "area": "AREA"}
    method = methods.get(str(workload.arguments.get("mode")))
    suited = workload.channels_last and len(workload.shape) == 4 and workload.dtype in ("uint8", "float32")
    if (
        method is None
        or not suited
        or workload.gradient
        or workload.arguments.get("antialias")
        or isinstance(machine, Cpu)
    ):
        return None
    library = importlib.import_module("cvcuda")
    images = library.as_tensor(machine.tensor(x).permute(0, 2, 3, 1), "NHWC")
    n, c, height, width = workload.output_shape
    return lambda: library.resize(images, (n, height, width, c), getattr(library.Interp, method))


PEERS: dict[str, Callable[[Workload, Machine, Any], Call | None]] = {
    "torch": torch,
    "torch.compile": torch_compile,
    "jax": jax,
    "cupyx zoom": cupyx_zoom,
    "lanczos-triton": lanczos_triton,
    "CV-CUDA": cv_cuda,
}


# ---------------------------------------------------------------------------------------------------------------------
# On a CPU


def opencv(workload: Workload, machine: Machine, x: Any) -> Call | None:
    """OpenCV's ``resize`` of every plane; it has no antialias."""
    names = {"nearest": "INTER_NEAREST", "bilinear": "INTER_LINEAR", "bicubic": "INTER_CUBIC", "area": "INTER_AREA"}
    name = names.get(str(workload.arguments.get("mode")))
    plain = workload.layout == "contiguous" and not workload.gradient and not workload.arguments.get("antialias")
    if name is None or not plain or not isinstance(machine, Cpu):
        return None
    library = importlib.import_module("cv2")
    planes, (height, width) = list(x.reshape(-1, *x.shape[2:])), workload.output_shape[2:]
    method = getattr(library, name)
    return lambda: [library.resize(plane, (width, height), interpolation=method) for plane in planes]


def pillow(workload: Workload, machine: Machine, x: Any) -> Call | None:
    """Pillow's ``resize`` of every plane; bilinear and bicubic antialias where they shrink, as lanczos does."""
    names = {"nearest": "NEAREST", "bilinear": "BILINEAR", "bicubic": "BICUBIC", "area": "BOX", "lanczos": "LANCZOS"}
    name, mode = names.get(str(workload.arguments.get("mode"))), {"float32": "F", "uint8": "L"}.get(workload.dtype)
    plain = workload.layout == "contiguous" and not workload.gradient
    if name is None or mode is None or not plain or not isinstance(machine, Cpu):
        return None
    library = importlib.import_module("PIL.Image")
    images = [library.fromarray(plane) for plane in x.reshape(-1, *x.shape[2:])]
    (height, width), method = workload.output_shape[2:], getattr(library.Resampling, name)
    return lambda: [image.resize((width, height), method) for image in images]


def scipy_zoom(workload: Workload, machine: Machine, x: Any) -> Call | None:
    """``scipy.ndimage.zoom`` with the same grid and order; it has no antialias and other borders."""
    order = {"nearest": 0, "linear": 1, "bilinear": 1, "trilinear": 1, "bicubic": 3}.get(
        str(workload.arguments.get("mode"))
    )
    plain = workload.dtype == "float32" and not workload.gradient and not workload.arguments.get("antialias")
    if order is None or not plain or not isinstance(machine, Cpu):
        return None
    zoom = importlib.import_module("scipy.ndimage").zoom
    factors = [n_out / n_in for n_in, n_out in zip(workload.shape, workload.output_shape, strict=True)]
    return lambda: zoom(x, factors, order=order, mode="grid-constant", grid_mode=True)


CPU_PEERS: dict[str, Callable[[Workload, Machine, Any], Call | None]] = {
    "torch": torch,
    "OpenCV": opencv,
    "Pillow": pillow,
    "scipy zoom": scipy_zoom,
}
