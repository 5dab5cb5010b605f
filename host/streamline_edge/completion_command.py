"""`streamline-cli edge completion SHELL`: a script with which a shell completes the words of this command line.

Rule: the script is made of the parser, so that it knows every command; it is printed, and where it goes is the user's to say.
"""

from __future__ import annotations

from .commands import WELL, Arguments, Commands

SHELLS = ("bash", "zsh", "fish")


def add(commands: Commands) -> None:
    help = "a script with which a shell completes these commands"
    completion = commands.add("completion", _completion, help, agent=False, json=False)
    completion.add_argument("shell", choices=SHELLS)


def _completion(arguments: Arguments) -> int:
    import shtab

    from .cli import parser
    from .command_examples import commands

    made = parser()
    kinds = {"data_dir": shtab.DIRECTORY, "config": shtab.FILE, "file": shtab.FILE, "out": shtab.FILE}
    for command in commands(made):
        for action in command._actions:  # argparse has no public way to them
            if action.dest in kinds:
                action.complete = kinds[action.dest]  # type: ignore[attr-defined]
    print(shtab.complete(made, arguments.shell))
    return WELL
