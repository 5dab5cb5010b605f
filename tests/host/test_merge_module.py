"""Merge modules on a host: files, and WebAssembly that cannot reach, exhaust or confuse whoever runs it."""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from streamline_core.conflict import BOTH, MERGED, MERGED_BYTES_MAX, Conflict, ConflictResolver
from streamline_core.errors import UsageError
from streamline_core.merge import MODULE_BYTES_MAX, merge_hash
from streamline_core.version import Version
from streamline_host.merge_module import load_merge

try:
    import wasmtime
except (ImportError, OSError, RuntimeError) as error:
    pytest.skip("no wasmtime for this platform: %s" % error, allow_module_level=True)

from streamline_host.merge_wasm import MEMORY_BYTES_MAX, MergeFailed, WasmMerge

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples" / "merge"

MEMORY = '(memory (export "memory") 1)'
ALLOC = '(func (export "alloc") (param i32) (result i32) (i32.const 1024))'
PARAMS = "(param $k i32) (param $kl i32) (param $e i32) (param $el i32) (param $l i32) (param $ll i32) (result i64)"
MERGE = '(func (export "merge") %s (i64.const 0))' % PARAMS


def module(*parts: str) -> bytes:
    return bytes(wasmtime.wat2wasm("(module %s)" % " ".join(parts)))


def returning(body: str, *more: str) -> WasmMerge:
    """A merge with this body."""
    return WasmMerge("wasm:m.wasm", module(MEMORY, ALLOC, *more, '(func (export "merge") %s %s)' % (PARAMS, body)))


def packed(address: int, length: int) -> str:
    return "(i64.const 0x%08x%08x)" % (address, length)


def refused(content: bytes) -> str:
    with pytest.raises(UsageError) as caught:
        WasmMerge("wasm:m.wasm", content)
    text = str(caught.value)
    assert "wasm:m.wasm" in text and "\n" not in text and len(text) < 400
    return text


def failed(merge: WasmMerge, earlier: bytes | None = b"1", later: bytes | None = b"2") -> str:
    """Why it failed, called alone and by a resolver: both shown, counted, in one line."""
    with pytest.raises(MergeFailed) as caught:
        merge(b"k", earlier, later)
    siblings = [Version("a", 1, 0, "edge", 1, True, {}, earlier), Version("cloud", 1, 0, "cloud", 2, True, {}, later)]
    resolver = ConflictResolver("custom_merge", merge)
    found = resolver.resolve(Conflict("t", 0, b"k", siblings))
    assert found.kind == BOTH and resolver.merge_failures == 1 and [version.value for version in found.versions] == [earlier, later]
    assert found.failed == "MergeFailed: %s" % caught.value and "\n" not in found.failed
    return str(caught.value)


def test_the_example_is_what_its_source_compiles_to() -> None:
    assert wasmtime.wat2wasm((EXAMPLES / "union_of_lines.wat").read_text()) == (EXAMPLES / "union_of_lines.wasm").read_bytes()


def test_both_examples_give_the_same(seed: int) -> None:
    in_python, python_hash = load_merge("python:union_of_lines.py", EXAMPLES)
    in_wasm, wasm_hash = load_merge("wasm:union_of_lines.wasm", EXAMPLES)
    assert python_hash == merge_hash((EXAMPLES / "union_of_lines.py").read_bytes()) != wasm_hash
    chance = random.Random(seed)

    def value() -> bytes | None:
        if chance.random() < 0.1:
            return None
        if chance.random() < 0.2:
            return bytes(chance.choice(b"\n\na\0\xff") for _ in range(chance.randrange(200)))
        lines = [b"%x" % chance.randrange(40) * chance.choice((1, 1, 7)) for _ in range(chance.choice((0, 1, 5, 60)))]
        return b"\n".join(lines) + chance.choice((b"", b"\n"))

    for _ in range(1500):
        key, earlier, later = chance.randbytes(chance.randrange(20)), value(), value()
        assert in_wasm(key, earlier, later) == in_python(key, earlier, later), (key, earlier, later)
    big = [b"\n".join(b"%s %d" % (name, n) for n in range(400)) for name in (b"a", b"b")]
    assert in_wasm(b"k", big[0], big[1]) == in_python(b"k", big[0], big[1])
    one_line = bytes(bytearray(b"x") * 300_000)  # larger than the memory that it begins with
    assert in_wasm(b"k", one_line, b"y") == one_line + b"\ny\n"


