"""`make demo-offline`: an outage that lasts longer than the disk, once with each way to be full, and both ledgers afterwards.

Rule: broker, cloud and edge agent are processes as a user starts them; in the outage broker and cloud are really gone, and everything
shown is what the agent says at its control socket, what its files take on the disk, and what the cloud's store holds. Records are
produced at a pace that fills the cap at two thirds of the outage. Exits with 1 if the cap did not hold, nothing overflowed, a producer
was told something wrong, or the two ledgers differ.

Usage: make demo-offline [SECONDS=7] (of each outage), or python tools/demo_offline.py --quick
"""

import argparse
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import demo_ledgers
from demo_broker import Broker
from demo_fleet import Child, start_agent, start_cloud
from records import RECORD_BYTES, generate
from streamline_core.errors import UsageError
from streamline_edge.control_client import AgentError, ControlClient

TOPIC = "telemetry"
SEGMENT_BYTES = 128 << 10  # what is given back at once: small, so that the cap is used well
FILL_SHARE = 2 / 3  # of the outage, after which the cap is full
CONNECTED_SECS = 2.0  # before the outage, and after it while records are still produced
QUICK_CONNECTED_SECS = 1.0
BATCHES_A_SEC = 20
DRAIN_SECS_MAX = 30.0
MB = 1 << 20


@dataclass
class Seen:
    """What the producers were told, and what was on the disk meanwhile."""

    offered: int = 0
    accepted: int = 0
    refused: int = 0
    refusal: str = ""
    peak_bytes: int = 0  # of the records on the disk
    peak_said_bytes: int = 0  # of them, by the agent


class Interrupted(Exception):
    pass


class Far:
    """The far side of the link: a broker and the cloud. Raises RuntimeError (start) where they do not come up."""

    def __init__(self, folder: Path) -> None:
        self.broker, self.store = Broker(folder), folder / "cloud.db"
        self._folder = folder
        self._cloud: Child | None = None

    def start(self) -> None:
        self.broker.start()
        self._cloud = start_cloud(self._folder, self.store, self.broker.url)

    def stop(self) -> None:
        self.broker.stop()
        if self._cloud is not None:
            self._cloud.end()


