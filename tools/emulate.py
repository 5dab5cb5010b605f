"""Builds a board's image if need be, and runs it in its emulator with the console on this terminal.

Usage: python tools/emulate.py BOARD [--line-port PORT] [--new]

Ctrl-C goes to the board, where it ends the agent and gives MicroPython's prompt; Ctrl-A X ends the emulator.
"""

import argparse
import subprocess
import sys

import toolchain
from board_image import OUT, BadCall, build, load_board
from emulator import Emulator

FOLDER = OUT.parent / "emulate"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("board", nargs="?", default="")
    parser.add_argument("--line-port", type=int, help="of the board's line; a gateway connects to socket://127.0.0.1:PORT")
    parser.add_argument("--new", action="store_true", help="forget the flash of the last time")
    arguments = parser.parse_args()
    try:
        board = load_board(arguments.board)
        if "emulator" not in board:
            raise BadCall("there is no emulator here for {0}; make flash BOARD={0} is for the real board".format(board["name"]))
        toolchain.need("qemu-system-arm", "qemu-system-arm")
        image = build(board["name"])
    except (BadCall, toolchain.Missing) as error:
        print("emulate: %s" % error, file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    folder = FOLDER / board["name"]
    folder.mkdir(parents=True, exist_ok=True)
    emulator = Emulator(board, image.path, folder, arguments.line_port)
    if arguments.new:
        emulator.flash.unlink(missing_ok=True)
    emulator.new_flash()
    print("%s: its line is socket://127.0.0.1:%d, its flash %s; Ctrl-A X ends it" % (board["name"], emulator.line_port, emulator.flash))
    return subprocess.run(emulator.command("mon:stdio"), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