def test_an_example_under_a_resolver() -> None:
    for text in ("python:union_of_lines.py", "wasm:union_of_lines.wasm"):
        resolver = ConflictResolver("custom_merge", load_merge(text, EXAMPLES)[0])
        values = ((b"b\na", 3), (None, 1), (b"c\na", 2))
        siblings = [Version("n%d" % stamp, 1, 0, "edge", stamp, True, {}, value) for value, stamp in values]
        found = resolver.resolve(Conflict("t", 0, b"k", siblings))
        assert (found.kind, found.value, resolver.merge_failures) == (MERGED, b"c\na\nb\n", 0)


def test_files_are_found_beside_the_configuration_and_modules_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = b"def merge(key, earlier, later):\n    return b'mine'\n"
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "json.py").write_bytes(source)
    for text, folder in (("python:rules/json.py", tmp_path), ("python:%s/rules/json.py" % tmp_path, Path("/"))):
        merge, found = load_merge(text, folder)
        assert merge(b"k", b"", b"") == b"mine" and found == merge_hash(source)
    monkeypatch.syspath_prepend(str(tmp_path / "rules"))
    assert load_merge("python:json", "/nowhere")[0](b"k", b"", b"") == b"mine"
    assert not hasattr(sys.modules.get("json"), "merge")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [""])
    assert load_merge("python:rules.json", "/nowhere")[1] == merge_hash(source)


def test_what_does_not_load_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text("raise RuntimeError('not today')")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "large.py").write_bytes(b"#" * (MODULE_BYTES_MAX + 1))
    (tmp_path / "large.wasm").write_bytes(b"\0asm\1\0\0\0" + bytes(MODULE_BYTES_MAX))
    for text, why in (
        ("python:raises.py", "not today"),
        ("python:empty.py", "no function merge"),
        ("python:absent.py", "No such file"),
        ("python:folder.py", "read"),
        ("python:nul\0.py", "read"),
        ("python:no_such_module_anywhere", "read"),
        ("python:large.py", "bytes"),
        ("wasm:absent.wasm", "No such file"),
        ("wasm:large.wasm", "bytes"),
        ("wasm:empty.py", "binary format"),
        ("js:merge.js", "begin with"),
    ):
        with pytest.raises(UsageError) as caught:
            load_merge(text, tmp_path)
        assert text in str(caught.value) and why in str(caught.value), text


def test_without_the_package_webassembly_is_refused_by_name(tmp_path: Path) -> None:
    for error in ("ImportError('no wheel')", "RuntimeError('no library')"):
        (tmp_path / "wasmtime.py").write_text("raise " + error)
        program = (
            "from streamline_host.merge_module import load_merge\n"
            "load_merge('python:union_of_lines.py', %r)\n"
            "load_merge('wasm:union_of_lines.wasm', %r)\n" % (str(EXAMPLES), str(EXAMPLES))
        )
        path = os.pathsep.join(map(str, (tmp_path, ROOT / "shared", ROOT / "host")))
        ended = subprocess.run(
            [sys.executable, "-c", program], env=dict(os.environ, PYTHONPATH=path), stderr=subprocess.PIPE, text=True, timeout=60
        )
        last = ended.stderr.splitlines()[-1]
        assert "UsageError" in last and "wasm:union_of_lines.wasm" in last and "cannot run WebAssembly" in last and "'" not in last


def test_what_is_no_module_is_refused() -> None:
    # without names, which would make a section at the end that a module can do without
    good = module(MEMORY, ALLOC, '(func (export "merge") (param i32 i32 i32 i32 i32 i32) (result i64) (i64.const 0))')
    assert WasmMerge("wasm:m.wasm", good)(b"k", b"1", b"2") == b""
    for content in (b"", b"(module)", b"\0asm", b"\0asm\x0d\0\1\0", b"\x7fELF\0\0\0\0"):
        assert "binary format" in refused(content)
    for cut in range(8, len(good)):
        refused(good[:cut])
    for bit in range(64, len(good) * 8):  # never anything but a refusal, a failure, or bytes
        flipped = bytearray(good)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        try:
            WasmMerge("wasm:m.wasm", bytes(flipped))(b"k", b"1", b"2")
        except (UsageError, MergeFailed):
            pass


