"""Builds the image of a board: MicroPython with the core and the shell frozen in, for the chip that the board has.

Rule: what a board is stands in its folder under boards/, and nothing of it here; an image beyond its board's budget is no image. The ports
that images are built with are a table. Must not know: what is in the core.

Usage: python tools/board_image.py BOARD [--arch ARCH] [--features edge-lite,edge-sync,…] [--report]
"""

import argparse
import fcntl
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import image_sizes
import toolchain
import uf2
from bootstrap import run
from toolchain import Missing

ROOT = toolchain.ROOT
BOARDS = ROOT / "boards"
OUT = ROOT / "build" / "firmware"
FEATURES = {"edge-lite": "", "edge-sync": "sync"}  # of the specification: the option of the board's manifest that each is
NOT_YET = ("edge-mesh",)
NEWLIB, NEWLIB_CXX = "libnewlib-arm-none-eabi", "libstdc++-arm-none-eabi-newlib"  # packages of Debian
RP2_FLASH = 0x10000000  # where the flash of an RP2040 begins


class BadCall(Exception):
    """A board, an architecture or a feature that there is none of. The text lists those there are."""


class OverBudget(RuntimeError):
    """An image that its board does not allow; it is gone. sizes: of what it was."""

    def __init__(self, text: str, sizes: image_sizes.Sizes) -> None:
        super().__init__(text)
        self.sizes = sizes


@dataclass(frozen=True)
class Image:
    """What was built. path: the file to run or to flash; map: the linker's; frozen: the folder of its bytecode."""

    path: Path
    map: Path
    frozen: Path


def board_names() -> list[str]:
    """The boards that an image is built for."""
    return sorted(path.parent.name for path in BOARDS.glob("*/board.json") if "image" in json.loads(path.read_text()))


def load_board(name: str) -> dict[str, Any]:
    """Its board.json. Raises BadCall, which lists the known ones."""
    if name not in board_names():
        raise BadCall("there is no board %s to build an image for; known are: %s" % (name or "''", ", ".join(board_names())))
    board: dict[str, Any] = json.loads((BOARDS / name / "board.json").read_text())
    return board


def architecture(board: dict[str, Any], name: str | None) -> str:
    """Of those of a board, the one asked for, or this machine's. Raises BadCall."""
    known = board["image"]["architectures"]
    if name is None:
        name = next((key for key in known if platform.machine() in known[key]["machines"]), None)
    if name not in known:
        raise BadCall("ARCH=%s: %s is built for %s" % (name or platform.machine(), board["name"], ", ".join(known)))
    return name


def left_out(features: str) -> list[str]:
    """The options of a manifest that are not among `features` (comma-separated). Raises BadCall."""
    chosen = [word.strip() for word in features.split(",") if word.strip()]
    for word in chosen:
        if word in NOT_YET:
            raise BadCall("feature %s is not built yet; there are: %s" % (word, ", ".join(FEATURES)))
        if word not in FEATURES:
            raise BadCall("there is no feature %r; there are: %s" % (word, ", ".join(FEATURES)))
    return [option for name, option in FEATURES.items() if option and name not in chosen]


def manifest(board: dict[str, Any], without: list[str], folder: Path, also: Path | None = None) -> Path:
    """The board's manifest, or one in `folder` that includes it without some features, and with what the manifest `also` freezes."""
    own = BOARDS / board["name"] / "manifest.py"
    if not without and also is None:
        return own
    folder.mkdir(parents=True, exist_ok=True)
    text = "include(%s)\n" % ", ".join([repr(str(own)), *["%s=False" % option for option in without]])
    if also is not None:
        text += "include(%r)\n" % str(also)
    (folder / "manifest.py").write_text(text)
    return folder / "manifest.py"


def forget_frozen(folder: Path) -> None:
    """The build sees what was added to a manifest, and not what was taken out."""
    (folder / "frozen_content.c").unlink(missing_ok=True)
    shutil.rmtree(folder / "frozen_mpy", ignore_errors=True)


