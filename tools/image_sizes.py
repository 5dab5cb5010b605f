"""What an image weighs, and what each part of it costs, by the linker's map and the sizes of the frozen modules.

Rule: the whole is measured from the file, the parts from the map; neither is estimated. Must not know: how an image is built.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uf2

if TYPE_CHECKING:
    from board_image import Image

# Of the sections that are in the file, by what an object's path says.
PARTS = (
    ("frozen_content", "the core and the shell, frozen"),
    ("lib/mbedtls", "mbedTLS"),
    ("lib/littlefs", "littlefs"),
    ("lib/uzlib", "deflate"),
    ("boards/", "the board's own C"),
    ("/py/", "MicroPython: the interpreter"),
    ("/extmod/", "MicroPython: modules in C"),
    ("/shared/", "MicroPython: shared runtime"),
    (".a(", "the C library"),
)
REST = "the port, and start-up code"
LOADED = (
    ".text", ".rodata", ".data", ".isr_vector", ".rom", ".boot2", ".eh_frame", ".init_array", ".ARM", ".tdata", ".flash", ".binary_info",
)  # fmt: skip
_SECTION = re.compile(r"^(\.[\w.]+)?\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+(\S.*)$")


@dataclass
class Sizes:
    """image_bytes: of the file that is run, or what of it is flashed; parts: bytes by name; modules: of each frozen module's bytecode."""

    image_bytes: int
    parts: dict[str, int] = field(default_factory=dict)
    modules: dict[str, int] = field(default_factory=dict)

    @property
    def frozen_bytes(self) -> int:
        """What the frozen modules take of the image: constant objects and names too, which are larger than their bytecode."""
        return self.parts.get(PARTS[0][1], 0)


def measure(image: Image) -> Sizes:
    """Raises OSError where a file is missing, uf2.BadUf2."""
    is_uf2 = image.path.suffix == ".uf2"  # half of which is no image
    sizes = Sizes(len(uf2.read(image.path).data) if is_uf2 else image.path.stat().st_size)
    for path in sorted(image.frozen.rglob("*.mpy")):
        sizes.modules[str(path.relative_to(image.frozen).with_suffix(""))] = path.stat().st_size
    if image.map.exists():
        sizes.parts = _parts(image.map)
    return sizes


def _parts(path: Path) -> dict[str, int]:
    """Bytes of each part, from the map of GNU ld: a section of an object is a line, or two where its name is long."""
    found: dict[str, int] = {}
    section, within = "", False
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("Linker script and memory map"):
            within = True
        if not within:
            continue
        if re.match(r"^ \.[\w.]+$", line):
            section = line.strip()
            continue
        match = _SECTION.match(line.strip() if line.startswith(" .") else line) if line.startswith(" ") else None
        if match is None:
            continue
        name = match[1] or section
        section = ""
        size, owner = int(match[3], 16), match[4]
        thrown_away = int(match[2], 16) == 0 and not name.startswith(".isr")
        if not size or thrown_away or not name.startswith(LOADED) or not owner.endswith((".o", ")")):
            continue
        part = next((title for mark, title in PARTS if mark in owner), REST)
        found[part] = found.get(part, 0) + size
    return found


def summary(sizes: Sizes, image: dict[str, Any]) -> str:
    return "%s bytes of %s allowed, %s of them frozen modules" % (
        "{:,}".format(sizes.image_bytes), "{:,}".format(image["budget_bytes"]), "{:,}".format(sizes.frozen_bytes),
    )  # fmt: skip


def over_budget(sizes: Sizes, image: dict[str, Any]) -> str:
    """What goes beyond what the board allows, "" where nothing does."""
    for what, size, most in (
        ("the image", sizes.image_bytes, image["budget_bytes"]),
        ("what is frozen", sizes.frozen_bytes, image["frozen_budget_bytes"]),
    ):
        if size > most:
            return "%s has %s bytes, %s more than its budget" % (what, "{:,}".format(size), "{:,}".format(size - most))
    return ""


def report(sizes: Sizes) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    for title, rows in (("part of the image", sizes.parts), ("module, as bytecode", sizes.modules)):
        table = Table(box=box.SIMPLE_HEAD, show_footer=True)
        table.add_column(title, footer="%d" % len(rows))
        table.add_column("bytes", justify="right", footer="{:,}".format(sum(rows.values())))
        for name in sorted(rows, key=lambda name: -rows[name]):
            table.add_row(name, "{:,}".format(rows[name]))
        Console().print(table)
