"""`streamline-cloud serve`: the bridge as a process, with a broker of its own where none is named.

Rule: one line says where it listens and where it stores; SIGTERM and SIGINT end it cleanly. Must not know: frames, SQL.
"""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from streamline_core.errors import UsageError
from streamline_host.broker_url import BrokerUrl
from streamline_host.embedded_broker import EmbeddedBroker

from .bridge import Bridge
from .store_schema import path_of

LISTEN = "127.0.0.1:1883"


def serve(arguments: argparse.Namespace) -> int:
    """Run until a signal comes. Raises UsageError for settings that cannot be honoured."""
    path = path_of(arguments.store).absolute()
    if arguments.broker is not None and arguments.listen is not None:
        raise UsageError("--listen is for the broker inside this process; with --broker there is none: leave one out")
    if arguments.broker is None and arguments.ca_file is not None:
        raise UsageError("--ca-file verifies a broker named by --broker; the one inside this process has no TLS")
    return asyncio.run(_serve(arguments, path))


async def _serve(arguments: argparse.Namespace, path: Path) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    broken: list[BaseException] = []

    def crash(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error of our own in a callback would leave a bridge that looks alive and does nothing: end it loudly."""
        error = context.get("exception")
        ours = error is not None and "handle" in context  # a callback of the loop; libraries leave their tasks' errors about
        level = logging.ERROR if ours else logging.DEBUG
        logging.getLogger("streamline.cloud").log(level, "%s", context.get("message"), exc_info=error)
        if ours and error is not None:
            broken.append(error)
            ended.set()

    loop.set_exception_handler(crash)
    broker = None
    if arguments.broker is None:
        host, port = parse_listen(arguments.listen or LISTEN)
        broker = EmbeddedBroker(host, port, arguments.password_file)
    else:
        url = BrokerUrl.parse(arguments.broker, password_file=arguments.password_file, ca_file=arguments.ca_file)
    try:
        if broker is not None:
            try:
                await broker.start()
            except UsageError as error:
                raise UsageError("%s (--listen HOST:PORT chooses, --broker URL uses one that runs)" % error)
            url = broker.own_url
        bridge = Bridge(url, path, arguments.fleet, say=_say)
        try:
            await bridge.start()
            where = "listening on %s:%d" % (broker.host, broker.port) if broker is not None else "broker %s" % url
            print("streamline-cloud: %s, fleet %s, storing in %s" % (where, arguments.fleet, path), flush=True)
            await ended.wait()
        finally:
            await bridge.stop()
    finally:
        if broker is not None:
            await broker.stop()
    print("streamline-cloud: ended" + (" by an error of its own: %r" % broken[0] if broken else ""), flush=True)
    return 1 if broken else 0


def parse_listen(text: str) -> tuple[str, int]:
    """HOST:PORT, [IPv6]:PORT or just PORT. Raises UsageError."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) <= 65535:
        raise UsageError("--listen %r: write it as HOST:PORT, with a port from 0 (any free one) to 65535" % text)
    return host.strip("[]") or "127.0.0.1", int(port)


def _say(text: str) -> None:
    print("streamline-cloud: %s" % text, file=sys.stderr, flush=True)