def test_wrong_exports_are_refused_by_name() -> None:
    merge_text = "(i32, i32, i32, i32, i32, i32) -> (i64)"
    assert "memory" in refused(module(ALLOC, MERGE)) and "memory" in refused(module('(func (export "memory"))', ALLOC, MERGE))
    assert "function alloc: (i32) -> (i32)" in refused(module(MEMORY, MERGE))
    assert "function merge: " + merge_text in refused(module(MEMORY, ALLOC))
    assert "function merge" in refused(module(MEMORY, ALLOC, '(global (export "merge") i32 (i32.const 0))'))
    text = refused(module(MEMORY, ALLOC, '(func (export "merge") (param i32 i32) (result i32) (i32.const 0))'))
    assert "merge must be " + merge_text in text and "not (i32, i32) -> (i32)" in text
    text = refused(module(MEMORY, MERGE, '(func (export "alloc") (param i64) (result i32) (i32.const 0))'))
    assert "alloc must be (i32) -> (i32), not (i64) -> (i32)" in text
    assert "not" in refused(module(MEMORY, ALLOC, '(func (export "merge") (param %s))' % ("i32 " * 900)))


def test_imports_are_refused_by_name() -> None:
    clock = '(func (import "wasi_snapshot_preview1" "clock_time_get") (param i32 i64 i32) (result i32))'
    for what, name in (
        (clock, "wasi_snapshot_preview1.clock_time_get"),
        ('(memory (import "env" "m") 1)', "env.m"),
        ('(global (import "env" "\\n") i32)', "env.\n"),
    ):
        assert "imports %r;" % name in refused(module(what, ALLOC, MERGE))
    refused(module('(func (import "%s" "f"))' % ("e" * 5000), MEMORY, ALLOC, MERGE))


def test_what_would_differ_between_machines_is_refused() -> None:
    for extra in (
        '(memory (export "memory") 1 2 shared)',
        '(memory (export "memory") i64 1)',
        MEMORY + "(memory 1)",
        MEMORY + "(func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))",
        MEMORY + '(func (export "vector") (param v128))',
        MEMORY + "(type (struct (field i32)))",
        MEMORY + "(tag (param i32))",
    ):
        assert "does not compile" in refused(module(extra, ALLOC, MERGE)), extra


