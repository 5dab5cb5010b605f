"""`streamline-cli edge …`: what a person or a script asks of a running agent; `board …`: what concerns a board at a port.

Rule: results go to standard output, everything else is one line on standard error that says what to do. Exit codes: 0
well, 1 degraded, refused or not there, 2 wrong usage, 3 no agent, or no answer. Starts fast: a command imports what it needs when it runs.
Knows no single command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from streamline_core.errors import ProtocolError, StreamlineError, UsageError
from streamline_host import standard_output

from . import (
    board_commands,
    command_examples,
    completion_command,
    config_commands,
    init_command,
    keyed_commands,
    limit_commands,
    mesh_commands,
    record_commands,
    state_commands,
    top,
)
from .commands import DEGRADED, NO_AGENT, USAGE, WELL, Commands, check

INTERRUPTED = 130
GROUPS = (
    record_commands,
    keyed_commands,
    state_commands,
    limit_commands,
    top,
    mesh_commands,
    config_commands,
    init_command,
    completion_command,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script. Returns the exit code."""
    standard_output.ensure()
    arguments = parser().parse_args(argv)
    try:
        check(arguments)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        standard_output.abandon()
        return WELL
    except OSError as e:
        said = standard_output.refused(e)
        if said is None:
            raise
        print(f"streamline-cli: {said}", file=sys.stderr)
        return DEGRADED
    except (ProtocolError, StreamlineError) as e:
        for line in str(e).splitlines():
            print(f"streamline-cli: {line}", file=sys.stderr)
        return _code(e)
    except (LookupError, TypeError, ValueError) as e:
        if not hasattr(arguments, "connection"):
            raise
        print(f"streamline-cli: {arguments.node} answers what this version cannot show ({e!r}); see --json", file=sys.stderr)
        return DEGRADED
    finally:
        if hasattr(arguments, "connection"):
            arguments.connection.close()


def _code(error: Exception) -> int:
    from .control_client import AgentError, NoAgent

    if isinstance(error, NoAgent):
        return NO_AGENT
    if isinstance(error, AgentError):
        return USAGE if error.kind in ("usage", "protocol") else DEGRADED
    return USAGE if isinstance(error, UsageError) else DEGRADED


def parser() -> argparse.ArgumentParser:
    """All that may be said."""
    made = argparse.ArgumentParser(prog="streamline-cli", description="Ask a running Streamline agent, set up a board.")
    top_level = Commands(made, "edge|board")
    commands = top_level.group("edge", "an edge agent on this machine; with --node, a node of the fleet")
    for group in GROUPS:
        group.add(commands)
    board_commands.add(top_level.group("board", "a board at a serial port: what it is, its first configuration", agent=False))
    command_examples.explain(made)
    return made


if __name__ == "__main__":
    sys.exit(main())
