"""The terminal captures of docs/GUIDE.md: what its commands print, from a fleet that really runs.

Rule: nothing in a marked block is written by hand. `<!-- capture SCENE: COMMAND -->` before a fenced block says which command fills it,
and when: scenes are played in order, on the configuration that the guide itself gives; the first types what its third step says. Ports are
shown as the guide's; else a block is what the command printed. --check runs everything and compares what does not change between runs:
first lines and column heads.

Usage: python tools/captures.py [--check]
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from demo_broker import Broker
from demo_fleet import Child, start_agent, start_cloud
from records import generate
from streamline_edge.control_client import ControlClient

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "GUIDE.md"
BLOCK = re.compile(r"<!-- capture (\w+): (.+?) -->\n```\n(.*?)```\n", re.S)
CONFIG = re.compile(r"```yaml\n(edge:.*?)```", re.S)
STEP_3 = re.compile(r"^\*\*3\. .*?```sh\n(.*?)```", re.S | re.M)  # what the reader has typed before the first capture
SHOWN_PORT = 1883  # in the guide
HEADS = ("topic", "TOPIC", "node", "NODE", "resource", "name", "key")  # how the heads of tables begin
MODULES = {"streamline-cli": "streamline_edge.cli", "streamline-cloud": "streamline_cloud"}
WAIT_SECS = 20.0
FILL_RECORDS = 45_000  # readings that are more than the guide's cap


class Capture(NamedTuple):
    scene: str
    command: str
    text: str


class Fleet:
    """A broker, the cloud, and the guide's edge. records: the lines of the guide that produce the first ones."""

    def __init__(self, folder: Path, config: str, records: str) -> None:
        self.folder = folder
        self.records = records
        self.data_dir = folder / "streamline-data"
        self._broker = Broker(folder)
        self._paths = {"PYTHONPATH": os.pathsep.join([str(ROOT / "shared"), str(ROOT / "host")]), "COLUMNS": "100"}
        self._store = {"STREAMLINE_STORE": "sqlite:///streamline-cloud.db"}
        config = config.replace("127.0.0.1:%d" % SHOWN_PORT, "127.0.0.1:%d" % self._broker.port)
        (folder / "edge.yaml").write_text(config)
        self._cloud: Child | None = None
        self._agent: Child | None = None

    def connect(self) -> None:
        self._broker.start()
        self._cloud = start_cloud(self.folder, self.folder / "streamline-cloud.db", self._broker.url)

    def cut(self) -> None:
        self._broker.stop()
        if self._cloud is not None:
            self._cloud.end()

    def start(self) -> None:
        retry = {"STREAMLINE_EDGE_SYNC__RETRY__INITIAL_MS": "100", "STREAMLINE_EDGE_SYNC__RETRY__MAX_MS": "500"}
        self._agent = start_agent("agent", self.folder / "edge.yaml", self.data_dir, retry)

    def end(self) -> None:
        if self._agent is not None:
            self._agent.end()
        self.cut()

    def produce(self, topic: str, values: list[bytes]) -> None:
        client = ControlClient(str(self.data_dir))
        for at in range(0, len(values), 500):
            part = values[at : at + 500]
            client.ask("produce", b"".join(part), topic=topic, sizes=[len(value) for value in part])
        client.close()

    def run(self, line: str) -> str:
        """What a command prints, with the guide's port. Raises RuntimeError where it fails."""
        program, *words = shlex.split(line)
        done = subprocess.run(
            [sys.executable, "-m", MODULES[program], *words], cwd=self.folder, env=os.environ | self._paths | self._store,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode > 1:
            raise RuntimeError("%s: %s" % (line, done.stdout))
        return done.stdout.replace(":%d" % self._broker.port, ":%d" % SHOWN_PORT).replace(str(self.folder) + "/", "")

    def type(self, line: str) -> None:
        """As the reader of the guide does, in a shell. Raises RuntimeError where it fails."""
        path = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
        done = subprocess.run(
            ["sh", "-c", line], cwd=self.folder, env=os.environ | self._paths | self._store | path,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError("%s: %s" % (line, done.stdout))

    def until(self, done: Callable[[str], bool], line: str) -> None:
        """Wait until what a command prints is so. Raises RuntimeError."""
        deadline = time.monotonic() + WAIT_SECS
        while not done(said := self.run(line)):
            if time.monotonic() > deadline:
                raise RuntimeError("%s still says: %s" % (line, said))
            time.sleep(0.1)

    def drained(self) -> None:
        self.until(lambda said: json.loads(said)["depth"] == 0, "streamline-cli edge queue --json")
        self.until(lambda said: all(not row["unconfirmed"] for row in json.loads(said)), "streamline-cli edge ledger --json")


def first(fleet: Fleet) -> None:
    """The link is up, and all is delivered."""
    fleet.connect()
    fleet.start()
    fleet.until(lambda said: json.loads(said)["hub"] is not None, "streamline-cli edge status --json")
    for line in fleet.records.splitlines():
        if line.startswith("streamline-cloud"):
            fleet.drained()
        fleet.type(line)
    fleet.drained()


def offline(fleet: Fleet) -> None:
    """The link is gone, and records were written until the oldest of the least had to go."""
    fleet.cut()
    fleet.until(lambda said: not json.loads(said)["link"]["connected"], "streamline-cli edge status --json")
    fleet.produce("orders", [b'{"order": %d, "cents": 2490}' % n for n in range(1000, 1500)])
    readings = generate(5000)
    for _ in range(FILL_RECORDS // len(readings)):
        fleet.produce("readings", readings)
    fleet.until(lambda said: "evicted" in said, "streamline-cli edge ledger")


def back(fleet: Fleet) -> None:
    """The link is up again, and the backlog has left."""
    fleet.connect()
    fleet.drained()


def paused(fleet: Fleet) -> None:
    """Somebody has paused sync."""
    fleet.run("streamline-cli edge sync pause")
    fleet.produce("orders", [b'{"order": %d, "cents": 990}' % n for n in range(1500, 1520)])


SCENES = {"first": first, "offline": offline, "back": back, "paused": paused}


def captures(text: str) -> list[Capture]:
    return [Capture(*found) for found in BLOCK.findall(text)]


def play(text: str) -> list[Capture]:
    """Every capture of the guide, with what its command prints now."""
    wanted, made = captures(text), []
    unknown = {it.scene for it in wanted} - set(SCENES)
    if unknown:
        raise RuntimeError("no such scene: %s; there is %s" % (", ".join(unknown), ", ".join(SCENES)))
    config, records = CONFIG.search(text), STEP_3.search(text)
    if config is None or records is None:
        raise RuntimeError("the guide has no configuration, or its step 3 no commands")
    with tempfile.TemporaryDirectory(prefix="streamline-captures-") as folder:
        fleet = Fleet(Path(folder), config[1], records[1])
        try:
            for name, scene in SCENES.items():
                scene(fleet)
                made += [it._replace(text=fleet.run(it.command)) for it in wanted if it.scene == name]
        finally:
            fleet.end()
    return made


def steady(text: str) -> list[list[str]]:
    """What of a capture must not change: its first line and the heads of its tables, without numbers and spaces."""
    lines = text.splitlines()
    kept = [line for at, line in enumerate(lines) if at == 0 or line.split()[:1] and line.split()[0] in HEADS]
    return [re.sub(r"[\d.,]+( [KMG]?B\b| s\b| min\b| h\b)?", "#", line).split() for line in kept]


def differences(text: str, now: list[Capture]) -> list[str]:
    found = []
    for was in captures(text):
        said = next(it.text for it in now if it[:2] == was[:2])
        if steady(was.text) != steady(said):
            found.append("%s (%s):\n  in the guide: %s\n  now: %s" % (was.command, was.scene, steady(was.text), steady(said)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say what differs; 1 if something does")
    arguments = parser.parse_args()
    text = GUIDE.read_text()
    now = play(text)
    if arguments.check:
        for difference in differences(text, now):
            print(difference)
        return 1 if differences(text, now) else 0
    for it in now:
        block = "<!-- capture %s: %s -->\n```\n" % it[:2]
        before, _, rest = text.partition(block)
        text = before + block + it.text + rest[rest.index("```\n") :]
    GUIDE.write_text(text)
    print("%d captures in %s" % (len(now), GUIDE.relative_to(ROOT)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
