"""What the deployment guide says one can type works as it stands there, below another root; and what it says happens then, happens."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "host"))
from agent_process import ENVIRONMENT, START_SECS
from streamline_edge import config_file

TEXT = (ROOT / "docs" / "DEPLOYMENT.md").read_text()
BIN = Path(sys.executable).parent
DATA, CONFIG = "var/lib/streamline", "etc/streamline/edge.yaml"


def section(title: str) -> str:
    return TEXT.split("## " + title)[1].split("\n## ")[0]


def scripts(title: str) -> list[str]:
    """Its blocks of shell, in lists, too."""
    return [re.sub(r"^ +", "", block, flags=re.M) for block in re.findall(r"```sh\n(.*?)```", section(title), re.S)]


class Cloud:
    def __init__(self, root: Path, port: int) -> None:
        self.file = root / "var/lib/streamline-cloud/cloud.db"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["serve", "--listen", "127.0.0.1:%d" % self.port]
        self.process = subprocess.Popen(self.command(*words), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None and b"storing in" in self.process.stdout.readline()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "streamline_cloud", *words, "--store", "sqlite:///%s" % self.file]

    def ask(self, *words: str) -> str:
        return subprocess.run(self.command(*words), env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=60).stdout

    def streams(self, topic: str) -> list[dict[str, object]]:
        return [row for row in json.loads(self.ask("ledger", "pi-7", "--json")) if row["topic"] == topic]


class Device:
    """A root folder with what the install script makes of the Pi's profile, and a service manager that a test can do without."""

    def __init__(self, root: Path, port: int, more: str = "") -> None:
        self.root = root
        self.process: subprocess.Popen[bytes] | None = None
        self.log = root / "log"
        for folder in ("opt/streamline-edge/current", "etc/streamline", "root", "bin"):
            (root / folder).mkdir(parents=True)
        (root / "opt/streamline-edge/current/bin").symlink_to(BIN)
        text = (ROOT / "boards/raspberry_pi_zero/edge.yaml").read_text().replace("pi-zero", "pi-7").replace("/var/lib", "%s/var/lib" % root)
        text = text.replace("mqtts://broker.example.com", "mqtt://127.0.0.1:%d" % port).replace("/etc/", "%s/etc/" % root)
        text = text.replace("retry: {max_ms: 5m}", "retry: {initial_ms: 50, max_ms: 300}" + more)
        topic = "- topic: sensors"
        assert topic in text
        keyed = "\n    - {topic: settings, kind: keyed, direction: bidirectional}\n    - {topic: promo, direction: cloud_to_edge}"
        (root / CONFIG).write_text(text.replace(topic, topic + keyed))
        (root / "etc/streamline/password").write_text("secret\n")

    def start(self) -> None:
        command = [sys.executable, "-m", "streamline_edge", "--config", str(self.root / CONFIG)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=ENVIRONMENT, stderr=log, stdout=log)
        until(lambda: self.cli("status").returncode == 0, START_SECS)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(START_SECS) == 0
            self.process = None

    def cli(self, *words: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-m", "streamline_edge.cli", "edge", *words, "--config", str(self.root / CONFIG)]
        return subprocess.run(command, env=ENVIRONMENT, input=given, capture_output=True, timeout=60, check=False)

    def produce(self, tag: str, count: int, producer: str = "p") -> None:
        lines = b"".join(b"%s-%d\n" % (tag.encode(), i) for i in range(count))
        assert self.cli("produce", "sensors", "--producer", producer + tag, given=lines).returncode == 0

    def pending(self) -> int:
        return int(json.loads(self.cli("queue", "--json").stdout)["depth"])

    def type(self, script: str) -> str:
        """Below this root; who the service's user is and what systemd does is the test's."""
        printed = ""
        for line in script.strip().splitlines():
            if re.fullmatch(r"systemctl (stop|disable --now) streamline-edge", line):
                self.stop()
            elif line == "systemctl start streamline-edge":
                self.start()
            elif not line.startswith("chown "):
                line = re.sub(r"(?<![\w/])/(?=(opt|etc|var|root)/)", "%s/" % self.root, line).replace("sqlite:////", "sqlite:///")
                line = line.replace("tar -C / ", "tar -C %s " % self.root)
                path = {"PATH": "%s:%s" % (BIN, os.environ["PATH"])}
                done = subprocess.run(
                    ["sh", "-ec", line], cwd=self.root, env={**ENVIRONMENT, **path}, capture_output=True, text=True, timeout=60, check=False
                )
                assert done.returncode == 0, (line, done.stderr)
                printed += done.stdout
        return printed


def until(condition: Callable[[], object], secs: float = 90) -> None:
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, "waited %d s in vain" % secs
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _needs_a_broker() -> None:
    pytest.importorskip("amqtt", reason="the cloud's own broker is amqtt")


@pytest.fixture
def folder() -> Iterator[Path]:
    """tmp_path is too long a name for the socket of a cloud below it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def cloud(folder: Path, free_port: Callable[[], int]) -> Iterator[Cloud]:
    it = Cloud(folder / "cloud", free_port())
    it.start()
    yield it
    it.stop()


@pytest.fixture
def new_device(folder: Path, cloud: Cloud) -> Iterator[Callable[..., Device]]:
    made: list[Device] = []

    def make(more: str = "") -> Device:
        made.append(Device(folder / ("device%d" % len(made)), cloud.port, more))
        return made[-1]

    yield make
    for device in made:
        if device.process is not None:
            device.process.kill()
            device.process.wait()


def records(cloud: Cloud) -> list[str]:
    return cloud.ask("read", "sensors").split()


def test_what_install_says_to_look_at(new_device: Callable[..., Device]) -> None:
    device = new_device()
    device.start()
    assert "well: node pi-7" in device.type(scripts("Install")[0]) and not scripts("Install")[1:]


def test_backup_and_restore(new_device: Callable[..., Device], cloud: Cloud) -> None:
    backup, restore, of_the_cloud = scripts("Backup and restore")
    device = new_device()
    device.start()
    device.produce("before", 100)
    assert device.cli("set", "settings", "a", "1").returncode == 0
    device.type(backup)
    device.produce("delivered", 50)
    assert device.cli("set", "settings", "b", "2").returncode == 0
    until(lambda: device.pending() == 0)
    cloud.ask("produce", "promo", "twenty")
    cloud.stop()
    device.produce("unknown", 20)
    device.type(restore)
    cloud.start()
    device.produce("after", 10)
    device.produce("before", 100)  # a producer repeats itself: the copy knows it
    until(lambda: device.pending() == 0 and len(cloud.streams("sensors")) == 2)
    until(lambda: len(records(cloud)) == 160)
    wanted = ["%s-%d" % (tag, i) for tag, count in (("before", 100), ("delivered", 50), ("after", 10)) for i in range(count)]
    assert records(cloud) == wanted
    for ledger in (
        cloud.streams("sensors"),
        [row for row in json.loads(device.cli("ledger", "--json").stdout) if row["topic"] == "sensors"],
    ):
        assert sorted((row["produced"], row["delivered"]) for row in ledger) == [(10, 10), (150, 150)], ledger
    until(lambda: device.cli("get", "settings", "b").stdout == b"2\n")
    until(lambda: device.cli("consume", "promo").stdout == b"twenty\n")

    # The cloud's store, the same way.
    if shutil.which("sqlite3") is None:
        return
    device.root, there = cloud.file.parents[3], device.root
    (device.root / "root").mkdir()
    device.type(of_the_cloud)
    device.root = there
    device.produce("later", 30)
    until(lambda: device.pending() == 0)
    cloud.stop()
    shutil.copy(cloud.file.parents[3] / "root/cloud-backup.db", cloud.file)
    for name in ("-wal", "-shm"):
        Path(str(cloud.file) + name).unlink(missing_ok=True)
    assert records(cloud) == wanted
    cloud.start()
    until(lambda: records(cloud) == wanted + ["later-%d" % i for i in range(30)])


def test_moving_to_other_hardware(new_device: Callable[..., Device], cloud: Cloud) -> None:
    pack, unpack = scripts("Move a node")
    old, new = new_device(), new_device()
    old.start()
    old.produce("old", 100)
    until(lambda: old.pending() == 0)
    cloud.stop()
    old.produce("owed", 20)
    old.type(pack)
    shutil.rmtree(new.root / "etc/streamline")
    shutil.copy(old.root / "root/streamline-node.tar.gz", new.root / "root")
    new.type(unpack)
    config = new.root / CONFIG
    config.write_text(config.read_text().replace(str(old.root), str(new.root)))  # of this test; a device's root is /
    cloud.start()
    new.start()
    new.produce("new", 10)
    until(lambda: len(records(cloud)) == 130)
    (stream,) = cloud.streams("sensors")
    assert (stream["produced"], stream["delivered"]) == (130, 130), "it goes on where it ended"

    # The old one was not to run again; it does.
    new.stop()
    old.start()
    old.produce("ghost", 3)
    until(lambda: len(records(cloud)) == 133)
    assert sorted(row["delivered"] for row in cloud.streams("sensors")) == [3, 130]


def test_a_broken_card(new_device: Callable[..., Device], cloud: Cloud) -> None:
    device = new_device("\n    bandwidth_limit: 4KB\n    compression: none")
    text = (device.root / CONFIG).read_text()
    (device.root / CONFIG).write_text(text.replace("    compression: deflate          # a third of zstd's memory\n", ""))
    config_file.load(device.root / CONFIG)
    device.start()
    assert device.cli("set", "settings", "a", "1").returncode == 0
    until(lambda: device.pending() == 0)
    for _ in range(20):
        device.produce("announced" + "x" * 200, 100, producer="p%d" % _)
    until(lambda: any(row["produced"] == 2000 for row in cloud.streams("sensors")))
    assert device.process is not None
    device.process.kill()
    device.process.wait()
    shutil.rmtree(device.root / DATA)
    device.start()
    device.produce("new", 5)
    until(lambda: len(cloud.streams("sensors")) == 2 and device.pending() == 0)
    until(lambda: device.cli("get", "settings", "a").stdout == b"1\n")
    first, second = sorted(cloud.streams("sensors"), key=lambda row: -int(str(row["produced"])))
    lost = first["lost"]
    assert isinstance(lost, dict) and list(lost) == ["storage"], "said by its cause"
    assert first["produced"] == 2000 == int(str(first["delivered"])) + lost["storage"]
    assert (second["produced"], second["delivered"]) == (5, 5)


def test_retiring(new_device: Callable[..., Device], cloud: Cloud) -> None:
    drain, here, there = scripts("Retire")
    device = new_device("\n    condition: file:/nonexistent/parked")
    device.start()
    device.produce("last", 100)
    time.sleep(0.5)
    assert device.pending() == 100
    assert "0 records wait" in device.type(drain)
    device.type(here)
    device.root, device_root = cloud.file.parents[3], device.root
    (device.root / "root").mkdir()
    device.type(there)
    edge = json.loads((device_root / "root/ledger-edge.json").read_text())
    hub = json.loads((device.root / "root/ledger-cloud.json").read_text())
    device.root = device_root
    known = {(row["topic"], row["epoch"]): (row["produced"], row["delivered"]) for row in hub}
    said = {(row["topic"], row["epoch"]): (row["produced"], row["delivered"]) for row in edge if row["produced"]}
    assert said == {name: row for name, row in known.items() if row[0]} and list(said.values()) == [(100, 100)]


def test_its_links_lead_somewhere_and_its_files_exist() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / "docs" / link).exists(), link
    for path in re.findall(r"`((?:boards|tests|docs)/[\w./-]*)", TEXT):
        assert (ROOT / path).exists(), path
    text = (ROOT / "boards/install.sh").read_text()
    for option in re.findall(r"boards/install.sh[^\n`]*?(--[a-z-]+)", TEXT):
        assert option + ")" in text or option + " |" in text, option
