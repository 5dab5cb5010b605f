"""What TLS of a MicroPython node promises, whatever binary it is in: against a real mosquitto. A helper of tests, no test."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from board_process import serve, until
from certificates import Authority, listener
from free_ports import free_port
from mosquitto import Mosquitto

NAME = "localhost"
NOT_YET = "not connected yet"
Start = Callable[[Path, Path], "subprocess.Popen[bytes]"]  # (configuration, log): a node that writes its status into the log


class Run:
    """One node under a configuration. start: how this binary is run."""

    def __init__(self, folder: Path, start: Start, port: int, ca: Path, **more: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        given = {"node_id": "board", "cloud_endpoint": "mqtts://%s:%d" % (NAME, port), "ca_file": str(ca), "data_dir": str(folder / "data")}
        given.update({"sync_topics": ["load", "memory"], "sync": {"retry": {"initial_ms": 50, "max_ms": 400}}, **more})
        self.log = folder / "log"
        config = folder / "edge.json"
        config.write_text(json.dumps(given))
        self.process = start(config, self.log)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def status(self) -> dict[str, Any]:
        rows = [line for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return json.loads(rows[-1]) if rows else {}

    def delivered(self) -> int:
        return sum(row["delivered"] for row in self.status().get("streams", ()))

    def refusal(self) -> str:
        """Why there is no connection, once the node has said so."""
        until(lambda: self.status().get("why", NOT_YET) != NOT_YET, 15)
        assert self.process.poll() is None, self.log.read_text()
        return str(self.status()["why"])


def broker(folder: Path, certificate: tuple[Path, Path], ca: Path | None = None) -> tuple[Mosquitto, int]:
    """A running broker with a TLS listener beside the plain one: (broker, its TLS port)."""
    port = free_port()
    made = Mosquitto(folder, options=["listener %d 127.0.0.1" % port, *listener(certificate, ca)])
    made.start()
    return made, port


def syncs(folder: Path, start: Start, kind: str) -> None:
    """What was read arrives; the bridge is at the plain listener of the same broker."""
    authority, other = Authority(folder / "ca", kind=kind), Authority(folder / "ca", "Another CA")
    bundle = folder / "bundle.pem"
    bundle.write_text("# whom we believe\n" + other.ca.read_text() + "\nsome words\n" + authority.ca.read_text())
    mosquitto, port = broker(folder, authority.issue(NAME))
    bridge = serve(mosquitto.port, folder / "cloud.db")
    try:
        with Run(folder / "node", start, port, bundle) as run:
            until(lambda: run.delivered() > 3)
    finally:
        bridge.kill()
        bridge.wait()
        mosquitto.kill()


def refuses(folder: Path, start: Start, which: str) -> None:
    """A broker that is not whom it should be: never connected, and why is said."""
    authority = Authority(folder / "ca")
    certificate = {
        "expired": lambda: authority.issue(NAME, (-20, -2)),
        "wrong host": lambda: authority.issue("another.example"),
        "stranger": lambda: Authority(folder / "ca", "Stranger").issue(NAME),
    }[which]()
    words = {"expired": "expired", "wrong host": "Common Name", "stranger": "not correctly signed"}[which]
    mosquitto, port = broker(folder, certificate)
    try:
        with Run(folder / "node", start, port, authority.ca) as run:
            reason = run.refusal()
            assert words in reason and reason.count("TLS: ") == 1, reason
            time.sleep(3)
            sockets = [os.readlink(path) for path in Path("/proc/%d/fd" % run.process.pid).iterdir()]
            assert sum(name.startswith("socket:") for name in sockets) <= 3, "each try leaves a socket behind: %s" % sockets
            assert "connected" not in run.status()["state"]
    finally:
        mosquitto.kill()


def shows_its_certificate(folder: Path, start: Start, kind: str, encoding: str) -> None:
    """A broker that wants one gets the node's own; without one the node stays out."""
    authority = Authority(folder / "ca", kind=kind)
    mosquitto, port = broker(folder, authority.issue(NAME), authority.ca)
    cert, key = authority.issue("board", client=True, encoding=encoding)
    bridge = serve(mosquitto.port, folder / "cloud.db")
    try:
        with Run(folder / "with", start, port, authority.ca, cert_file=str(cert), key_file=str(key)) as run:
            until(lambda: run.delivered() > 0)
        with Run(folder / "without", start, port, authority.ca) as run:
            run.refusal()
            time.sleep(1)
            assert run.delivered() == 0
    finally:
        bridge.kill()
        bridge.wait()
        mosquitto.kill()


def never_waits(folder: Path, start: Start, silent_port: int) -> None:
    """A broker that accepts and then says nothing: records are stored meanwhile, and the processor rests."""
    authority = Authority(folder / "ca")
    with Run(folder / "node", start, silent_port, authority.ca) as run:
        until(lambda: sum(row["produced"] for row in run.status().get("streams", ())) > 10)
        before = _cpu_s(run.process.pid)
        time.sleep(2)
        assert sum(row["produced"] for row in run.status()["streams"]) > 20
        assert _cpu_s(run.process.pid) - before < 1, "it turns without pause"


def _cpu_s(pid: int) -> float:
    """Processor time of a process so far, in seconds."""
    fields = Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
