"""What a board's manifest freezes, without MicroPython's build: the manifest is executed with what it uses of that. A helper of tests.

Rule: a word of a manifest that is not understood here is an error, not passed over. Must not know: which boards there are.
"""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUILD = "$("  # a folder of MicroPython's sources


class _Options:
    """Attributes, of which a caller's word goes before a default."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._known = dict(given)
        self._defaulted: set[str] = set()

    def defaults(self, **values: Any) -> None:
        self._defaulted |= values.keys()
        unknown = self._known.keys() - self._defaulted
        assert not unknown, "the manifest knows no option %s" % ", ".join(sorted(unknown))
        self._known = values | self._known

    def __getattr__(self, name: str) -> Any:
        return self._known[name]


@dataclass(frozen=True)
class Frozen:
    """modules: the file of each, by its name in the image; upstream: manifests of MicroPython itself that are included."""

    modules: dict[str, Path]
    upstream: tuple[str, ...]


def read(path: Path, **given: Any) -> Frozen:
    """Raises AssertionError, and whatever the manifest does."""
    modules: dict[str, Path] = {}
    upstream: list[str] = []

    def execute(file: Path, options: dict[str, Any]) -> None:
        def include(other: str, **more: Any) -> None:
            if other.startswith(BUILD):
                upstream.append(other)
            else:
                execute((file.parent / other).resolve(), more)

        def freeze(name: str, source: Path) -> None:
            assert source.is_file(), "%s: there is no %s" % (file, source)
            assert name not in modules, "%s: %s is frozen twice" % (file, name)
            modules[name] = source

        def module(name: str, base_path: str = ".", opt: int | None = None) -> None:
            freeze(name.removesuffix(".py"), (file.parent / base_path / name).resolve())

        def package(name: str, files: tuple[str, ...] | None = None, base_path: str = ".", opt: int | None = None) -> None:
            folder = (file.parent / base_path / name).resolve()
            for one in files if files is not None else [entry.name for entry in folder.glob("*.py")]:
                freeze("%s.%s" % (name, one.removesuffix(".py")), folder / one)

        names = {"include": include, "module": module, "package": package, "options": _Options(options)}
        before = Path.cwd()
        os.chdir(file.parent)  # as the build does
        try:
            exec(compile(file.read_text(), str(file), "exec"), names)
        finally:
            os.chdir(before)

    execute(path.resolve(), given)
    return Frozen(modules, tuple(upstream))


@dataclass(frozen=True)
class Wanted:
    """An import. name: of the module, relative ones resolved; late: not before somebody calls the function it is in, or in a try."""

    name: str
    late: bool
    line: int


def imports(module: str, source: Path, known: set[str]) -> Iterator[Wanted]:
    """What `module` imports. known: the names of all modules, to tell `from package import module` from a name of a module."""
    package = module.rpartition(".")[0]

    def walk(node: ast.AST, late: bool) -> Iterator[Wanted]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                yield from (Wanted(alias.name, late, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = ".".join([word for word in (package if child.level else "", child.module or "") if word])
                for alias in child.names:
                    inner = "%s.%s" % (base, alias.name)
                    yield Wanted(inner if inner in known else base, late, child.lineno)
            else:
                inside = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Try)
                yield from walk(child, late or isinstance(child, inside))

    yield from walk(ast.parse(source.read_text()), False)
