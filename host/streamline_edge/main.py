"""`streamline --edge`, also `python -m streamline_edge`: one agent in the foreground.

Rule: SIGTERM and SIGINT end it cleanly, all that was accepted made durable first; SIGHUP reloads the configuration.
What is wrong with it at the start is told on standard error and ends it with code 2, before anything is opened. Logs go to standard
error.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from streamline_core.errors import StreamlineError, UsageError

if TYPE_CHECKING:
    from streamline_core.config import EdgeConfig

    from .agent import Agent
    from .systemd_notify import Notifier

LEVELS = ("debug", "info", "warning", "error")
EPILOG = """examples:
  streamline --edge --config edge.yaml
  STREAMLINE_EDGE_SYNC__INTERVAL_SECS=30 streamline --edge --data-dir /var/lib/streamline

exit codes: 0 it was ended; 1 it failed; 2 wrong usage, or a configuration with problems"""

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

    def configuration() -> EdgeConfig:
        return config_file.find(arguments.config, arguments.data_dir).config

    # Until there is something that can be reloaded. And a closed terminal is no reason to stop.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        asyncio.run(serve(configuration))
    except UsageError as e:
        print(e if isinstance(e, ConfigFileError) else f"streamline: {e}", file=sys.stderr)
        return 2
    except StreamlineError as e:
        print(f"streamline: {e}", file=sys.stderr)
        return 1
    return 0


def _parser(edge: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m streamline_edge" if edge else "streamline",
        description="Run a Streamline edge agent in the foreground. SIGTERM ends it cleanly, SIGHUP reloads its configuration.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--edge", action="store_true", help="edge mode")
    parser.add_argument("--config", metavar="F", help="configuration file (default: ./edge.yaml, if it is there)")
    parser.add_argument("--data-dir", metavar="D", help="where the data is; overrides the configuration")
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="default: info")
    return parser


async def serve(configuration: Callable[[], EdgeConfig]) -> None:
    """Run an agent with its doors until SIGTERM or SIGINT. configuration: reads it, now and at each SIGHUP."""
    from .service import Service
    from .systemd_notify import Notifier

    notifier = Notifier()
    service = Service(configuration())
    stop, hangup = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, hangup)):
        loop.add_signal_handler(number, event.set)
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
    await service.start()
    reloading = loop.create_task(_reload_at(hangup, configuration, service.agent, notifier))
    reloading.add_done_callback(lambda task: None if task.cancelled() else task.result())  # an error in it ends the agent, too
    notifier.ready(loop)
    try:
        await stop.wait()
        log.info("stopping")
    finally:
        notifier.stopping()
        reloading.cancel()
        await service.stop()
    if broken:
        raise StreamlineError(f"ended by an error of its own: {broken[0]!r}")


async def _reload_at(hangup: asyncio.Event, configuration: Callable[[], EdgeConfig], agent: Agent, notifier: Notifier) -> None:
    """Each time it is set, take over what has changed in the configuration; one with problems changes nothing."""
    while True:
        await hangup.wait()
        hangup.clear()
        with notifier.reloading():
            await _reload(configuration, agent)


async def _reload(configuration: Callable[[], EdgeConfig], agent: Agent) -> None:
    try:
        found = await agent.reconfigure(configuration())
    except UsageError as e:
        for line in str(e).splitlines():
            log.error("configuration not reloaded: %s", line)
        return
    for change in found.live:
        log.info("configuration reloaded: %s", change)
    for change in found.restart:
        log.warning("configuration: %s needs a restart", change)
    if not found.live and not found.restart:
        log.info("configuration reloaded: nothing has changed")
