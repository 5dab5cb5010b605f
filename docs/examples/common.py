"""What the worked examples share: a broker, a cloud and edges that run for a moment, in a temporary folder, and a story told on the way.

Rule: everything is started as a user starts it, from the example's own edge.yaml; only where things are (broker, data) and waits that
nobody wants to watch come from the environment, or are replaced in a copy, and the story says so. What a story claims it checks. Must not
know: any one story.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / name) for name in ("tools", "shared", "host")]

from demo_broker import Broker, free_port  # noqa: F401 (free_port is for the stories)
from demo_fleet import Child, start_agent, start_cloud
from demo_ledgers import cloud_ledger, compare
from streamline_edge.control_client import ControlClient

WAIT_SECS = 20.0
LINES_SHOWN = 8
PROGRAMS = {"streamline-cli": "streamline_edge.cli", "streamline-cloud": "streamline_cloud"}
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([str(ROOT / "shared"), str(ROOT / "host")]), "PYTHONUNBUFFERED": "1"}
SOON = {"SYNC__RETRY__INITIAL_MS": "100", "SYNC__RETRY__MAX_MS": "500"}  # a story has no minute to wait for the next try


class Story:
    """Use it with `with`. It has the cloud up, unless `link` says otherwise; `code` is the exit code of the whole."""

    def __init__(self, title: str, script: str, link: bool = True) -> None:
        self.example = Path(script).resolve().parent
        self._temporary = tempfile.TemporaryDirectory(prefix="streamline-example-")
        self.folder = Path(self._temporary.name)
        self.store = self.folder / "cloud.db"
        self.broker = Broker(self.folder)
        self.edges: list[Edge] = []
        self.code = 0
        self._cloud: Child | None = None
        self._link = link
        print(title, flush=True)

    def __enter__(self) -> "Story":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and so everything is ended
        if self._link:
            self.connect()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for edge in self.edges:
            edge.stop()
        self.cut(quietly=True)
        self._temporary.cleanup()
        if kind is None:
            print("\n%s" % ("not so: see above" if self.code else "all as it should be"))

    # The world

    def edge(self, replace: dict[str, str] | None = None, **environment: str) -> "Edge":
        """An agent from edge.yaml. replace: in a copy of it. environment: BROKER_LISTEN="…" is the key broker_listen."""
        text = (self.example / "edge.yaml").read_text()
        for old, new in (replace or {}).items():
            if old not in text:
                raise ValueError("edge.yaml has no %r" % old)
            text = text.replace(old, new)
        edge = Edge(self, text, environment)
        self.edges.append(edge)
        return edge

    def connect(self) -> None:
        """There is a broker, and a cloud behind it."""
        self.broker.start()
        self._cloud = start_cloud(self.folder, self.store, self.broker.url)

    def cut(self, quietly: bool = False) -> None:
        """There is neither, as far as anybody can see."""
        if not quietly:
            self.tell("The link is gone.")
        self.broker.stop()
        if self._cloud is not None:
            self._cloud.end()

    # The telling

    def tell(self, text: str) -> None:
        print("\n%s" % text, flush=True)

    def check(self, claim: str, truth: bool) -> None:
        print("  %s: %s" % ("so it is" if truth else "NOT SO", claim), flush=True)
        if not truth:
            self.code = 1

    def until(self, claim: str, done: Callable[[], bool], secs: float = WAIT_SECS) -> None:
        """Wait for it; it is a check, too."""
        began = time.monotonic()
        while not (truth := done()) and time.monotonic() - began < secs:
            time.sleep(0.05)
        self.check("%s (after %.1f s)" % (claim, time.monotonic() - began), truth)

    def cloud(self, line: str, quietly: bool = False, stdin: str = "") -> str:
        """`streamline-cloud` with these words. Returns what it printed."""
        return run("streamline-cloud", line, ["--store", "sqlite:///%s" % self.store], quietly, stdin)

    def arrived(self, topic: str) -> list[str]:
        """The values in the cloud, as they came."""
        command = [sys.executable, "-m", "streamline_cloud", "read", topic, "--store", "sqlite:///%s" % self.store]
        return subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False).stdout.splitlines()

    def agree(self) -> None:
        """Wait until nothing is owed and every ledger is the same on both sides."""

        def same() -> bool:
            statuses = [edge.status() for edge in self.edges]
            for status in statuses:
                status["streams"] = [row for row in status["streams"] if not row["local"]]
            rest = all(row["pending"] == 0 for status in statuses for row in status["streams"])
            return rest and not compare(statuses, cloud_ledger(self.store))

        self.until("nothing is owed, and edge and cloud print the same ledger", same)


class Edge:
    """One agent. It may be stopped and started again, with other variables."""

    def __init__(self, story: Story, text: str, environment: dict[str, str]) -> None:
        found = re.search(r"node_id: *\"?([\w.-]+)", text)
        assert found
        self.node = environment.get("NODE_ID", found[1])
        self.data_dir = story.folder / self.node
        self._story = story
        self._config = story.folder / ("%s.yaml" % self.node)
        self._config.write_text(text)
        self._environment = environment
        self._agent: Child | None = None
        self.followers: list[Follower] = []
        self.start()

    def start(self, **variables: str) -> None:
        """variables: of the process itself, such as TZ."""
        keys = {"CLOUD_ENDPOINT": self._story.broker.url, **SOON, **self._environment}
        environment = {"STREAMLINE_EDGE_" + key: value for key, value in keys.items()}
        self._agent = start_agent(self.node, self._config, self.data_dir, environment | variables)

    def stop(self) -> None:
        for follower in self.followers:
            follower.end()
        if self._agent is not None:
            self._agent.end()

    def cli(self, line: str, quietly: bool = False, stdin: str = "") -> str:
        """`streamline-cli edge` with these words. Returns what it printed."""
        return run("streamline-cli edge", line, ["--data-dir", str(self.data_dir)], quietly, stdin)

    def produce(self, topic: str, records: list[str], producer: str = "", quietly: bool = False) -> str:
        """Each is durable here when this returns. What the command says is on its standard error."""
        line = "produce %s%s" % (topic, " --producer " + producer if producer else "")
        return self.cli(line, quietly, "".join(record + "\n" for record in records))

    def follow(self, line: str) -> "Follower":
        """A command that goes on, such as `consume TOPIC --follow`."""
        print("\n  $ streamline-cli edge %s &" % line, flush=True)
        words = line.split()
        command = [sys.executable, "-m", PROGRAMS["streamline-cli"], "edge", words[0], "--data-dir", str(self.data_dir), *words[1:]]
        follower = Follower(command)
        self.followers.append(follower)
        return follower

    def ask(self, op: str, **fields: Any) -> Any:
        client = ControlClient(str(self.data_dir))
        try:
            return client.request(op, **fields)
        finally:
            client.close()

    def status(self) -> dict[str, Any]:
        return dict(self.ask("status")["status"])

    def connected(self) -> bool:
        status = self.status()
        return bool(status["link"]["connected"]) and status["hub"] is not None

    def row(self, topic: str) -> dict[str, Any]:
        """The ledger of a topic with one partition."""
        return next(row for row in self.ask("ledger")["ledger"] if row["topic"] == topic)


class Follower:
    """A command whose lines are gathered as they come."""

    def __init__(self, command: list[str]) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            command, env=os.environ | ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(10)


def run(program: str, line: str, where: list[str], quietly: bool, stdin: str) -> str:
    """Run it to its end, and show it as it is typed. Raises RuntimeError where it fails."""
    name, *group = program.split()
    words = shlex.split(line)
    command = [sys.executable, "-m", PROGRAMS[name], *group, words[0], *where, *words[1:]]
    if not quietly:
        print("\n  $ %s%s %s" % ("… | " if stdin else "", program, line), flush=True)
    done = subprocess.run(
        command, env=os.environ | ENVIRONMENT, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    if done.returncode > 1:
        raise RuntimeError("%s %s: %s" % (program, line, done.stdout))
    if not quietly:
        lines = done.stdout.splitlines()
        for text in lines[:LINES_SHOWN]:
            print("    " + text)
        if len(lines) > LINES_SHOWN:
            print("    … and %d more" % (len(lines) - LINES_SHOWN))
    return done.stdout
