"""`make run` and its siblings, as a user without a terminal sees them, and the comparison with which they end."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import demo_ledgers
from streamline_cloud.store_reader import LedgerRow

TOOL = Path(__file__).parents[2] / "tools" / "demo.py"
AT_THE_END = re.compile(r"every ledger adds up, at the edges and at the cloud: (\d+) streams, produced (\d+), delivered (\d+)")

pytest.importorskip("amqtt", reason="the demo's broker is amqtt")


def start(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(TOOL), *arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_it_ends_by_itself_and_its_ledgers_add_up(tmp_path: Path) -> None:
    process = start("--seconds", "8", "--data", str(tmp_path))
    output, _ = process.communicate(timeout=150)
    assert process.returncode == 0, output
    found = AT_THE_END.search(output)
    assert found, output
    assert int(found[1]) >= 3 and int(found[2]) == int(found[3]) > 50
    for topic in ("cpu", "memory", "network"):
        assert re.search(r"gateway/%s produced [1-9]\d* durable [1-9]" % topic, output), output
    assert "board/" in output or "no MicroPython edge" in output
    assert (tmp_path / "cloud.db").exists()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_ctrl_c_ends_it_cleanly() -> None:
    process = start()
    assert process.stdout is not None
    line, deadline = "", time.monotonic() + 30
    while "delivered" not in line and time.monotonic() < deadline:
        line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=150)
    assert process.returncode == 0, output
    assert AT_THE_END.search(output), output


def row(**changes: Any) -> LedgerRow:
    values: dict[str, Any] = {
        "node": "n", "topic": "t", "partition": 0, "epoch": 10, "produced": 5, "delivered": 5, "pending": 0, "lost": {},
        "closed": False, "changed_ms": 0, "fault": "",
    }  # fmt: skip
    return LedgerRow(**(values | changes))


def status(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "node": "n", "topic": "t", "partition": 0, "epoch": "0000000a", "produced": 5, "delivered": 5, "pending": 0, "lost": {},
        "unconfirmed": {},
    }  # fmt: skip
    return {"node": "n", "streams": [values | changes]}


def test_ledgers_that_differ_are_told() -> None:
    assert demo_ledgers.compare([status()], [row()]) == []
    lost = {"evicted": 2}
    assert demo_ledgers.compare([status(delivered=3, lost=lost)], [row(delivered=3, lost=lost)]) == []
    assert "does not know" in demo_ledgers.compare([status()], [])[0]
    assert "the edge's ledger does not add up" in demo_ledgers.compare([status(delivered=4)], [row()])[0]
    assert "the cloud's ledger does not add up" in demo_ledgers.compare([status()], [row(delivered=4)])[0]
    assert "the edge says" in demo_ledgers.compare([status(produced=6, delivered=6)], [row()])[0]
    assert "no edge" in demo_ledgers.compare([], [row()])[0]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_what_conflicts_is_shown_alike_everywhere_as_its_strategy_promises() -> None:
    command = [sys.executable, str(TOOL.with_name("demo_conflict.py"))]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=150)
    assert done.returncode == 0, done.stdout
    assert re.search(r"custom_merge +price +(edge-1 \+ cloud \+ edge-2 *){3}", done.stdout), done.stdout
    assert "rule: edge_wins: the latest that the edge wrote" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_outage_that_fills_the_disk_is_told_alike_by_both_sides() -> None:
    command = [sys.executable, str(TOOL.with_name("demo_offline.py")), "--quick"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=150)
    assert done.returncode == 0, done.stdout
    ledgers = re.findall(r"the (?:edge|cloud) says +([\d,]+) = +([\d,]+) \+ +0 \+ +([\d,]+)", done.stdout)
    assert len(ledgers) == 4 and ledgers[0] == ledgers[1] and ledgers[2] == ledgers[3], done.stdout
    assert ledgers[0][2] != "0" and ledgers[2][2] == "0", done.stdout  # evicted; refused
    assert done.stdout.count("never above the cap of 2.00 MB") == 2, done.stdout
    assert "the cap held, and both ledgers agree" in done.stdout
