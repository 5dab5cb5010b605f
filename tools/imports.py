"""The rules that hold the layers apart: who may import whom, and what may be written where MicroPython runs it.

Usage: python tools/imports.py

Prints `path:line: what is wrong, what is allowed` for each violation, a warning for each file that has grown too
long, and exits with 1 if there was a violation. Every file that runs on a board is also compiled by mpy-cross.
"""

import ast
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mpy

ROOT = Path(__file__).resolve().parent.parent
LINES_MAX = 400

# What the core may use of the world: present in both interpreters, or tried for.
CORE_MODULES = {"array", "binascii", "collections", "hashlib", "io", "json", "struct", "ujson"}
CORE_MODULES_TRIED = {"cbor2", "deflate", "micropython"}
CORE_NAMES = {"collections": {"deque"}}


class Area(NamedTuple):
    """A part of the tree. `imports`: the other areas it may import; `board`: it runs on MicroPython."""

    folder: str
    imports: set[str]
    board: bool = False


CORE, COMMON = "shared/streamline_core", "host/streamline_host"
EDGE, CLOUD = "host/streamline_edge", "host/streamline_cloud"
AREAS = (
    Area(CORE, set(), board=True),
    Area("firmware", {CORE}, board=True),
    Area(COMMON, {CORE}),
    Area(EDGE, {CORE, COMMON}),
    Area(CLOUD, {CORE, COMMON}),
    Area("tools", {CORE, COMMON, EDGE, CLOUD, "firmware"}),
    Area("tests", {CORE, COMMON, EDGE, CLOUD, "firmware", "tools"}),
)

Finding = tuple[int, str]


