"""`streamline-cloud nodes` and `streamline-cloud ledger`: what the store knows of the fleet, as tables or JSON.

Rule: a terminal gets a table, a pipe gets aligned plain text. Must not know: the bridge, SQL.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from streamline_host.codecs import codecs

from .read_command import rfc3339
from .store_reader import LedgerRow, StoreReader
from .store_schema import path_of


def nodes(arguments: argparse.Namespace) -> int:
    """Every node that ever came. Returns 0."""
    with StoreReader(Path(path_of(arguments.store)), codecs("zstd")) as reader:
        rows = reader.nodes()
    if arguments.json:
        found = []
        for row in rows:
            entry = dict(vars(row))
            entry["storage_id"] = row.storage_id.hex()
            entry["first_seen"], entry["last_seen"] = rfc3339(entry.pop("first_ms")), rfc3339(entry.pop("last_ms"))
            found.append(entry)
        print(json.dumps(found))
        return 0
    header = ("node", "version", "last seen", "streams", "produced", "delivered", "pending", "lost")
    lines = [
        (
            row.node,
            row.version or "-",
            rfc3339(row.last_ms) or "-",
            *map(str, (row.streams, row.produced, row.delivered, row.pending, row.lost)),
        )
        for row in rows
    ]
    show("nodes", header, lines, numbers_from=3)
    return 0


def ledger(arguments: argparse.Namespace) -> int:
    """Each stream's produced = delivered + pending + lost. Returns 1 if one does not add up."""
    with StoreReader(Path(path_of(arguments.store)), codecs("zstd")) as reader:
        rows = reader.ledger(arguments.node)
    if arguments.json:
        print(json.dumps([row.to_json() for row in rows]))
    else:
        header = ("node", "topic", "part", "epoch", "produced", "delivered", "pending", "lost", "causes")
        show("ledger", header, [_ledger_line(row) for row in rows], numbers_from=4)
    wrong = [row for row in rows if not row.adds_up]
    for row in wrong:
        name = "%s %s-%d, epoch %08x" % (row.node, row.topic, row.partition, row.epoch)
        print("streamline-cloud: the ledger of %s does not add up: %s" % (name, row.fault), file=sys.stderr)
    return 1 if wrong else 0


def _ledger_line(row: LedgerRow) -> tuple[str, ...]:
    causes = ", ".join("%s %d" % item for item in sorted(row.lost.items())) or "-"
    numbers = (row.produced, row.delivered, row.pending, sum(row.lost.values()))
    return (row.node, row.topic, str(row.partition), "%08x" % row.epoch, *map(str, numbers), causes)


def show(title: str, header: Sequence[str], lines: Sequence[Sequence[str]], numbers_from: int) -> None:
    """A table. Columns from `numbers_from` on that hold only numbers are set right."""
    right = [at >= numbers_from and all(line[at].isdigit() for line in lines) for at in range(len(header))]
    widths = [max(len(line[at]) for line in [header, *lines]) for at in range(len(header))]
    if sys.stdout.isatty():
        from rich.box import SIMPLE
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
        for at, name in enumerate(header):
            # Where the terminal is narrow, names and causes are folded; a number cut short would be a wrong number.
            width = widths[at] if right[at] or name in ("epoch", "part") else None
            justify: Literal["right", "left"] = "right" if right[at] else "left"
            table.add_column(name, justify=justify, min_width=width, overflow="fold")
        for line in lines:
            table.add_row(*[Text(cell) for cell in line])
        Console().print(table)
        return
    for line in [[name.upper() for name in header], *lines]:
        cells = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, widths, right, strict=True)]
        print("  ".join(cells).rstrip())
