"""Examples and exit codes of each command of `streamline-cli`, for its --help.

Rule: every command and every group has an example, and an example is what one can type: it stands as it is in a shell, and the parser
takes it. Knows of the commands only their names.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

PROGRAM, USUAL = "streamline-cli", "edge"  # which stands before all that are not of another group
AGENT_CODES = "0 well; 1 the agent refused; 2 wrong usage; 3 no agent answers"
BOARD_CODES = "0 well; 2 wrong usage, or no board answers"
FILE_CODES = "0 well; 2 wrong usage, or a configuration with problems"

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("streamline-cli edge status", "streamline-cli edge health || logger -t streamline degraded"),
    "produce": (
        "seq 1000 | streamline-cli edge produce sensors --producer till-7",
        "streamline-cli edge produce sensors --key-field id < readings.jsonl",
    ),
    "consume": ("streamline-cli edge consume sensors --from 1000 --json", "streamline-cli edge consume promotions --follow"),
    "get": ("streamline-cli edge get settings kitchen/heating",),
    "set": ("streamline-cli edge set settings kitchen/heating 21.5", "streamline-cli edge set settings logo - < logo.png"),
    "delete": ("streamline-cli edge delete settings kitchen/heating",),
    "keys": ("streamline-cli edge keys settings --prefix kitchen/",),
    "watch": ("streamline-cli edge watch settings --json",),
    "conflicts": ("streamline-cli edge conflicts", "streamline-cli edge conflicts explain settings kitchen/heating"),
    "status": ("streamline-cli edge status --json", "streamline-cli edge status --node board-3 --config edge.yaml"),
    "ledger": ("streamline-cli edge ledger --config /etc/streamline/edge.yaml",),
    "topics": ("streamline-cli edge topics",),
    "health": ("streamline-cli edge health || logger -t streamline degraded", "streamline-cli edge health --acknowledge"),
    "sync": ("streamline-cli edge sync status", "streamline-cli edge sync now"),
    "resources": ("streamline-cli edge resources", "streamline-cli edge resources limit --memory 256MB --storage 1GB"),
    "consumers": ("streamline-cli edge consumers", "streamline-cli edge consumers forget billing"),
    "queue": ("streamline-cli edge queue",),
    "top": ("streamline-cli edge top --interval 5",),
    "mesh": ("streamline-cli edge mesh status",),
    "mesh status": ("streamline-cli edge mesh status",),
    "mesh peers": ("streamline-cli edge mesh peers --json",),
    "mesh join": ("streamline-cli edge mesh join gateway-2",),
    "mesh leave": ("streamline-cli edge mesh leave gateway-2",),
    "config": ("streamline-cli edge config check edge.yaml", "streamline-cli edge config show"),
    "config check": ("streamline-cli edge config check edge.yaml && systemctl reload streamline",),
    "config show": (
        "streamline-cli edge config show --config edge.yaml",
        "STREAMLINE_EDGE_FLEET=test streamline-cli edge config show --json",
    ),
    "config export": ("streamline-cli edge config export --target micropython --config edge.yaml --out board.json",),
    "config schema": ("streamline-cli edge config schema > edge.schema.json",),
    "init": (
        "streamline-cli edge init --profile raspberry_pi_zero --node-id pi-7 --cloud mqtts://broker.example",
        "streamline-cli edge init --node-id till-7 --cloud mqtts://till-7@broker.example --topic pos --topic settings:bidirectional:keyed",
    ),
    "board": ("streamline-cli board info --port /dev/ttyACM0",),
    "board info": ("streamline-cli board info --port /dev/ttyACM0", "streamline-cli board info --port socket://127.0.0.1:4000 --json"),
    "board provision": (
        "streamline-cli board provision --port /dev/ttyACM0 --config edge.yaml --node-id pico-7 --wifi-file wifi.json",
        "streamline-cli board provision --port COM3 --config edge.yaml --broker mqtts://broker.example --password-file pico-7.secret",
    ),
    "completion": ("streamline-cli edge completion bash > ~/.local/share/bash-completion/completions/streamline-cli",),
}
CODES = {
    "": "0 well; 1 degraded, refused or not there; 2 wrong usage; 3 no agent answers",
    "get": "0 well; 1 the key has no value; 2 wrong usage; 3 no agent answers",
    "conflicts": "0 well; 1 the key was never written; 2 wrong usage; 3 no agent answers",
    "health": "0 healthy; 1 degraded; 2 wrong usage; 3 no agent answers",
    "resources": "0 well; 1 more is used than a limit allows; 2 wrong usage; 3 no agent answers",
    "mesh join": "1 this build has no mesh; 2 wrong usage",
    "mesh leave": "1 this build has no mesh; 2 wrong usage",
    "config": FILE_CODES,
    "config check": "0 well; 2 it has problems",
    "config show": FILE_CODES,
    "config export": FILE_CODES,
    "board": BOARD_CODES,
    "board info": BOARD_CODES,
    "board provision": "0 it runs; 1 it was written, and the board does not say that it runs; 2 wrong usage, or refused: not written",
    "init": "0 it was written; 2 wrong usage, or the file is there",
}
NO_CODES = ("config schema", "completion")  # which cannot fail


def explain(parser: argparse.ArgumentParser) -> None:
    """Give every command under `parser` its examples and exit codes."""
    for command in commands(parser):
        name = name_of(command)
        examples = EXAMPLES.get(name, ())
        lines = ["examples:" if len(examples) > 1 else "example:", *[f"  {example}" for example in examples]]
        if name not in NO_CODES:
            lines += ["", f"exit codes: {CODES.get(name, AGENT_CODES)}"]
        command.epilog = "\n".join(lines)
        command.formatter_class = argparse.RawDescriptionHelpFormatter


def name_of(command: argparse.ArgumentParser) -> str:
    """As EXAMPLES calls it."""
    return command.prog.removeprefix(PROGRAM).strip().removeprefix(USUAL).strip()


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Every command and every group of them, at any depth."""
    for action in parser._actions:  # argparse has no public way to them
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command
                yield from commands(command)
