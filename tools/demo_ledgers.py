"""The ledgers of both sides, held against each other.

Rule: what the edges say of themselves and what the cloud's store holds must be the same, to the record and to the cause. Nothing of it is
computed here but sums. Must not know: processes, how anything is shown.
"""

from pathlib import Path
from typing import Any

from streamline_cloud.store_reader import LedgerRow, StoreReader
from streamline_core.errors import UsageError
from streamline_host.codecs import codecs

Key = tuple[str, str, int, str]


def cloud_ledger(store: Path) -> list[LedgerRow]:
    """Every stream in the store; none as long as it is not made."""
    try:
        with StoreReader(store, codecs("zstd")) as reader:
            return reader.ledger()
    except UsageError:
        return []


def compare(statuses: list[dict[str, Any]], cloud: list[LedgerRow]) -> list[str]:
    """What is wrong with the ledgers, once everything should be at rest; empty if they add up and are the same."""
    problems = []
    theirs = {_key(row.node, row.topic, row.partition, "%08x" % row.epoch): row for row in cloud}
    for status in statuses:
        for mine in status["streams"]:
            key = _key(mine["node"], mine["topic"], mine["partition"], mine["epoch"])
            name = "%s %s-%d, epoch %s" % key
            edge = (mine["produced"], mine["delivered"], mine["pending"], causes(mine["lost"], mine["unconfirmed"]))
            if edge[0] != edge[1] + edge[2] + sum(edge[3].values()):
                problems.append("%s: the edge's ledger does not add up: %s" % (name, text(edge)))
            row = theirs.get(key)
            if row is None:
                if edge[0]:
                    problems.append("%s: the cloud does not know it" % name)
                continue
            far = (row.produced, row.delivered, row.pending, causes(row.lost))
            if not row.adds_up:
                problems.append("%s: the cloud's ledger does not add up: %s %s" % (name, text(far), row.fault))
            if edge != far:
                problems.append("%s: the edge says %s, the cloud %s" % (name, text(edge), text(far)))
    if not statuses:
        problems.append("no edge has reported")
    return problems


def _key(node: str, topic: str, partition: int, epoch: str) -> Key:
    return node, topic, partition, epoch


def causes(*counts: dict[str, int]) -> dict[str, int]:
    """Losses added up by cause."""
    summed: dict[str, int] = {}
    for some in counts:
        for cause, count in some.items():
            if count:
                summed[cause] = summed.get(cause, 0) + count
    return summed


def text(ledger: tuple[int, int, int, dict[str, int]]) -> str:
    return "produced %d = delivered %d + pending %d + lost %d" % (*ledger[:3], sum(ledger[3].values()))