def test_a_module_that_does_not_start_is_refused() -> None:
    for part in (
        "(start $s) (func $s unreachable)",
        "(start $s) (func $s (loop (br 0)))",
        '(data (i32.const 65535) "beyond")',
        "(table 20000 funcref)",
    ):
        assert "does not start" in refused(module(MEMORY, ALLOC, MERGE, part)), part
    assert "does not start" in refused(module('(memory (export "memory") %d)' % (MEMORY_BYTES_MAX // 65536 + 1), ALLOC, MERGE))


def test_traps_show_both() -> None:
    assert "unreachable" in failed(returning("unreachable"))
    assert "out of bounds" in failed(returning("(drop (i32.load (i32.const 0x7fffffff))) (i64.const 0)"))
    assert "divide by zero" in failed(returning("(i64.div_s (i64.const 1) (i64.const 0))"))
    assert "stack" in failed(returning("(call $deep) (i64.const 0)", "(func $deep (call $deep))"))


@pytest.mark.parametrize(
    "body",
    [
        "(loop $l (br $l)) (i64.const 0)",
        "(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $l)) (i64.const 0)",
        "(loop $l (drop (memory.grow (i32.const 1))) (br $l)) (i64.const 0)",
        "(local $d f64) (loop $l (local.set $d (f64.sqrt (f64.add (local.get $d) (f64.const 1)))) (br $l)) (i64.const 0)",
    ],
    ids=["loop", "fill", "grow", "sqrt"],
)
def test_endless_work_ends(body: str) -> None:
    merge = returning(body)
    began = time.perf_counter()
    with pytest.raises(MergeFailed, match="fuel"):
        merge(b"k", b"1", b"2")
    print("ended after %.3f s" % (time.perf_counter() - began))
    assert time.perf_counter() - began < 20
    failed(merge)


def test_an_endless_alloc_ends() -> None:
    endless = '(func (export "alloc") (param i32) (result i32) (loop (br 0)) (i32.const 1))'
    assert "fuel" in failed(WasmMerge("m", module(MEMORY, MERGE, endless)))


def test_memory_has_a_cap() -> None:
    grow = "(if (i32.eq (memory.grow (i32.const %d)) (i32.const -1)) (then unreachable)) (i64.const 0)"
    pages = MEMORY_BYTES_MAX // 65536
    assert returning(grow % (pages - 1))(b"k", b"1", b"2") == b""
    assert "unreachable" in failed(returning(grow % pages)) and "unreachable" in failed(returning(grow % 65535))


def test_nonsense_results_show_both() -> None:
    for address, length in ((0, 65537), (65536, 1), (65535, 2), (0xFFFFFFFF, 1), (0xFFFFFFF0, 0x20), (0x80000000, 0), (1, 0x7FFFFFFF)):
        assert "merge returned" in failed(returning(packed(address, length))), (address, length)
    grown = "(drop (memory.grow (i32.const 200))) "
    assert "at most" in failed(returning(grown + packed(0, MERGED_BYTES_MAX + 1)))
    assert len(returning(grown + packed(0, MERGED_BYTES_MAX))(b"k", b"1", b"2") or b"") == MERGED_BYTES_MAX
    for address in (0, 1 << 31, 0xFFFFFFFF):
        assert returning(packed(address, 0xFFFFFFFF))(b"k", b"1", b"2") is None
    assert returning(packed(65536, 0))(b"k", b"1", b"2") == b""


def test_nonsense_of_alloc_shows_both() -> None:
    for address in (0, 65536, 0x7FFFFFFF, -1, -0x80000000):
        alloc = '(func (export "alloc") (param i32) (result i32) (i32.const %d))' % address
        assert "alloc(3) returned" in failed(WasmMerge("m", module(MEMORY, MERGE, alloc)))
    assert "alloc(65002) returned" in failed(returning(packed(0, 0)), b"x" * 65000)
    never = WasmMerge("m", module(MEMORY, MERGE, '(func (export "alloc") (param i32) (result i32) unreachable)'))
    assert never(b"", b"", None) == b"" and "unreachable" in failed(never)


def test_deleted_empty_and_large_values_arrive_as_they_are() -> None:
    bump = (
        '(memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) (i32.const 8)'
        " (drop (memory.grow (i32.shr_u (i32.add (local.get 0) (i32.const 65535)) (i32.const 16)))))"
    )

    def shows(what: str) -> WasmMerge:
        pack = "(i64.or (i64.shl (i64.extend_i32_u (local.get $%s)) (i64.const 32)) (i64.extend_i32_u (local.get $%sl)))"
        return WasmMerge("m", module(bump, '(func (export "merge") %s %s)' % (PARAMS, pack % (what, what))))

    large = random.Random(3).randbytes(MERGED_BYTES_MAX)
    for value in (None, b"", b"\0", large, bytearray(b"buffer")):
        assert shows("e")(b"k", value, b"other") == value == shows("l")(b"k", b"other", value)
    assert shows("k")(b"", None, None) == b"" and shows("k")(b"\xff\0key", None, b"") == b"\xff\0key"
    assert shows("l")(large[:65536], large, large) == large


def test_no_state_outlives_a_call_and_threads_do_not_meet() -> None:
    count = "(global $calls (mut i32) (i32.const 48)) "
    body = (
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))"
        "(i32.store8 (i32.const 64) (i32.add (global.get $calls) (i32.load8_u (i32.const 64))))"
    )
    merge = returning(body + packed(64, 1), count)
    assert [merge(b"k", b"1", b"2") for _ in range(3)] == [b"1"] * 3
    results: list[bytes | None] = []
    threads = [threading.Thread(target=lambda: results.extend([merge(b"k", b"1", b"2") for _ in range(50)])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [b"1"] * 200


def test_there_is_one_nan() -> None:
    body = "(f64.store (i32.const 64) (f64.div (f64.convert_i32_u (local.get $kl)) (f64.const 0)))"
    assert returning(body + packed(64, 8))(b"", b"1", b"2") == bytes.fromhex("000000000000f87f")
    body = "(f32.store (i32.const 64) (f32.sqrt (f32.const -1)))"
    assert returning(body + packed(64, 4))(b"", b"1", b"2") == bytes.fromhex("0000c07f")