def build_unix(board: dict[str, Any], arch: str | None, without: list[str], also: Path | None = None) -> Image:
    """A static program for Linux. also: a manifest of more to freeze in; the image lies beside the plain one then, under its name."""
    arch = architecture(board, arch)
    settings = board["image"]["architectures"][arch]
    cross, packages = settings.get("cross", ""), settings["packages"]
    toolchain.need(cross + "gcc", *packages)
    toolchain.need_header(cross + "gcc", "stdio.h", packages[-1])
    sources = toolchain.micropython()
    compiler = toolchain.mpy_cross(sources)
    folder = OUT / "-".join([board["name"], arch, *["no_" + option for option in without], *([also.stem] if also else [])])
    words = [
        "VARIANT_DIR=%s" % (BOARDS / board["name"]), "BUILD=%s" % folder, "CROSS_COMPILE=" + cross, "ARCH_CFLAGS=" + settings["cflags"],
        "FROZEN_MANIFEST=%s" % manifest(board, without, folder, also), "MICROPY_MPYCROSS=%s" % compiler, "MICROPY_MPYCROSS_DEPENDENCY=",
    ]  # fmt: skip
    if "sync" in without:
        words.append("MICROPY_PY_SSL=0")  # nothing would use it
    forget_frozen(folder)
    toolchain.make(sources / "ports" / "unix", OUT / (folder.name + ".log"), *words)
    program = folder / board["image"]["program"]
    return Image(program, program.with_name(program.name + ".map"), folder / "frozen_mpy")


def build_qemu(board: dict[str, Any], arch: str | None, without: list[str], unit_tests: Path | None = None) -> Image:
    """An image for a board that an emulator has. unit_tests: the manifest of an image that runs tests rather than the agent."""
    image = board["image"]
    toolchain.need("arm-none-eabi-gcc", "gcc-arm-none-eabi", NEWLIB)
    toolchain.need_header("arm-none-eabi-gcc", "stdio.h", NEWLIB)
    sources = toolchain.micropython()
    compiler = toolchain.mpy_cross(sources)
    folder = OUT / (board["name"] + ("-unit_tests" if unit_tests else ""))
    words = [
        "BOARD=" + board["name"], "BOARD_DIR=%s" % (BOARDS / board["name"]), "BUILD=%s" % folder,
        "MICROPY_HEAP_SIZE=%d" % board["heap_bytes"], "FROZEN_MANIFEST=%s" % (unit_tests or manifest(board, without, folder)),
        "MICROPY_MPYCROSS=%s" % compiler, "MICROPY_MPYCROSS_DEPENDENCY=", *(["BOARD_UNIT_TESTS=1"] if unit_tests else []),
    ]  # fmt: skip
    forget_frozen(folder)
    toolchain.make(sources / "ports" / "qemu", OUT / (folder.name + ".log"), *words)
    # What a flash would hold: without the names and the debugging information of the file that was linked.
    command = ["arm-none-eabi-objcopy", "-O", "binary", str(folder / "firmware.elf"), str(folder / image["program"])]
    result = run(command, 60)
    if result.returncode:
        raise RuntimeError("%s: %s" % (" ".join(command), result.stdout.strip()))
    return Image(folder / image["program"], folder / "firmware.map", folder / "frozen_mpy")


