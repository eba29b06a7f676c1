"""Run the shipped `.cu` text on a CPU.

    kernels = build({"copy": text})                      # g++, cached
    out = kernels.run(job)                               # in any thread order
    replay_sanitized(kernels, [job])                     # under AddressSanitizer and UBSan, guard zones around buffers
    log = build({"copy": text}, "log").log(job)          # every access to memory
    sectors(log)["source", "read"].sectors_per_request   # coalescing
    races(log)                                           # missing barriers

What it cannot show: time, caches, occupancy, the memory model between blocks, flushed subnormals.
"""

from .accesses import ACCESS, Log, Race, Range, Traffic, races, sectors
from .compiler import CompileError, Flavour
from .kernels import HostKernels, Job, LaunchError, Order, Relocation, build
from .sanitized import SanitizerError, replay_sanitized

__all__ = [
    "ACCESS",
    "CompileError",
    "Flavour",
    "HostKernels",
    "Job",
    "LaunchError",
    "Log",
    "Order",
    "Race",
    "Range",
    "Relocation",
    "SanitizerError",
    "Traffic",
    "build",
    "races",
    "replay_sanitized",
    "sectors",
]
