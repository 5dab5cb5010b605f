"""`streamline --edge`, also `python -m streamline_edge`: one agent in the foreground.

Rule: SIGTERM and SIGINT end it cleanly, all that was accepted made durable first; what is wrong with the configuration
is told on standard error and ends it with code 2, before anything is opened. Logs go to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from streamline_core.errors import StreamlineError, UsageError

if TYPE_CHECKING:
    from streamline_core.config import EdgeConfig

LEVELS = ("debug", "info", "warning", "error")

log = logging.getLogger("streamline")


def main(argv: Sequence[str] | None = None, edge: bool = False) -> int:
    """The console script; `edge`: the mode needs no saying. Returns the exit code."""
    arguments = _parser(edge).parse_args(argv)
    if not (edge or arguments.edge):
        print("streamline: say which mode: streamline --edge [--config edge.yaml]", file=sys.stderr)
        return 2
    logging.basicConfig(stream=sys.stderr, level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from . import config_file
    from .config_reading import ConfigFileError

    try:
        config = config_file.find(arguments.config, arguments.data_dir).config
        asyncio.run(serve(config))
    except UsageError as e:
        print(e if isinstance(e, ConfigFileError) else f"streamline: {e}", file=sys.stderr)
        return 2
    except StreamlineError as e:
        print(f"streamline: {e}", file=sys.stderr)
        return 1
    return 0


def _parser(edge: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m streamline_edge" if edge else "streamline", description="Run a Streamline edge agent.")
    parser.add_argument("--edge", action="store_true", help="edge mode")
    parser.add_argument("--config", metavar="F", help="configuration file (default: ./edge.yaml, if it is there)")
    parser.add_argument("--data-dir", metavar="D", help="where the data is; overrides the configuration")
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="default: info")
    return parser


async def serve(config: EdgeConfig) -> None:
    """Run an agent with its doors until SIGTERM or SIGINT."""
    from .service import Service

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    broken: list[BaseException] = []

    def crash(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error of our own in a callback would leave an agent that looks alive and does nothing: end it loudly."""
        error = context.get("exception")
        ours = error is not None and "handle" in context  # a callback of the loop; libraries leave their tasks' errors about
        log.log(logging.ERROR if ours else logging.DEBUG, "%s", context.get("message"), exc_info=error)
        if ours and error is not None:
            broken.append(error)
            stop.set()

    loop.set_exception_handler(crash)
    # A closed terminal is no reason to stop, and there is nothing to reload yet.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    service = Service(config)
    await service.start()
    try:
        await stop.wait()
        log.info("stopping")
    finally:
        await service.stop()
    if broken:
        raise StreamlineError(f"ended by an error of its own: {broken[0]!r}")
