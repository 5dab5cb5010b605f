"""Merge modules: loaded by name or refused by name, apart from all that is imported, and never more than one failed merge."""

import sys

from harness import Random, raises
from streamline_core.conflict import BOTH, MERGED, Conflict, ConflictResolver
from streamline_core.errors import UsageError
from streamline_core.merge import MODULE_BYTES_MAX, load_merge, load_python, merge_hash
from streamline_core.topic import TopicDefinition
from streamline_core.version import Version

try:
    HERE = __file__.replace("\\", "/").rpartition("/")[0] or "."
except NameError:
    HERE = "tests/unit"

JOIN = b"def merge(key, earlier, later):\n    return key + b':' + (earlier or b'-') + (later or b'-')\n"


def reader(files):
    def read(path, bytes_max):
        if path not in files:
            raise OSError(2)
        return files[path][:bytes_max]

    return read


def loaded(text, files, search=()):
    return load_merge(text, reader(files), search)[0]


def refused(text, source=None):
    """The words of the refusal; `source` is what the file that `text` names holds."""
    files = {} if source is None else {text.partition(":")[2]: source}
    return str(raises(UsageError, loaded, text, files))


def siblings():
    return [Version("a", 1, 0, "edge", 1, True, {}, b"1"), Version("cloud", 1, 0, "cloud", 2, True, {}, b"2")]


def resolved(merge):
    resolver = ConflictResolver("custom_merge", merge)
    return resolver.resolve(Conflict("t", 0, b"k", siblings())), resolver.merge_failures


def example():
    with open(HERE + "/../../docs/examples/merge/union_of_lines.py", "rb") as file:
        return load_python("union_of_lines", file.read())


def test_a_file_and_its_hash():
    merge, found = load_merge("python:m/join.py", reader({"m/join.py": JOIN}))
    assert merge(b"k", b"a", b"b") == b"k:ab" and merge(b"k", None, b"b") == b"k:-b" and merge(b"k", b"a", None) == b"k:a-"
    assert found == merge_hash(JOIN) and TopicDefinition("keyed", strategy="custom_merge", merge_hash=found).merge_hash == found
    assert merge_hash(b"") == b"\xe3\xb0\xc4\x42\x98\xfc\x1c\x14" and merge_hash(JOIN + b"\n") != found


def test_a_module_is_looked_for_in_one_folder_after_the_other():
    files = {"x/union.py": JOIN, "y/union.py": b"merge = 1", "acme/merges/union.py": JOIN, "bad/union.py": b"merge = 1"}
    for text, search in (("python:union", ["none", "x", "y"]), ("python:acme.merges.union", [""]), ("python:acme.merges.union", ["", "x"])):
        assert loaded(text, files, search)(b"k", b"a", b"b") == b"k:ab"
    raises(UsageError, loaded, "python:union", files, ["bad", "x"])
    for search in ((), ["y", "z"]):
        assert "python:other" in str(raises(UsageError, loaded, "python:other", files, search))


def test_what_cannot_work_is_refused_by_name():
    for text in ("", "merge.py", "lua:merge.lua", "Python:merge.py", "python"):
        assert text in refused(text) and "begin with" in refused(text)
    for text in ("python:", "python:a/b", "python:a..b", "python:9a", "python:.a", "python:a b"):
        assert text in refused(text) and "neither" in refused(text)
    for text in ("python:absent.py", "python:../absent.py"):
        assert text in refused(text) and "read" in refused(text)
    for source in (b"def merge(", b"\xff", b"\0", b"1 / 0", b"import no_such_module_anywhere", b"raise SystemExit(1)"):
        assert "python:m.py" in refused("python:m.py", source) and "does not load" in refused("python:m.py", source)
    for source in (b"", b"def Merge(key, earlier, later): return key", b"merge = b''"):
        assert "python:m.py" in refused("python:m.py", source) and "no function merge" in refused("python:m.py", source)


def test_a_file_that_is_too_large_is_refused():
    class Huge:
        def __len__(self):
            return MODULE_BYTES_MAX + 1

    for text in ("python:m.py", "wasm:m.wasm"):
        error = raises(UsageError, load_merge, text, lambda path, bytes_max: Huge(), (), lambda name, content: None)
        assert text in str(error) and str(MODULE_BYTES_MAX) in str(error)


def test_webassembly_is_refused_where_nothing_runs_it_and_else_handed_on():
    assert "wasm:m.wasm" in refused("wasm:m.wasm", b"\0asm") and "cannot run" in refused("wasm:m.wasm", b"\0asm")
    given = []

    def load_wasm(name, content):
        given.append((name, content))
        return max

    assert load_merge("wasm:m.wasm", reader({"m.wasm": b"\0asm"}), (), load_wasm) == (max, merge_hash(b"\0asm"))
    assert given == [("wasm:m.wasm", b"\0asm")]
    for text in ("wasm:", "wasm:absent.wasm"):
        assert text in str(raises(UsageError, load_merge, text, reader({}), (), load_wasm))


def test_it_lives_apart_from_all_that_is_imported():
    source = b"import json\nimport streamline_core.errors\ncalls = []\n\ndef merge(key, earlier, later):\n    calls.append(key)\n"
    source += b"    return b'%d' % len(calls)\n"
    before = sorted(sys.modules)
    first, second = loaded("python:json", {"p/json.py": source}, ["p"]), loaded("python:harness.py", {"harness.py": source})
    assert [first(b"k", b"", b""), first(b"k", b"", b""), second(b"k", b"", b"")] == [b"1", b"2", b"1"]
    assert [name for name in sorted(sys.modules) if name not in before and name.partition(".")[0] != "json"] == []
    import json

    assert json.loads("[1]") == [1] and not hasattr(json, "merge")


def test_whatever_a_merge_does_wrong_shows_all_and_is_counted():
    for body in ("raise ValueError(key)", "raise SystemExit(3)", "return 'text'", "return len", "return merge(key, earlier, later)"):
        merge = load_python("m", b"def merge(key, earlier, later):\n    " + body.encode())
        found, failures = resolved(merge)
        assert (found.kind, found.value, failures) == (BOTH, b"2", 1) and found.failed, body
    for source in (b"def merge(key): return key", b"class merge: pass"):
        assert resolved(load_python("m", source))[1] == 1
    found, failures = resolved(load_python("m", JOIN))
    assert (found.kind, found.value, failures) == (MERGED, b"k:12", 0)


def test_the_example_keeps_every_line_once_in_order():
    merge, random = example(), Random(7)
    assert merge(b"k", b"b\na", b"c\na\n") == b"b\na\nc\n" and merge(b"k", b"\n\n", b"") == b""
    assert merge(b"k", None, b"x\nx") == b"x\nx" and merge(b"k", b"x", None) == b"x" and merge(b"k", None, None) is None
    for _ in range(300):
        earlier, later = [b"\n".join([b"ab"[: random.below(3)] for _ in range(random.below(6))]) for _ in range(2)]
        expected = []
        for line in (earlier + b"\n" + later).split(b"\n"):
            if line and line not in expected:
                expected.append(line)
        once = merge(b"k", earlier, later)
        assert once == b"".join([line + b"\n" for line in expected])
        assert merge(b"k", once, later) == once == merge(b"k", once, once)