class Outage:
    """One edge with one policy. cap_bytes: of its storage; outage_secs: for how long the far side is away."""

    def __init__(self, folder: Path, far: Far, policy: str, cap_bytes: int, outage_secs: float, connected_secs: float) -> None:
        self.node = "edge-" + policy
        self.far, self.policy, self.cap_bytes, self.outage_secs = far, policy, cap_bytes, outage_secs
        self.connected_secs = connected_secs
        self.data_dir = folder / self.node
        self.config = folder / (self.node + ".yaml")
        self.config.write_text(
            "edge:\n  node_id: %s\n  data_dir: %s\n  cloud_endpoint: %s\n"
            "  sync:\n    retry: {initial_ms: 200, max_ms: 1000}\n"
            "  resources:\n    max_storage: %d\n    eviction_policy: %s\n"
            "  log:\n    segment_bytes: %d\n  sync_topics:\n    - topic: %s\n"
            % (self.node, self.node, far.broker.url, cap_bytes, policy, SEGMENT_BYTES, TOPIC)
        )
        self.agent: Child | None = None
        self.client: ControlClient | None = None
        self.seen = Seen()
        self._batch = max(1, int(cap_bytes / (outage_secs * FILL_SHARE) / RECORD_BYTES / BATCHES_A_SEC))
        self._records = generate(2 * BATCHES_A_SEC * self._batch)  # the same ones again and again: 2 s of them
        self._began = time.monotonic()

    def run(self) -> list[str]:
        """Returns what is wrong. Raises RuntimeError where something does not start, Interrupted."""
        self.agent = start_agent(self.node, self.config, self.data_dir)
        self.client = ControlClient(str(self.data_dir))
        self._began = time.monotonic()
        self._until(lambda: self._status()["link"]["connected"], "connect")
        self._produce(self.connected_secs)
        self.far.stop()
        print("         broker and cloud are stopped: there is no link")
        self._produce(self.outage_secs)
        self.far.start()
        print("         they are back")
        self._produce(self.connected_secs)
        print("         the producers stop")
        self._drain()
        return self._verdict()

    def end(self) -> None:
        if self.client is not None:
            self.client.close()
        if self.agent is not None:
            self.agent.end()

    # What happens

    def _produce(self, secs: float) -> None:
        """At an even pace; a line each second."""
        end, batch = time.monotonic() + secs, 0
        start = time.monotonic()
        said = 0
        while time.monotonic() < end:
            self._offer()
            self._look()
            batch += 1
            time.sleep(max(0.0, start + batch / BATCHES_A_SEC - time.monotonic()))
            if int(time.monotonic() - start) > said:
                said += 1
                self._say()

    def _offer(self) -> None:
        assert self.client is not None
        at = self.seen.offered % len(self._records)
        values = self._records[at : at + self._batch]
        self.seen.offered += len(values)
        try:
            answer, _ = self.client.ask("produce", b"".join(values), topic=TOPIC, sizes=[len(value) for value in values])
            self.seen.accepted += answer["stored"]
        except AgentError as error:
            if error.kind not in ("storage_full", "queue_full"):
                raise RuntimeError("%s: %s" % (self.node, error)) from None
            self.seen.refused += len(values)
            self.seen.refusal = str(error)

    def _drain(self) -> None:
        """Until the edge owes nothing, and both sides have told each other of it; a line each second."""
        deadline, said = time.monotonic() + DRAIN_SECS_MAX, time.monotonic()
        while time.monotonic() < deadline:
            self._look()
            if not demo_ledgers.compare([self._status()], self._cloud()) and not self._row()["pending"]:
                break
            if time.monotonic() - said >= 1:
                said = time.monotonic()
                self._say()
            time.sleep(0.1)
        self._say()

    def _until(self, done: Any, what: str) -> None:
        deadline = time.monotonic() + DRAIN_SECS_MAX
        while not done():
            if time.monotonic() > deadline:
                raise RuntimeError("%s did not %s within %d s" % (self.node, what, DRAIN_SECS_MAX))
            time.sleep(0.02)

    # What is seen

    def _status(self) -> dict[str, Any]:
        assert self.client is not None
        status: dict[str, Any] = self.client.request("status")["status"]
        return status

    def _row(self) -> dict[str, Any]:
        (row,) = self._status()["streams"]
        return dict(row)

    def _cloud(self) -> list[demo_ledgers.LedgerRow]:
        return [row for row in demo_ledgers.cloud_ledger(self.far.store) if row.node == self.node]

    def _look(self) -> None:
        """At the disk, and at what the agent says of it."""
        self.seen.peak_bytes = max(self.seen.peak_bytes, stored_bytes(self.data_dir))
        self.seen.peak_said_bytes = max(self.seen.peak_said_bytes, self._status()["stored_bytes"])

    def _say(self) -> None:
        status = self._status()
        (row,) = status["streams"]
        lost = demo_ledgers.causes(row["lost"], row["unconfirmed"])
        link = "up" if status["link"]["connected"] else "down"
        share = 100 * status["stored_bytes"] // self.cap_bytes
        print(
            "  %4.0f s  link %-4s  produced %7s  stored %4.1f of %.1f MB (%3d %%)  owed %7s  evicted %7s  refused %7s"
            % (
                time.monotonic() - self._began, link, number(row["produced"]), status["stored_bytes"] / MB, self.cap_bytes / MB, share,
                number(row["pending"]), number(lost.get("evicted", 0)), number(self.seen.refused),
            ),
            flush=True,
        )  # fmt: skip

    # What is to be said of it

    def _verdict(self) -> list[str]:
        seen, row, cloud = self.seen, self._row(), self._cloud()
        problems = demo_ledgers.compare([self._status()], cloud)
        lost = demo_ledgers.causes(row["lost"], row["unconfirmed"])
        print("\n  %-15s %9s   %9s   %9s   %9s" % ("", "produced", "delivered", "pending", "lost"))
        sides = [("the edge says", row["produced"], row["delivered"], row["pending"], lost)]
        sides += [("the cloud says", it.produced, it.delivered, it.pending, demo_ledgers.causes(it.lost)) for it in cloud]
        for name, produced, delivered, pending, causes in sides:
            by_cause = " (%s)" % ", ".join("%s %s" % (cause, number(causes[cause])) for cause in sorted(causes)) if causes else ""
            counts = name, number(produced), number(delivered), number(pending), number(sum(causes.values()))
            print("  %-15s %9s = %9s + %9s + %9s%s" % (*counts, by_cause))
        print("  producers: %s offered, %s accepted, %s refused" % tuple(map(number, (seen.offered, seen.accepted, seen.refused))))
        if seen.refusal:
            print("  as in: %s" % seen.refusal)
        held = "never above" if seen.peak_bytes <= self.cap_bytes else "ABOVE"
        sizes = seen.peak_bytes / MB, held, self.cap_bytes / MB
        print("  the records took %.2f MB of the disk at the most: %s the cap of %.2f MB" % sizes)
        if seen.peak_bytes > self.cap_bytes or seen.peak_said_bytes > self.cap_bytes:
            problems.append("the cap of %d bytes did not hold: %d on the disk" % (self.cap_bytes, seen.peak_bytes))
        if seen.accepted != row["produced"]:
            problems.append("producers were told that %d are stored, the ledger says %d" % (seen.accepted, row["produced"]))
        if self.policy == "reject":
            if lost or not seen.refused:
                problems.append("with reject, producers are refused and nothing is lost: refused %d, lost %s" % (seen.refused, lost))
        elif seen.refused or set(lost) != {"evicted"}:
            problems.append("with oldest, nobody is refused and what is lost was evicted: refused %d, lost %s" % (seen.refused, lost))
        return ["%s: %s" % (self.node, problem) for problem in problems]


