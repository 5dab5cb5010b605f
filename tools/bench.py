"""How fast it is on this machine: the product end to end, beside what the machine can do at all.

Rule: every number is measured in this run, with real processes on a real disk; a part that fails is told as failed and
the others go on. A share is the product's rate over the limit named beside it. Exits with 1 if a part failed; a missed
target is shown, and with --strict fails too.

Usage: make bench [ARGS="--quick --only end-to-end --json results.json"]
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import bench_edge
import bench_footprint
import bench_keyed
import bench_limited
import bench_limits
import bench_micropython
import bench_overhead
import bench_wear
import records as generator
from bench_limits import Limit
from bench_world import World, file_system

POOL_RECORDS = 100_000  # different ones; each is used again only long after zstd has forgotten it
QUICK = 10  # times fewer records, and shorter limits
LIMIT_SECS = 1.5


class Result(NamedTuple):
    """One measured number. target: what it must reach, None if it is a limit. share: of `limit`, 0 to 1."""

    part: str
    name: str
    value: float
    unit: str
    note: str = ""
    target: float | None = None
    at_most: bool = False
    limit: str = ""
    share: float | None = None

    @property
    def reached(self) -> bool | None:
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target


class Bench:
    """Runs parts and keeps what they found. The limits come first: the others are compared with them."""

    def __init__(self, world: World, quick: bool, seed: int) -> None:
        self.world = world
        self.divide = QUICK if quick else 1
        self.limits: list[Limit] = []
        self.results: list[Result] = []
        self.records = generator.generate(POOL_RECORDS // (5 if quick else 1), seed)
        self.zstd_bytes = 0.0
        self._bridged = False

    def bridge(self) -> None:
        if not self._bridged:
            self.world.start_bridge()
            self._bridged = True

    def add_limit(self, limit: Limit) -> None:
        self.limits.append(limit)
        self.results.append(Result("limits", limit.name, limit.records_s, "records/s", limit.note))

    def lowest(self, names: tuple[str, ...]) -> Limit | None:
        """The limit that such a path meets first."""
        found = [limit for limit in self.limits if limit.name.startswith(names)]
        return min(found, key=lambda limit: limit.records_s) if found else None

    def add(self, part: str, name: str, records_s: float, target: float | None, limits: tuple[str, ...], note: str) -> None:
        limit = self.lowest(limits)
        of = (limit.name, records_s / limit.records_s) if limit is not None else ("", None)
        self.results.append(Result(part, name, records_s, "records/s", note, target, False, *of))

    def need_limits(self) -> None:
        if not self.limits:
            measure_limits(self)


def measure_limits(bench: Bench) -> None:
    secs, folder, records = LIMIT_SECS / min(5, bench.divide), bench.world.folder, bench.records
    zstd, bench.zstd_bytes = bench_limits.zstd(records, secs)
    bench.add_limit(bench_limits.fsync(folder, records, secs))
    bench.add_limit(bench_limits.crc(records, secs))
    bench.add_limit(zstd)
    bench.add_limit(bench_limits.loopback(bench.world.port, bench.zstd_bytes, secs))
    bench.add_limit(bench_limits.sqlite(folder, bench.zstd_bytes, secs))


ALL_LIMITS = ("write", "CRC", "zstd", "loopback", "SQLite")


def _path(bench: Bench, part: str, path: bench_edge.Path, count: int, name: str, target: float) -> bench_edge.Run:
    bench.bridge()
    run = asyncio.run(bench_edge.end_to_end(bench.world, "bench-" + part, path, bench.records, count // bench.divide))
    note = "%s records, durable at the edge at %s/s" % (_thousands(run.records), _thousands(run.local_s))
    bench.add(part, name, run.records_s, target, ALL_LIMITS, note)
    return run


def end_to_end(bench: Bench) -> None:
    run = _path(bench, "end-to-end", bench_edge.through_many, 3_000_000, "produce_many to the cloud's store", 250_000)
    each = run.link_bytes / run.records
    note = "frames of both directions; zstd alone makes %.1f" % bench.zstd_bytes
    share = bench.zstd_bytes / each
    bench.results.append(Result("end-to-end", "bytes on the link", each, "bytes/record", note, 60, True, "zstd level 3", share))


def nowait(bench: Bench) -> None:
    _path(bench, "nowait", bench_edge.through_nowait, 1_000_000, "produce_nowait to the cloud's store", 100_000)


def producers(bench: Bench) -> None:
    _path(bench, "producers", bench_edge.through_producers, 400_000, "1,000 concurrent produce, same", 100_000)


def micropython(bench: Bench) -> None:
    run = bench_micropython.into_log(bench.world, bench.records, 400_000 // bench.divide)
    bench.add("micropython", "MicroPython into its log", run.records_s, 40_000, ("write", "CRC"), run.note)


def memory(bench: Bench) -> None:
    bench.bridge()
    megabytes = bench_edge.idle_memory(bench.world)
    bench.results.append(Result("memory", "idle agent, resident", megabytes, "MB", "a process of its own, connected", 45, True))


def keyed(bench: Bench) -> None:
    add = bench.results.append
    keys = 100_000 // bench.divide
    run = bench_keyed.on_cpython(bench.world, keys)
    note = "%s keys of one to three writers, values of 200 bytes, durable" % _thousands(keys)
    add(Result("keyed", "keyed versions applied", run.versions_s, "versions/s", note, 50_000))
    add(Result("keyed", "that table, resident", run.memory_bytes / 1e6, "MB", "the whole process", 150, True))
    small = bench_keyed.on_micropython(bench.world, 1_000)
    note = "1,000 keys, of a heap of 512 KB; %s versions/s" % _thousands(small.versions_s)
    add(Result("keyed", "a table on MicroPython", small.memory_bytes / 1024, "KB", note, bench_keyed.HEAP_BYTES / 1024, True))


def overhead(bench: Bench) -> None:
    """What docs/GUIDE.md reckons with."""
    bench.bridge()
    records = bench.records[: 5000 // bench.divide]
    each = sum(map(len, records)) / len(records)
    for way in bench_overhead.WAYS:
        found = asyncio.run(bench_overhead.measure(bench.world, way, records))
        note = "values of %.0f bytes; on the link, as a backlog, %.0f bytes a record" % (each, found.link_bytes)
        bench.results.append(Result("overhead", "stored beyond the value, " + way, found.stored_bytes, "bytes/record", note))


def footprint(bench: Bench) -> None:
    found = bench_footprint.measure(bench.world.folder)
    add, count = bench.results.append, bench_footprint.RECORDS
    note = "a node of one topic, opened: %s KB on 64 bits, modules included" % _thousands(found.opened / 1024)
    add(Result("footprint", "heap for 20 records, batch open", found.open_batch, "bytes", note, 0, True))
    note = "allocated for %s records, stored and synced; %s bytes stay" % (_thousands(count), _thousands(found.retained))
    add(Result("footprint", "heap passed through", found.churned / count, "bytes/record", note))


def wear(bench: Bench) -> None:
    """A day, or with --quick a tenth of one, scaled up."""
    found = bench_wear.measure(bench.world.folder, bench.divide)
    add, day = bench.results.append, "a day of one commit a second on 1 MB"
    note = "%s; logs: %.1f on average" % (day, found.log_mean)
    add(Result("wear", "erases of a log's worst block", found.log_worst, "a day", note, bench_wear.TARGET, True))
    note = "%s; littlefs of %d blocks, %s saves" % (day, bench_wear.FILES_BLOCKS, _thousands(found.saves))
    add(Result("wear", "erases of the files' worst block", found.files_worst, "a day", note, bench_wear.TARGET, True))


def limited(bench: Bench) -> None:
    add, world, mb = bench.results.append, bench.world, bench_limited.MB
    bench.bridge()
    total = 1024 * mb // bench.divide
    for policy in ("oldest", "reject"):
        run = bench_limited.outage(world, total, 64 * mb, 64 * mb, policy)
        note = "%d MB produced offline at %.0f MB/s; %s delivered, %s lost, %s refused" % (
            total // mb, run.produced_s / mb, _thousands(run.delivered), _thousands(run.lost), _thousands(run.refused)
        )  # fmt: skip
        add(Result("limited", "stored at most, " + policy, run.highest_stored / mb, "MB", note, 64, True))
        add(Result("limited", "resident at most, " + policy, run.highest_memory / mb, "MB", "max_memory: 64MB", 1.3 * 64, True))
    share = bench_limited.processor(world, 30, 500 * mb, 13)
    add(Result("limited", "processor over 10 s at most", share, "%", "max_cpu_percent: 30, a backlog drains", 35, True))
    low, high = bench_limited.bandwidth(world, 200_000, 40 * mb, 15)
    add(Result("limited", "bandwidth over 10 s at most", high * 100, "%", "of bandwidth_limit: 200000", 105, True))
    add(Result("limited", "bandwidth over 10 s at least", low * 100, "%", "the same", 95))
    slowest, command = bench_limited.command_line(world)
    add(Result("limited", "slowest command", slowest, "ms", "edge " + command, 300, True))
    secs, memory = bench_limited.restart(world, total)
    note = "with a backlog of %d MB" % (total // mb)
    add(Result("limited", "ready after a restart", secs, "s", note, 2, True))
    add(Result("limited", "resident after a restart", memory / mb, "MB", note, 60, True))


PARTS: dict[str, Callable[[Bench], None]] = {
    "limits": measure_limits,
    "end-to-end": end_to_end,
    "nowait": nowait,
    "producers": producers,
    "micropython": micropython,
    "memory": memory,
    "keyed": keyed,
    "overhead": overhead,
    "footprint": footprint,
    "wear": wear,
    "limited": limited,
}


def run_parts(bench: Bench, names: list[str], say: Callable[[str], None]) -> list[str]:
    """Returns what went wrong, a line for each part that failed."""
    failures = []
    for name in names:
        say(name)
        start = time.monotonic()
        try:
            bench.need_limits()
            if name != "limits":
                PARTS[name](bench)
        except (RuntimeError, OSError, IndexError) as error:
            failures.append("%s: %s" % (name, error))
        say("%s took %.0f s" % (name, time.monotonic() - start))
    return failures


# Showing


def _thousands(value: float) -> str:
    return "{:,.0f}".format(value) if value >= 1000 else "%.1f" % value


def _row(result: Result) -> tuple[str, ...]:
    target = "" if result.target is None else ("≤ " if result.at_most else "≥ ") + "{:,.0f}".format(result.target)
    share = "" if result.share is None else "%.0f%% of %s" % (100 * result.share, result.limit)
    verdict = {None: "", True: "reached", False: "MISSED"}[result.reached]
    return (result.name, target, "%s %s" % (_thousands(result.value), result.unit), verdict, share, result.note)


HEADER = ("", "target", "measured", "", "share", "")


def show(results: list[Result]) -> None:
    rows = [_row(result) for result in results]
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD)
        for i, name in enumerate(HEADER):
            table.add_column(name, justify="right" if i in (1, 2) else "left")
        for row in rows:
            colour = {"reached": "[green]%s[/]", "MISSED": "[red]%s[/]"}.get(row[3], "%s")
            table.add_row(*row[:3], colour % row[3], *row[4:5], "[dim]%s[/]" % row[5])
        Console().print(table)
        return
    widths = [max(len(row[i]) for row in [HEADER, *rows]) for i in range(len(HEADER))]
    for row in [HEADER, *rows]:
        cells = [cell.rjust(width) if i in (1, 2) else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells).rstrip())


def machine(world: World) -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "system": "%s %s" % (platform.system(), platform.release()),
        "python": platform.python_version(),
        "disk": file_system(str(world.folder)) or "unknown",
    }


def _write_json(path: str, about: dict[str, Any], results: list[Result], failures: list[str]) -> None:
    rows = [dict(result._asdict(), reached=result.reached) for result in results]
    Path(path).write_text(json.dumps({"machine": about, "results": rows, "failures": failures}, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = "one of: %s; may be repeated" % ", ".join(PARTS)
    parser.add_argument("--only", metavar="PART", action="append", choices=list(PARTS), help=parts)
    parser.add_argument("--quick", action="store_true", help="a few seconds in all; the numbers are rougher")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="of the records (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too")
    parser.add_argument("--strict", action="store_true", help="a missed target is a failure")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()

    def say(text: str) -> None:
        print("bench: " + text, file=sys.stderr, flush=True)

    names = arguments.only or list(PARTS)
    with World() as world:
        about = machine(world)
        print("%(cpus)s cores, %(machine)s, %(system)s, Python %(python)s, files on %(disk)s" % about, flush=True)
        try:
            world.start_broker()
            say("making the records")
            bench = Bench(world, arguments.quick, arguments.seed)
            failures = run_parts(bench, names, say)
        except RuntimeError as error:
            say(str(error))
            return 1
    show(bench.results)
    for failure in failures:
        say("failed: " + failure)
    if arguments.json:
        _write_json(arguments.json, about, bench.results, failures)
    missed = [result for result in bench.results if result.reached is False]
    return 1 if failures or (arguments.strict and missed) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
