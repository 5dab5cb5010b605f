"""Merge modules in WebAssembly, by ``wasmtime``. docs/MERGE.md has the ABI.

Rule: a pure function of its arguments, on every machine: no imports, no state from one call to the next, one NaN, and limits counted in
instructions and bytes, not in time. Whatever the module returns is checked before it is used. Must not know: what is done with a failure.
"""

import wasmtime

from streamline_core.conflict import MERGED_BYTES_MAX
from streamline_core.errors import UsageError

FUEL_MAX = 100_000_000
"""For one call, its start and its allocations included: one for each instruction, bulk ones by bytes and elements."""
MEMORY_BYTES_MAX = 16 << 20
STACK_BYTES_MAX = 256 << 10
TABLE_ELEMENTS_MAX = 10_000
TABLES_MAX = 4
CAUSE_CHARS_MAX = 200

DELETED = 0xFFFFFFFF
"""The length that stands for None; -1 as an i32."""

_BINARY = b"\0asm\1\0\0\0"
_FUNCTIONS = (
    ("alloc", "(i32) -> (i32)"),
    ("merge", "(i32, i32, i32, i32, i32, i32) -> (i64)"),
)
# Off: what may differ between machines (threads, relaxed SIMD), what the ABI has no use for, memory that the cap would not see (GC), and
# SIMD: asked for the types of an export that takes a vector, the library (50.0.1) ends the whole process.
_FEATURES_OFF = (
    "threads", "simd", "relaxed_simd", "memory64", "multi_memory", "custom_page_sizes",
    "gc", "function_references", "exceptions", "stack_switching", "wide_arithmetic",
)  # fmt: skip


class MergeFailed(Exception):
    """The module trapped, ran into a limit, or returned nonsense."""


class WasmMerge:
    """A merge by a WebAssembly module; called like the core's ``Merge``, from any thread.

    Raises UsageError when it is made of anything but a module that keeps the ABI, and MergeFailed when called.
    """

    def __init__(self, name: str, content: bytes) -> None:
        """``name`` is for what is raised; ``content`` is the file's."""
        if not content.startswith(_BINARY):
            raise UsageError("merge module %s: it is no WebAssembly module, version 1, in the binary format" % name)
        self._engine = wasmtime.Engine(_config())
        try:
            self._module = wasmtime.Module(self._engine, content)
        except wasmtime.WasmtimeError as error:
            raise UsageError("merge module %s: it does not compile: %s" % (name, _cause(error))) from None
        for problem in _problems(self._module):
            raise UsageError("merge module %s: %s" % (name, problem))
        try:
            with wasmtime.Store(self._engine) as store:
                self._instantiate(store)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise UsageError("merge module %s: it does not start: %s" % (name, _cause(error))) from None

    def __call__(self, key: bytes, earlier: bytes | None, later: bytes | None) -> bytes | None:
        """Merge in a fresh instance. Raises MergeFailed."""
        try:
            with wasmtime.Store(self._engine) as store:
                return _merge(store, self._instantiate(store), (key, earlier, later))
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise MergeFailed(_cause(error)) from None

    def _instantiate(self, store: wasmtime.Store) -> wasmtime.Instance:
        store.set_limits(MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX, instances=1, tables=TABLES_MAX, memories=1)
        store.set_fuel(FUEL_MAX)
        return wasmtime.Instance(store, self._module, [])


def _config() -> wasmtime.Config:
    config = wasmtime.Config()
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True
    for feature in _FEATURES_OFF:
        setattr(config, "wasm_" + feature, False)
    config.gc_support = False
    config.max_wasm_stack = STACK_BYTES_MAX
    config.parallel_compilation = False  # no threads for a file of a few kilobytes
    # Bounds are checked by code, not by signal handlers and gigabytes of address space, which the whole process would share.
    config.signals_based_traps = False
    config.memory_reservation = MEMORY_BYTES_MAX
    config.memory_reservation_for_growth = 0
    config.memory_guard_size = 0
    return config


def _problems(module: wasmtime.Module) -> "list[str]":
    """What is wrong with the imports and exports of a module, in words."""
    problems = ["it imports %s; no imports are allowed" % _short(repr("%s.%s" % (item.module, item.name))) for item in module.imports]
    exports = {item.name: item.type for item in module.exports}
    if not isinstance(exports.get("memory"), wasmtime.MemoryType):
        problems.append("it must export a memory called memory")
    for name, signature in _FUNCTIONS:
        found = exports.get(name)
        if not isinstance(found, wasmtime.FuncType):
            problems.append("it must export a function %s: %s" % (name, signature))
        elif _signature(found) != signature:
            problems.append("its export %s must be %s, not %s" % (name, signature, _short(_signature(found))))
    return problems


def _signature(function: wasmtime.FuncType) -> str:
    return "(%s) -> (%s)" % (", ".join(str(one) for one in function.params), ", ".join(str(one) for one in function.results))


def _merge(store: wasmtime.Store, instance: wasmtime.Instance, given: tuple[bytes | None, ...]) -> bytes | None:
    exports = instance.exports(store)
    memory, alloc, merge = exports["memory"], exports["alloc"], exports["merge"]
    assert isinstance(memory, wasmtime.Memory) and isinstance(alloc, wasmtime.Func) and isinstance(merge, wasmtime.Func)
    joined = b"".join([value for value in given if value])
    at = 0
    if joined:  # one room for all: a call costs more than a copy
        at = alloc(store, len(joined)) & 0xFFFFFFFF
        if at == 0:
            raise MergeFailed("alloc(%d) returned 0: no room" % len(joined))
        _check_bounds("alloc(%d)" % len(joined), at, len(joined), memory.data_len(store))
        memory.write(store, joined, at)
    arguments: list[int] = []
    for value in given:
        arguments += [at, -1 if value is None else len(value)]
        at += len(value or b"")
    packed = merge(store, *arguments)
    address, length = (packed >> 32) & 0xFFFFFFFF, packed & 0xFFFFFFFF
    if length == DELETED:
        return None
    if length > MERGED_BYTES_MAX:
        raise MergeFailed("merge returned a length of %d; at most %d are allowed" % (length, MERGED_BYTES_MAX))
    _check_bounds("merge", address, length, memory.data_len(store))
    return bytes(memory.read(store, address, address + length))


def _check_bounds(function: str, address: int, length: int, memory_bytes: int) -> None:
    if address + length > memory_bytes:
        raise MergeFailed("%s returned %d bytes at %d, beyond the memory of %d bytes" % (function, length, address, memory_bytes))


def _cause(error: Exception) -> str:
    """The last line: what comes before it is a backtrace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _short(lines[-1] if lines else type(error).__name__)


def _short(text: str) -> str:
    return text if len(text) <= CAUSE_CHARS_MAX else text[:CAUSE_CHARS_MAX] + "…"
