"""`make run`: a small fleet in one terminal: the cloud and its broker, an edge on CPython, an edge on MicroPython.

Rule: it needs no configuration, and leaves nothing behind unless --data says where. It ends on Ctrl-C, or by itself
after --seconds: the edges stop producing, what they hold goes to the cloud, and then each stream's ledger at its edge
is compared with the cloud's, read from its store. Exits with 1 if a ledger does not add up, the two differ, or a
process ended that should not have.

Usage: make run [SECONDS=20]
"""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

import demo_table
from demo_fleet import Fleet
from demo_ledgers import cloud_ledger, compare
from streamline_cloud.store_reader import LedgerRow

DRAIN_SECS = 3.0  # before the end of --seconds
DRAIN_SECS_MAX = 10.0
REFRESH_SECS = 0.5
PLAIN_SECS = 1.0


class Demo:
    def __init__(self, folder: Path, seconds: float | None) -> None:
        self.folder = folder
        self.fleet = Fleet(folder)
        self.seconds = seconds
        self.stop = False
        self._rates = demo_table.Rates()

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        self.stop = True

    def run(self) -> int:
        """Returns the exit code. Raises RuntimeError where the fleet does not start."""
        start = time.monotonic()
        try:
            self.fleet.start()
            if self.fleet.without_micropython:
                print(self.fleet.without_micropython, flush=True)
            with _Screen() as screen:
                end = start + self.seconds - DRAIN_SECS if self.seconds is not None else None
                self._watch(screen, end)
                self.fleet.drain()
                self._drain(screen, "draining")
            problems = self.fleet.dead() + compare(self._statuses(), self._cloud_ledger())
        finally:
            self.fleet.end()
        return _report(problems, self._statuses(), self.fleet.store)

    def _statuses(self) -> list[dict[str, Any]]:
        return [edge.status for edge in self.fleet.edges if edge.status is not None]

    def _watch(self, screen: "_Screen", end: float | None) -> None:
        while not self.stop and not self.fleet.dead() and (end is None or time.monotonic() < end):
            screen.show(self._lines(), self._caption())
            self._sleep(screen.interval_secs, end)

    def _drain(self, screen: "_Screen", doing: str) -> None:
        """Until nothing is pending on either side, and the edges have said so."""
        deadline = time.monotonic() + DRAIN_SECS_MAX
        while time.monotonic() < deadline and not self.fleet.dead():
            time.sleep(REFRESH_SECS)
            screen.show(self._lines(), doing)
            if not compare(self._statuses(), self._cloud_ledger()):
                return

    def _sleep(self, secs: float, end: float | None) -> None:
        until = time.monotonic() + secs
        if end is not None:
            until = min(until, end)
        while not self.stop and (left := until - time.monotonic()) > 0:
            time.sleep(min(0.1, left))

    def _lines(self) -> list[demo_table.StreamLine]:
        return demo_table.lines(self._statuses(), self._rates)

    def _caption(self) -> str:
        rows = self._cloud_ledger()
        delivered = "{:,}".format(sum(row.delivered for row in rows))
        return (
            "cloud: %s records of %d streams, broker %s\n"
            "read them:  streamline-cloud read cpu --follow --store sqlite:///%s\n"
            "ask the edge:  streamline-cli edge --data-dir %s status\n"
            "Ctrl-C ends it"
        ) % (delivered, len(rows), self.fleet.endpoint, self.fleet.store, self.folder / "gateway")

    def _cloud_ledger(self) -> list[LedgerRow]:
        return cloud_ledger(self.fleet.store)


class _Screen:
    """A live table where there is a terminal, else a line a second."""

    def __init__(self) -> None:
        self._live: Any = None
        self._said_at = -PLAIN_SECS
        self.interval_secs = REFRESH_SECS

    def __enter__(self) -> "_Screen":
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(auto_refresh=False)
            self._live.start()
        else:
            self.interval_secs = PLAIN_SECS
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, streams: list[demo_table.StreamLine], caption: str) -> None:
        if self._live is not None:
            self._live.update(demo_table.table(streams, caption), refresh=True)
        elif time.monotonic() - self._said_at >= PLAIN_SECS * 0.9:
            self._said_at = time.monotonic()
            print(demo_table.plain(streams), flush=True)


def _report(problems: list[str], statuses: list[dict[str, Any]], store: Path) -> int:
    for problem in problems:
        print("demo: " + problem)
    if problems:
        return 1
    streams = [row for status in statuses for row in status["streams"]]
    produced, delivered = (sum(row[name] for row in streams) for name in ("produced", "delivered"))
    counts = (len(streams), produced, delivered)
    print("every ledger adds up, at the edges and at the cloud: %d streams, produced %d, delivered %d" % counts)
    return 0


def _run(folder: Path, seconds: float | None) -> int:
    demo = Demo(folder, seconds)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, demo.interrupt)
    try:
        return demo.run()
    except RuntimeError as error:
        print("demo: %s" % error)
        return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", metavar="N", type=float, help="end after as many (at least 6; default: at Ctrl-C)")
    parser.add_argument("--data", metavar="DIR", help="keep everything there (default: a temporary folder)")
    arguments = parser.parse_args()
    if arguments.seconds is not None and arguments.seconds < 2 * DRAIN_SECS:
        parser.error("--seconds %g: use %g or more" % (arguments.seconds, 2 * DRAIN_SECS))
    if arguments.data is not None:
        folder = Path(arguments.data).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        return _run(folder, arguments.seconds)
    with tempfile.TemporaryDirectory(prefix="streamline-demo-") as temporary:
        return _run(Path(temporary), arguments.seconds)


if __name__ == "__main__":
    sys.exit(main())