def owners() -> dict[str, str]:
    """The area of every name that can be imported from this tree. A name of the standard library stays its own."""
    names = {Path(area).name: area for area in (CORE, COMMON, EDGE, CLOUD)}
    for folder in ("firmware", "tools", "tests"):
        names[folder] = folder
        for entry in sorted((ROOT / folder).glob("*")):
            if (entry.suffix == ".py" or entry.is_dir()) and entry.stem not in sys.stdlib_module_names:
                names.setdefault(entry.stem, folder)
    return names


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(node: ast.AST, tried: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Every import that is executed, and whether it stands in a try."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, tried
        elif isinstance(child, ast.If) and is_type_checking(child):
            for other in child.orelse:
                yield from imports(ast.Module([other], []), tried)
        else:
            yield from imports(child, tried or isinstance(child, ast.Try))


def check_core_import(node: ast.Import | ast.ImportFrom, tried: bool) -> Iterator[Finding]:
    modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    for module in modules:
        if module.split(".")[0] == "streamline_core":
            yield node.lineno, "import %s, but the core imports itself relatively (from . import …)" % module
        elif module in CORE_MODULES_TRIED:
            if not tried:
                yield node.lineno, "import %s, but the core may only try for it (try: … except ImportError: …)" % module
        elif module not in CORE_MODULES:
            allowed = ", ".join(sorted(CORE_MODULES)) + "; in a try: " + ", ".join(sorted(CORE_MODULES_TRIED))
            yield node.lineno, "import %s, but the core may import only itself and %s" % (module, allowed)
        elif module in CORE_NAMES:
            if isinstance(node, ast.Import) or {alias.name for alias in node.names} - CORE_NAMES[module]:
                allowed = ", ".join(sorted(CORE_NAMES[module]))
                yield node.lineno, "of %s both interpreters have only %s (from %s import …)" % (module, allowed, module)


def check_imports(tree: ast.Module, area: Area, owner: dict[str, str]) -> Iterator[Finding]:
    for node, tried in imports(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            continue  # within the package: mypy knows whether it exists
        if area.folder == CORE:
            yield from check_core_import(node, tried)
            continue
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for module in modules:
            of = owner.get(module.split(".")[0], area.folder)
            if of != area.folder and of not in area.imports:
                allowed = ", ".join(sorted(area.imports)) or "nothing else of this tree"
                yield node.lineno, "import %s (%s), but %s may import only %s" % (module, of, area.folder, allowed)


ABSENT_SYNTAX: dict[type[ast.AST], str] = {
    ast.Match: "match",
    ast.TryStar: "except*",
}
ABSENT_NAMES = {
    "BlockingIOError", "BrokenPipeError", "ConnectionError", "ConnectionRefusedError", "ConnectionResetError",
    "ExceptionGroup", "FileExistsError", "FileNotFoundError", "InterruptedError", "PermissionError", "TimeoutError",
    "aiter", "anext", "ascii", "vars",
}  # fmt: skip
ABSENT_METHODS = {"removeprefix", "removesuffix", "bit_length", "bit_count", "casefold", "isidentifier"}


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of the functions inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from own_nodes(child)


def executed(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes that MicroPython evaluates: neither annotations nor what only a type checker reads."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST):
                continue
            if is_type_checking(child):
                assert isinstance(child, ast.If)
                child = ast.Module(child.orelse, [])
            yield child
            yield from executed(child)


def check_micropython(tree: ast.Module) -> Iterator[Finding]:
    for node in executed(tree):
        line = getattr(node, "lineno", 0)
        if type(node) in ABSENT_SYNTAX:
            yield line, "%s does not exist on MicroPython" % ABSENT_SYNTAX[type(node)]
        elif isinstance(node, ast.Name) and node.id in ABSENT_NAMES:
            yield line, "%s does not exist on MicroPython: catch OSError and look at errno, or do without" % node.id
        elif isinstance(node, ast.Attribute) and node.attr in ABSENT_METHODS:
            yield line, ".%s() does not exist on MicroPython" % node.attr
        elif isinstance(node, ast.ClassDef) and node.keywords:
            yield line, "class %s has a metaclass or class arguments, which MicroPython ignores or refuses" % node.name
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            name = getattr(node, "name", "lambda")
            if node.args.posonlyargs:
                yield line, "%s has positional-only arguments, which MicroPython cannot parse" % name
            if name == "__init_subclass__":
                yield line, "__init_subclass__ is never called on MicroPython"
            if isinstance(node, ast.AsyncFunctionDef) and any(isinstance(n, ast.Yield) for n in own_nodes(node)):
                yield line, "%s is an async generator, which MicroPython cannot iterate" % name
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            if len(node.args) == 2 and isinstance(node.args[1], ast.BinOp):
                yield line, "isinstance(…, X | Y) does not exist on MicroPython: use a tuple"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("from_bytes", "to_bytes") and any(k.arg == "signed" for k in node.keywords):
                yield line, "%s(signed=…) does not exist on MicroPython" % node.func.attr


def check_handlers(tree: ast.Module) -> Iterator[Finding]:
    """A tuple after `except` is made when something was raised: where that is a MemoryError there may be no memory for it, and the handler
    that was meant for it is never reached."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Try):
            meant = False
            for handler in reversed(node.handlers):
                names = {name.id for name in ast.walk(handler.type or ast.Pass()) if isinstance(name, ast.Name)}
                meant = meant or "MemoryError" in names
                if meant and isinstance(handler.type, ast.Tuple):
                    yield handler.lineno, "a tuple after except takes memory, and MemoryError is handled here: name it in the module"


def check_compiles() -> Iterator[str]:
    if not mpy.available():
        print("imports: %s; not compiled for MicroPython" % mpy.NO_COMPILER)
        return
    with tempfile.TemporaryDirectory() as folder:
        for source, module in mpy.sources():
            if error := mpy.compile_file(source, module, Path(folder, "out.mpy")):
                yield "%s:1: does not compile for MicroPython: %s" % (source.relative_to(ROOT), error)


def check_file(path: Path, area: Area, owner: dict[str, str]) -> Iterator[str]:
    name, text = path.relative_to(ROOT), path.read_text(encoding="utf-8")
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        yield "%s:%s: %s" % (name, error.lineno, error.msg)
        return
    findings = list(check_imports(tree, area, owner))
    if area.board and not path.name.startswith("manifest"):
        findings += [*check_micropython(tree), *check_handlers(tree)]
    for line, what in sorted(findings):
        yield "%s:%d: %s" % (name, line, what)
    if text.count("\n") > LINES_MAX:
        print("%s: warning: %d lines; is it still one noun?" % (name, text.count("\n")))


def main() -> int:
    owner = owners()
    violations: list[str] = []
    for area in AREAS:
        for path in sorted((ROOT / area.folder).rglob("*.py")):
            violations += check_file(path, area, owner)
    violations += check_compiles()
    for violation in violations:
        print(violation)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