def build_rp2(board: dict[str, Any], arch: str | None, without: list[str]) -> Image:
    """A UF2 file for a board with a chip of Raspberry Pi."""
    image = board["image"]
    toolchain.need("arm-none-eabi-gcc", "gcc-arm-none-eabi", NEWLIB, NEWLIB_CXX)
    toolchain.need_header("arm-none-eabi-gcc", "stdio.h", NEWLIB)
    toolchain.need_header("arm-none-eabi-gcc", "cstdlib", NEWLIB_CXX, "c++")
    toolchain.need("cmake", "cmake")
    sources = toolchain.micropython()
    toolchain.rp2_sources(sources, image["upstream_board"], image["submodules"])
    compiler = toolchain.mpy_cross(sources)
    folder = OUT / "-".join([board["name"], *["no_" + option for option in without]])
    # In the environment: on the command line it would replace what the port's Makefile adds to it.
    environment = {"MICROPY_MPYCROSS": str(compiler), "CMAKE_ARGS": "-DPICO_NO_PICOTOOL=1"}
    forget_frozen(folder)
    toolchain.make(sources / "ports" / "rp2", OUT / (folder.name + ".log"), *_board_words(board, without, folder), environment=environment)
    # Written here: the SDK's own tool for it would have to be fetched and built.
    program: Path = folder / image["program"]
    uf2.write(program, uf2.RP2040, RP2_FLASH, program.with_suffix(".bin").read_bytes())
    return Image(program, folder / "firmware.elf.map", folder / "frozen_mpy")


def build_esp32(board: dict[str, Any], arch: str | None, without: list[str]) -> Image:
    """One file for a board with a chip of Espressif: boot loader, partition table and program, to be written from its first offset on."""
    folder = OUT / "-".join([board["name"], *["no_" + option for option in without]])
    words = _board_words(board, without, folder)
    try:
        toolchain.idf()
        sources = toolchain.micropython()
    except Missing as error:
        raise Missing('%s. Then: make -C "$MICROPYTHON_DIR"/ports/esp32 %s' % (error, shlex.join(words))) from None
    compiler = toolchain.mpy_cross(sources)
    log = OUT / (folder.name + ".log")
    forget_frozen(folder)
    toolchain.make(sources / "ports" / "esp32", log, *words, environment={"MICROPY_MPYCROSS": str(compiler)})
    return Image(folder / board["image"]["program"], folder / "micropython.map", folder / "frozen_mpy")


def _board_words(board: dict[str, Any], without: list[str], folder: Path) -> list[str]:
    """What a port built by CMake is told of a board that is not its own."""
    return [
        "BOARD=" + board["name"], "BOARD_DIR=%s" % (BOARDS / board["name"]), "BUILD=%s" % folder,
        "FROZEN_MANIFEST=%s" % manifest(board, without, folder),
    ]  # fmt: skip


PORTS: dict[str, Callable[[dict[str, Any], str | None, list[str]], Image]] = {
    "unix": build_unix,
    "qemu": build_qemu,
    "rp2": build_rp2,
    "esp32": build_esp32,
}


def build(name: str, arch: str | None = None, features: str = ",".join(FEATURES)) -> Image:
    """The image of a board. Raises BadCall, toolchain.Missing, RuntimeError where the build fails, OverBudget."""
    board = load_board(name)
    with alone():
        image = PORTS[board["image"]["port"]](board, arch, left_out(features))
        sizes = image_sizes.measure(image)
        over = image_sizes.over_budget(sizes, board["image"])
        if over:
            image.path.unlink()
            raise OverBudget("firmware: %s; boards/%s/board.json has the budget, --report shows what costs what" % (over, name), sizes)
        return image


@contextmanager
def alone() -> Iterator[None]:
    """One build at a time: two in one folder, and in the sources' own, would spoil each other."""
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("board", nargs="?", default="", help="a folder of boards/")
    parser.add_argument("--arch", help="of edge_lite: what to build for; this machine where it is not given")
    parser.add_argument("--features", default=",".join(FEATURES), help="what to freeze in, default: %(default)s")
    parser.add_argument("--report", action="store_true", help="what each module costs")
    arguments = parser.parse_args()
    try:
        board = load_board(arguments.board)
        image = build(arguments.board, arguments.arch or None, arguments.features)
        sizes = image_sizes.measure(image)
        if arguments.report:
            image_sizes.report(sizes)
        print("%s: %s" % (os.path.relpath(image.path), image_sizes.summary(sizes, board["image"])))
    except (BadCall, Missing) as error:
        print("board_image: %s" % error, file=sys.stderr)
        return 2
    except RuntimeError as error:
        if arguments.report and isinstance(error, OverBudget):
            image_sizes.report(error.sizes)
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
