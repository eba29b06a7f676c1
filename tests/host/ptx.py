"""PTX, what NVRTC makes of a kernel, as a text that the host build takes for a kernel's: a line for each instruction.

It shows what the text of the kernel alone does not: what the compiler contracted, reordered or left out, how it laid out the
parameters, and what it made of the instructions that a kernel writes as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

FIRST = 1024
"""The address of the first byte of shared memory: none is 0."""

TYPES = {
    **{f"{kind}{bits}": f"{kind}{bits}" for kind in "us" for bits in (8, 16, 32, 64)},
    **{f"b{bits}": f"u{bits}" for bits in (8, 16, 32, 64)},
    **{name: name for name in ("f16", "bf16", "f32", "f64", "pred")},
}
"""Of PTX, and in C++."""
BITS = {"f32": "u32", "f64": "u64"}
"""A float that is moved, not computed with."""
REGISTERS = {"pred": "bool", "b16": "u16", "b32": "u32", "b64": "u64", "f32": "u32", "f64": "u64"}
SPECIAL = {
    f"%{ptx}.{axis}": f"{cuda}.{axis}"
    for ptx, cuda in (("tid", "threadIdx"), ("ntid", "blockDim"), ("ctaid", "blockIdx"), ("nctaid", "gridDim"))
    for axis in "xyz"
}
RENAMED = {"and": "bit_and", "or": "bit_or", "xor": "bit_xor", "not": "bit_not"}
SIMPLE = {
    "add",
    "sub",
    "mul",
    "mul_lo",
    "mul_hi",
    "mul_wide",
    "mad_lo",
    "mad_hi",
    "fma",
    "div",
    "div_approx",
    "rem",
    "rcp",
}
SIMPLE |= {"neg", "abs", "min", "max", "and", "or", "xor", "not", "popc"}
"""Instructions whose operands are all of the type that they name."""
COMPARISONS = {f"{name}{u}" for name in ("eq", "ne", "lt", "le", "gt", "ge") for u in ("", "u")} | {"num", "nan"}
ROUNDING = {"rni", "rzi", "rmi", "rpi"}
IGNORED = {"rn", "ftz", "nc", "cs", "uni"}
"""Modifiers that go without saying, or mean nothing on a host; and ``ftz``, which is looked for."""

_HEADER = re.compile(r"\.(entry|func)\s*(?:\(([^)]*)\))?\s*(\w+)\s*\(([^)]*)\)[^{;]*\{")
_SHARED = re.compile(r"^\s*\.shared \.align (\d+) \.b8 (\w+)\[(\d+)\];", re.MULTILINE)
_PARAMETER = re.compile(r"\.param (?:\.align (\d+) )?\.([a-z]+)(\d+)(?: \.ptr[^\]]*?)? (\w+)(?:\[(\d+)\])?")
_STATEMENT = re.compile(r"\s*(?:([{}])|(\$?\w+):(?!:)|((?:[^;{}]|\{[^}]*\})+);)")
_PREDICATE = re.compile(r"@(!?)(%\w+)\s+")
_ADDRESS = re.compile(r"\[(%?[\w$]+)(?:\+(-?\d+))?\]")
_CALL = re.compile(r"call(?:\.uni)?\s*(?:\((\w+)\),)?\s*(\w+)\s*,\s*\(([^)]*)\)")

_PREAMBLE = """#define CS_ENTRY cupysample_entry
#pragma GCC diagnostic ignored "-Wunused-label"
#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wunused-parameter"
using namespace ptx;
"""


class PTXError(Exception):
    """What has no meaning here yet."""


def as_text(ptx: str, entry: str | None = None) -> str:
    """Return the text of a kernel ``(source, out, parameters)`` for ``build``; PTXError for what is not known.

    By its name, of any kernel: ``source`` is then where the addresses of its parameters are, as a driver takes them.
    """
    ptx = re.sub(r"//.*", "", ptx)
    shared = _Shared.of(ptx)
    text = [_PREAMBLE]
    for header in _HEADER.finditer(ptx):
        kind, returned, name, parameters = header.groups()
        body = _body(ptx, header.end())
        if kind == "entry" and name != (entry or name):
            continue
        if kind == "entry":
            text += _any_entry(parameters) if entry else _entry(parameters)
            if shared.places:
                text.append(f"__shared__ __align__(128) unsigned char shared[{shared.end - FIRST}];")
        else:
            names = [_PARAMETER.search(each) for each in (returned or "", *parameters.split(","))]
            arguments = ", ".join(f"unsigned char* {found[4]}" for found in names if found)
            text.append(f"static void {name}({arguments}) {{")
        text += [line for statement in body for line in _lines(*statement, shared)]
    return "\n".join(text) + "\n"


class _Shared(NamedTuple):
    """Addresses of the arrays in shared memory, and where it ends."""

    places: dict[str, int]
    end: int

    @classmethod
    def of(cls, ptx: str) -> _Shared:
        places, end = {}, FIRST
        for align, name, extent in _SHARED.findall(ptx):
            places[name] = -(-end // int(align)) * int(align)
            end = places[name] + int(extent)
        return cls(places, end)


_HEAD = 'extern "C" __global__ void CS_ENTRY(const void* given_source, void* given_out, const Parameters given) {'


def _entry(parameters: str) -> Iterator[str]:
    """The head of the kernel: parameters as a device has them, bytes."""
    (_, _, _, source, _), (_, _, _, out, _), (align, _, _, struct, extent) = _PARAMETER.findall(parameters)
    yield f"struct Parameters {{ alignas({align}) unsigned char bytes[{extent}]; }};"
    yield _HEAD
    for name, pointer in ((source, "&given_source"), (out, "&given_out"), (struct, "&given")):
        yield f"const unsigned char* const {name} = reinterpret_cast<const unsigned char*>({pointer});"


def _any_entry(parameters: str) -> Iterator[str]:
    yield "struct Parameters {};"
    yield _HEAD
    for n, (_, _, _, name, _) in enumerate(_PARAMETER.findall(parameters)):
        yield f"const unsigned char* const {name} = static_cast<const unsigned char* const*>(given_source)[{n}];"


def _body(ptx: str, start: int) -> Iterator[tuple[str, str, str]]:
    """Statements up to the end of a function: (brace, label, statement), one of them not empty."""
    depth = 1
    while depth:
        found = _STATEMENT.match(ptx, start)
        if not found:
            raise PTXError(ptx[start : start + 80])
        brace, label, statement = found.groups(default="")
        depth += {"{": 1, "}": -1}.get(brace, 0)
        start = found.end()
        yield brace, label, statement.strip()


def _lines(brace: str, label: str, statement: str, shared: _Shared) -> Iterator[str]:
    if brace:
        yield brace
    elif label:
        yield f"{_identifier(label)}:;"
    elif statement.startswith("."):
        yield from _declaration(statement)
    else:
        condition = _PREDICATE.match(statement)
        if condition:
            statement = statement[condition.end() :]
        line = _instruction(" ".join(statement.split()), shared)
        yield f"if ({condition[1]}{_register(condition[2])}) {{ {line} }}" if condition else line


def _declaration(statement: str) -> Iterator[str]:
    """Registers begin as something that no kernel expects; so do parameters of a call."""
    words = statement.split(None, 2)
    if words[0] == ".reg":
        kind = words[1][1:]
        counted = re.match(r"%(\w+)<(\d+)>", words[2])
        if counted:
            names = (_register(f"%{counted[1]}{n}") for n in range(1, int(counted[2])))
            poison = "true" if kind == "pred" else f"{REGISTERS[kind]}(0xcdcdcdcdcdcdcdcd)"
            for name in names:
                yield f"{REGISTERS[kind]} {name} = {poison};"
    elif words[0] == ".param":
        found = _PARAMETER.search(statement)
        assert found, statement
        extent = int(found[5] or 1) * int(found[3]) // 8
        yield f"alignas(16) unsigned char {found[4]}[{extent}]; memset({found[4]}, 0xcd, {extent});"
    elif words[0] not in (".pragma", ".loc", ".shared"):
        raise PTXError(statement)


# ---------------------------------------------------------------------------------------------------------------------
# Instructions


def _instruction(text: str, shared: _Shared) -> str:
    if text.startswith("call"):
        return _call(text)
    opcode, _, rest = text.partition(" ")
    operands = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", rest)
    name, *modifiers = opcode.split(".")
    types = [each for each in modifiers if each in TYPES]
    others = [each for each in modifiers if each not in TYPES and each not in IGNORED]
    flushed = "ftz" in modifiers
    match name:
        case "ret" | "exit":
            return "return;"
        case "bra":
            return f"goto {_identifier(operands[0])};"
        case "bar" if others == ["sync"] and operands == ["0"]:
            return "__syncthreads();"
        case "mov":
            return _moved(TYPES[types[0]], operands, shared)
        case "ld":
            return _loaded(others, types[0], operands, shared)
        case "st":
            return _stored(others, types[0], operands, shared)
        case "cvta" if others in (["to", "global"], ["param"]):
            return _set(operands[0], _value("u64", operands[1]))
        case "cp":
            return _copied(others, operands, shared)
        case "setp" if len(others) == 1 and others[0] in COMPARISONS:
            return _set(operands[0], f"ptx::{others[0]}({_each([types[0]] * 2, operands[1:], flushed)})")
        case "selp":
            a, b = (_value(_bits(types[0]), each) for each in operands[1:3])
            return _set(operands[0], f"{_value('pred', operands[3])} ? {a} : {b}")
        case "shl" | "shr":
            return _set(operands[0], f"ptx::{name}({_each((types[0], 'u32'), operands[1:])})")
        case "bfi" if types == ["b32"]:
            return _set(operands[0], f"ptx::bfi({_each(['u32'] * 4, operands[1:])})")
        case "prmt" if types == ["b32"] and not others:
            return _set(operands[0], f"ptx::prmt({_each(['u32'] * 3, operands[1:])})")
        case "dp2a" if types == ["s32", "u32"]:
            return _set(operands[0], f"ptx::dp2a_{others[0]}({_each(('s32', 'u32', 's32'), operands[1:])})")
        case "cvt" if others == ["pack", "sat"] and types == ["u8", "s32", "b32"]:
            return _set(operands[0], f"ptx::cvt_pack({_each(('s32', 's32', 'u32'), operands[1:])})")
        case "cvt":
            return _converted(text, others, types, operands, flushed)
    function = "_".join([name, *others])
    if function not in SIMPLE or len(types) != 1:
        raise PTXError(text)
    computed = f"ptx::{RENAMED.get(function, function)}({_each(types * (len(operands) - 1), operands[1:], flushed)})"
    return _set(operands[0], f"ptx::ftz({computed})" if flushed else computed)


def _call(text: str) -> str:
    found = _CALL.match(text)
    if not found:
        raise PTXError(text)
    arguments = [*([found[1]] if found[1] else []), *(each.strip() for each in found[3].split(",") if each.strip())]
    return f"{found[2]}({', '.join(arguments)});"


def _moved(kind: str, operands: Sequence[str], shared: _Shared) -> str:
    """A value, an address, or the halves of one."""
    to, value = operands
    if value in shared.places:
        return _set(to, f"u32({shared.places[value]})")
    if to.startswith("{"):
        low, high = _several(to)
        half = f"u{int(kind[1:]) // 2}"
        whole = _value(kind, value)
        return f"{_set(low, f'{half}({whole})')} {_set(high, f'{half}({whole} >> {half[1:]})')}"
    if value.startswith("{"):
        low, high = (f"{kind}({_value(f'u{int(kind[1:]) // 2}', each)})" for each in _several(value))
        return _set(to, f"{kind}({low} | {high} << {int(kind[1:]) // 2})")
    if re.fullmatch(r"[A-Za-z_]\w*", value):  # a parameter
        return _set(to, f"reinterpret_cast<u64>({value})")
    return _set(to, _value(BITS.get(kind, kind), value))


def _loaded(others: Sequence[str], kind: str, operands: Sequence[str], shared: _Shared) -> str:
    to, address = operands
    registers = _several(to)
    loaded = f"load<{_bits(kind)}, {len(registers)}>({_address(address, others, shared)})"
    if len(registers) == 1:
        return _set(to, f"{loaded}.element[0]")
    each = (_set(register, f"loaded.element[{n}]") for n, register in enumerate(registers) if register != "_")
    return f"{{ const auto loaded = {loaded}; {' '.join(each)} }}"


def _stored(others: Sequence[str], kind: str, operands: Sequence[str], shared: _Shared) -> str:
    address, value = operands
    values = [_value(_bits(kind), each) for each in _several(value)]
    stored = f"{_bits(kind)}, {len(values)}"
    return f"store<{stored}>({_address(address, others, shared)}, Vector<{stored}>{{{{{', '.join(values)}}}}});"


def _copied(others: Sequence[str], operands: Sequence[str], shared: _Shared) -> str:
    match others:
        case ["async", "commit_group"]:
            return "cuda_on_host::commit_copies();"
        case ["async", "wait_group"]:
            return f"cuda_on_host::wait_for_copies({operands[0]});"
        case ["async", "ca" | "cg", "shared", "global"]:
            to = _address(operands[0], ["shared"], shared)
            return f"copy_ahead<{operands[2]}>({to}, {_address(operands[1], ['global'], shared)});"
    raise PTXError(f"cp.{'.'.join(others)}")


def _converted(text: str, others: Sequence[str], types: Sequence[str], operands: Sequence[str], flushed: bool) -> str:
    """To an integer, rounded to one first; what is saturated is a float, between 0 and 1."""
    to, of = (TYPES[each] for each in types)
    value = _value(of, operands[1], flushed and of == "f32")
    is_integer = "f" not in to
    for each in others:
        if each not in ROUNDING and (each != "sat" or is_integer):
            raise PTXError(text)
        value = f"ptx::{each}({value})"
    if "f" in of and is_integer:
        if not others:
            raise PTXError(text)
        value = f"cuda_on_host::to_integer<{to}>({value})"
    elif to != of:
        value = f"{to}({value})"
    return _set(operands[0], f"ptx::ftz({value})" if flushed and to == "f32" else value)


# ---------------------------------------------------------------------------------------------------------------------
# Operands


def _identifier(label: str) -> str:
    return label.replace("$", "")


def _register(name: str) -> str:
    return f"{name[1:]}_"  # f32 is a type


def _several(operand: str) -> list[str]:
    return [each.strip() for each in operand.strip("{}").split(",")]


def _bits(kind: str) -> str:
    return BITS.get(kind, TYPES[kind])


def _set(register: str, value: str) -> str:
    return f"PTX_SET({_register(register)}, {value});"


def _each(kinds: Sequence[str], operands: Sequence[str], flushed: bool = False) -> str:
    return ", ".join(_value(TYPES[kind], each, flushed) for kind, each in zip(kinds, operands, strict=True))


def _value(kind: str, operand: str, flushed: bool = False) -> str:
    """An operand as a value of a type."""
    if operand in SPECIAL:
        bits = SPECIAL[operand]
    elif operand.startswith("%"):
        bits = _register(operand)
    elif operand.startswith(("0f", "0d")):
        bits = f"{'u32' if operand[1] == 'f' else 'u64'}(0x{operand[2:]})"
    elif re.fullmatch(r"-?\d+", operand):
        bits = f"{int(operand) % 2**64}ull"
    else:
        raise PTXError(operand)
    value = f"get<{kind}>({bits})"
    return f"ptx::ftz({value})" if flushed else value


def _address(operand: str, others: Sequence[str], shared: _Shared) -> str:
    """Where an instruction reads or writes; what it holds of a space of its own is in `others`."""
    found = _ADDRESS.fullmatch(operand)
    if not found:
        raise PTXError(operand)
    base, offset = found[1], int(found[2] or 0)
    if "shared" in others:
        place = str(shared.places[base]) if base in shared.places else _register(base)
        return f"reinterpret_cast<u64>(&shared[{place} - {FIRST - offset}])"
    if base.startswith("%"):
        return f"{_register(base)} + {offset}" if offset >= 0 else f"{_register(base)} - {-offset}"
    return f"reinterpret_cast<u64>({base}) + {offset}"