def stored_bytes(data_dir: Path) -> int:
    """Of the segments, as the file system tells."""
    total = 0
    for path in data_dir.glob("*/*/*.seg"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            pass  # given back meanwhile
    return total


def number(count: int) -> str:
    return "{:,}".format(count)


TITLES = {
    "oldest": "eviction_policy: oldest. Producers never notice; what is oldest goes, and stands in the ledger",
    "reject": "eviction_policy: reject. Nothing is lost; producers are told that there is no room",
}


def run(folder: Path, cap_bytes: int, outage_secs: float, connected_secs: float) -> int:
    far = Far(folder)
    problems: list[str] = []
    try:
        far.start()
        counts = far.broker.kind, cap_bytes / MB, outage_secs
        print("%s, the cloud, and an edge that may store %.1f MB; outages of %.0f s" % counts)
        for policy, title in TITLES.items():
            print("\n%s:\n" % title, flush=True)
            outage = Outage(folder, far, policy, cap_bytes, outage_secs, connected_secs)
            try:
                problems += outage.run()
            finally:
                outage.end()
    finally:
        far.stop()
    for problem in problems:
        print("demo-offline: %s" % problem, file=sys.stderr)
    print("\ndemo-offline: %s" % ("%d problems" % len(problems) if problems else "the cap held, and both ledgers agree, to the record"))
    return 1 if problems else 0


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise Interrupted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", metavar="N", type=float, default=7.0, help="of each outage (3 or more; default: 7)")
    parser.add_argument("--quick", action="store_true", help="outages of 3 s, and a cap of 2 MB instead of 8")
    arguments = parser.parse_args()
    if arguments.seconds < 3:
        parser.error("--seconds %g: use 3 or more" % arguments.seconds)
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, _interrupt)
    sizes = (2 * MB, 3.0, QUICK_CONNECTED_SECS) if arguments.quick else (8 * MB, arguments.seconds, CONNECTED_SECS)
    with tempfile.TemporaryDirectory(prefix="streamline-demo-") as folder:
        try:
            return run(Path(folder), *sizes)
        except Interrupted:
            print("demo-offline: interrupted")
        except (RuntimeError, UsageError) as error:
            print("demo-offline: %s" % error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
