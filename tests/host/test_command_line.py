"""What holds for every command of `streamline-cli edge`, without an agent."""

import subprocess
import sys

from agent_process import ENVIRONMENT

SLOW = {"asyncio", "paho", "psutil", "rich", "streamline_core.node", "streamline_edge.agent", "ujson", "yaml"}


def test_the_command_line_starts_without_what_only_some_commands_need() -> None:
    code = "import sys; from streamline_edge import cli; cli.parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "streamline_edge.cli" in loaded and not SLOW & loaded
