"""What is produced at the cloud: through the control socket of a bridge, or straight into its store; 0 means committed."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import streamline_cloud.control_server as control_server
import streamline_cloud.control_wire as control_wire
import streamline_cloud.store_sqlite as store_sqlite
from streamline_cloud.bridge import Bridge
from streamline_cloud.control_client import ControlClient
from streamline_cloud.lone_hub import LoneHub
from streamline_cloud.main import main
from streamline_cloud.store_reader import StoreReader
from streamline_core import hub_writer
from streamline_core.errors import StorageFull, StreamlineError, UsageError
from streamline_core.topic import TopicDefinition
from streamline_host.codecs import codecs

ROOT = Path(__file__).parents[2]
NOWHERE = "mqtt://127.0.0.1:9"  # a broker that is away is a state
DOWN = TopicDefinition("log", "cloud_to_edge")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "shared"), str(ROOT / "host")])}


def cloud(path: Path, command: str, *words: str) -> Sequence[str]:
    return [sys.executable, "-m", "streamline_cloud", command, "--store", "sqlite:///%s" % path, *words]


def run(path: Path, *words: str, given: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run(cloud(path, *words), input=given, capture_output=True, env=environment(), timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def here(capfd: pytest.CaptureFixture[str], path: Path, command: str, *words: str) -> tuple[int, str, str]:
    code = main([command, "--store", "sqlite:///%s" % path, *words])
    return code, *capfd.readouterr()


def values(path: Path, topic: str) -> list[bytes]:
    with StoreReader(path, codecs("zstd")) as reader:
        assert all(row.adds_up for row in reader.ledger())
        return [record.value for _, _, record in reader.read_records(topic)]


@pytest.fixture
def serving(path: Path) -> "Iterator[subprocess.Popen[bytes]]":
    process = serve(path)
    yield process
    process.kill()
    process.wait()


def serve(path: Path) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        cloud(path, "serve", "--broker", NOWHERE), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
    )
    assert process.stdout is not None and b"storing in" in process.stdout.readline()
    process.stdout.close()
    return process


def test_without_a_bridge(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = here(capfd, path, "produce", "promo", "x")
    assert code == 2 and "no such file" in err and not path.exists()
    assert here(capfd, path, "define", "promo", "--direction", "cloud_to_edge")[0] == 0
    assert here(capfd, path, "define", "promo", "--direction", "cloud_to_edge")[0] == 0
    code, _, err = here(capfd, path, "define", "promo", "--direction", "bidirectional")
    assert code == 2 and "direction" in err
    assert here(capfd, path, "define", "state", "--kind", "keyed", "--direction", "bidirectional", "--partitions", "4")[0] == 0
    code, out, _ = here(capfd, path, "produce", "promo", "20 percent off")
    assert (code, out) == (0, "committed: 1 in promo-0, cloud offset 0\n")
    code, out, _ = here(capfd, path, "produce", "state", "22", "--key", "heating", "--json")
    part = json.loads(out)["partitions"][0]
    assert code == 0 and (part["records"], part["first"], part["last"]) == (1, 0, 0)
    assert here(capfd, path, "get", "state", "heating")[1] == "22\n"
    assert here(capfd, path, "produce", "state", "23", "--key", "heating")[0] == 0
    assert here(capfd, path, "get", "state", "heating")[1] == "23\n" and here(capfd, path, "conflicts", "--json")[1] == "[]\n"
    assert here(capfd, path, "delete", "state", "heating")[0] == 0 and here(capfd, path, "get", "state", "heating")[0] == 1
    assert values(path, "promo") == [b"20 percent off"]


def test_a_value_may_stand_on_either_side_of_the_options(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert here(capfd, path, "define", "table", "--kind", "keyed", "--direction", "bidirectional")[0] == 0
    for i, words in enumerate((("table", "--key", "k", "one"), ("table", "two", "--key", "k"), ("--key", "k", "table", "three"))):
        assert here(capfd, path, "produce", *words)[0] == 0
        assert here(capfd, path, "get", "table", "k")[1].strip() == ("one", "two", "three")[i]
    with pytest.raises(SystemExit):
        here(capfd, path, "produce", "table", "--key", "k", "one", "two")


def test_mistakes_are_named(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for topic, kind, direction in (("promo", "log", "cloud_to_edge"), ("up", "log", "edge_to_cloud"), ("state", "keyed", "bidirectional")):
        assert here(capfd, path, "define", topic, "--kind", kind, "--direction", direction)[0] == 0
    down = ["--direction", "cloud_to_edge"]
    for words, says in (
        (["define", "x"], "required: --direction"),
        (["produce", "nope", "x"], "`streamline-cloud define nope"),
        (["produce", "up", "x"], "flows from edges to the cloud only"),
        (["produce", "state", "x"], "needs a key"),
        (["produce", "promo", "x" * 70000], "too large"),
        (["delete", "promo", "k"], "nothing can be deleted from it"),
        (["delete", "state", ""], "1 to 1024 bytes"),
        (["define", "a/b", *down], "may hold letters"),
        (["define", "x", "--partitions", "0", *down], "partitions must be 1 to 1024"),
        (["define", "x", "--strategy", "keep_both", *down], "of --kind keyed"),
        (["define", "x", "--kind", "keyed", "--strategy", "custom_merge", *down], "go together"),
        (["define", "x", "--kind", "keyed", "--merge", "python:none.py", *down], "cannot be read"),
    ):
        try:
            code, out, err = here(capfd, path, *words)
        except SystemExit as error:  # argparse
            code, (out, err) = error.code, capfd.readouterr()
        assert (code, out) == (2, "") and says in err, (words, err)


def test_a_merge_module_is_part_of_the_definition(path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    module = tmp_path / "m.py"
    module.write_text("def merge(key, earlier, later):\n    return later\n")
    words = ["define", "state", "--kind", "keyed", "--direction", "bidirectional", "--merge", "python:%s" % module]
    assert here(capfd, path, *words)[0] == 0
    row = json.loads(here(capfd, path, "topics", "--json")[1])[0]
    assert row["strategy"] == "custom_merge" and len(row["merge_hash"]) == 16
    module.write_text("def merge(key, earlier, later):\n    return earlier\n")
    code, _, err = here(capfd, path, *words)
    assert code == 2 and "merge module" in err


def test_lines_of_standard_input(path: Path) -> None:
    assert run(path, "define", "promo", "--direction", "cloud_to_edge")[0] == 0
    lines = [b"%d" % n for n in range(3000)]
    code, out, err = run(path, "produce", "promo", given=b"\n".join(lines))
    assert (code, out, err) == (0, "committed: 3000 in promo-0, cloud offsets 0 to 2999\n", "")
    assert run(path, "produce", "promo", given=b"")[:2] == (0, "committed: nothing was given\n")
    code, _, err = run(path, "produce", "promo", given=b"good\n" + b"x" * 70000 + b"\nnever\n")
    assert code == 2 and "too large" in err and "; 1 records were committed" in err
    assert values(path, "promo") == [*lines, b"good"]


def test_through_the_bridge(path: Path, serving: "subprocess.Popen[bytes]") -> None:
    sock = Path(str(path) + ".sock")
    assert oct(sock.stat().st_mode & 0o777) == "0o600"
    code, _, err = run(path, "produce", "promo", "x")
    assert code == 2 and "streamline-cloud define promo" in err and err.count("\n") == 1
    assert run(path, "define", "promo", "--direction", "cloud_to_edge")[0] == 0
    assert run(path, "define", "state", "--kind", "keyed", "--direction", "bidirectional")[0] == 0
    assert run(path, "define", "state", "--kind", "keyed", "--direction", "cloud_to_edge")[0] == 2
    lines = [b"%d" % n for n in range(3000)]
    assert run(path, "produce", "promo", given=b"\n".join(lines))[:2] == (0, "committed: 3000 in promo-0, cloud offsets 0 to 2999\n")
    assert run(path, "produce", "state", "é\n", "--key", "k")[0] == 0
    assert run(path, "get", "state", "k")[1] == "é\n\n"
    assert run(path, "delete", "state", "k")[0] == 0 and run(path, "get", "state", "k")[0] == 1
    assert values(path, "promo") == lines
    serving.kill()
    serving.wait()
    assert sock.exists()  # a dead one's
    assert run(path, "produce", "promo", "alone")[0] == 0
    again = serve(path)
    assert run(path, "produce", "promo", "served")[0] == 0
    again.send_signal(signal.SIGTERM)
    assert again.wait(20) == 0 and not sock.exists()
    assert values(path, "promo") == [*lines, b"alone", b"served"]


def test_several_commands_at_once_take_turns(path: Path) -> None:
    assert run(path, "define", "promo", "--direction", "cloud_to_edge")[0] == 0
    many = [subprocess.Popen(cloud(path, "produce", "promo", "%d" % n), stdout=subprocess.DEVNULL, env=environment()) for n in range(4)]
    assert [process.wait(60) for process in many] == [0, 0, 0, 0]
    assert sorted(values(path, "promo")) == [b"0", b"1", b"2", b"3"]


def test_a_full_disk_is_no_success(path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert here(capfd, path, "define", "promo", "--direction", "cloud_to_edge")[0] == 0
    open_ = store_sqlite.open_for_writing

    def small(path: Path) -> Any:
        db = open_(path)
        db.execute("PRAGMA max_page_count = %d" % db.execute("PRAGMA page_count").fetchone()[0])
        return db

    monkeypatch.setattr(store_sqlite, "open_for_writing", small)
    code, out, err = here(capfd, path, "produce", "promo", "x" * 60000)
    assert (code, out) == (1, "") and "no room left on its disk" in err


def test_a_path_too_long_for_a_socket(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ("x" * 100) / "s.db"
    path.parent.mkdir()
    with pytest.raises(UsageError, match="107 are allowed"):
        Bridge(NOWHERE, path)
    assert here(capfd, path, "define", "promo", "--direction", "cloud_to_edge")[0] == 0  # no bridge can run there; the store is free
    assert here(capfd, path, "produce", "promo", "x")[0] == 0


def ask(sock: str, *lines: bytes) -> list[Any]:
    """All that a connection answers to these lines."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(sock)
        try:
            connection.sendall(b"".join(lines))
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was refused before; why, is still to be read
        received = b""
        while data := connection.recv(65536):
            received += data
    return [json.loads(line) for line in received.splitlines()]


def test_a_broken_message_ends_its_connection_and_nothing_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_wire, "LINE_BYTES_MAX", 4096)
    monkeypatch.setattr(control_server, "CONNECTIONS_MAX", 3)
    good = b'{"id": 7, "op": "produce", "topic": "promo", "value": "v", "headers": {"h": "x"}, "timestamp": 5}\n'

    async def work() -> None:
        bridge = Bridge(NOWHERE, path)
        await bridge.start()
        await bridge.define("promo")
        sock = str(path) + ".sock"
        for line in (b"nonsense\n", b"[1]\n", b"\xff\n", b"[" * 3000 + b"\n", b"x" * 9999 + b"\n", b"x" * 9999):
            rows = await asyncio.to_thread(ask, sock, line, good)
            assert [row["kind"] for row in rows] == ["protocol"], line[:9]
        for message in (
            {"op": "nonsense"},
            {},
            {"op": "produce", "topic": 5, "value": "x"},
            {"op": "produce", "topic": "promo"},
            {"op": "produce", "topic": "promo", "value": {"base64": "?"}},
            {"op": "produce", "topic": "promo", "value": {"base64": 5}},
            {"op": "produce", "topic": "promo", "value": "\ud800"},
            {"op": "produce", "topic": "promo", "value": "x", "headers": [1]},
            {"op": "produce", "topic": "promo", "value": "x", "timestamp": True},
            {"op": "produce", "topic": "promo", "value": "x", "timestamp": 1 << 50},
            {"op": "delete", "topic": "promo"},
            {"op": "define", "topic": "t", "partitions": "1"},
            {"op": "define", "topic": "t", "partitions": 1, "merge_hash": "zz"},
            {"op": "define", "topic": "t", "partitions": 1, "merge_hash": "", "kind": "x", "direction": "y", "strategy": "z"},
        ):
            rows = await asyncio.to_thread(ask, sock, json.dumps({"id": 1, **message}).encode() + b"\n", good)
            assert [row.get("kind") for row in rows] == ["usage", None] and rows[1]["id"] == 7, (message, rows)
        idle = [ControlClient(path) for _ in range(3)]
        for client in idle:
            await client.open()
        await asyncio.sleep(0.05)
        assert [row["kind"] for row in await asyncio.to_thread(ask, sock, b"")] == ["full"]
        future = await idle[0].accept("promo", b"\xff", headers=[("h", b"\xfe")])
        assert (await future).cloud_offset == 14
        await bridge.stop()
        with pytest.raises(StreamlineError, match="went away"):
            await (await idle[0].accept("promo", b"late"))
        for client in idle:
            await client.close()

    asyncio.run(work())
    with StoreReader(path, codecs("zstd")) as reader:
        records = [record for _, _, record in reader.read_records("promo")]
    assert len(records) == 15 and records[0].headers == (("h", b"x"),) and records[0].timestamp_ms == 5
    assert (records[14].value, records[14].headers) == (b"\xff", (("h", b"\xfe"),))


def test_the_python_api_of_a_bridge(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_writer, "WAITING_MAX", 5)  # whoever produces waits for room

    async def work() -> None:
        bridge = Bridge(NOWHERE, path)
        await bridge.start()
        bridge.define("promo")
        bridge.define("state", "keyed", "bidirectional", strategy="keep_both")
        produced = await asyncio.gather(*[bridge.produce("promo", "n%d" % n, headers=[("h", b"x")]) for n in range(50)])
        assert sorted(row.cloud_offset for row in produced) == list(range(50))
        assert bridge.get("state", "k") is None
        await bridge.produce("state", "one", "k")
        assert bridge.get("state", b"k") == b"one"
        await asyncio.gather(*[bridge.produce("state", "%d" % n, "k") for n in range(20)])
        assert len(bridge.resolve("state", "k").versions) == 1 and bridge.get("state", "k") in {b"%d" % n for n in range(20)}
        await bridge.delete("state", "k")
        assert bridge.get("state", "k") is None
        for wrong in (bridge.produce("nope", "x"), bridge.produce("state", "x"), bridge.delete("promo", "k")):
            with pytest.raises(UsageError):
                await wrong
        for topic in ("promo", "nope"):
            with pytest.raises(UsageError):
                bridge.get(topic, "k")
        with pytest.raises(UsageError, match="strategy"):
            bridge.define("state", "keyed", "bidirectional")
        last = asyncio.create_task(bridge.produce("promo", "last"))
        await asyncio.sleep(0)
        await bridge.stop()
        assert (await last).cloud_offset == 50  # what was accepted is committed before it ends
        with pytest.raises(StreamlineError, match="stops"):
            await bridge.produce("promo", "late")

    asyncio.run(work())
    assert len(values(path, "promo")) == 51


def test_what_can_never_be_committed_is_told(path: Path) -> None:
    async def work() -> None:
        async with LoneHub(path) as publisher:
            await publisher.define("promo", DOWN)
            await publisher.produce("promo", b"good")
        lone = LoneHub(path)
        async with lone as publisher:
            future = await publisher.accept("promo", b"x")
            lone._store._writer.apply = _refuse  # type: ignore[method-assign]
            with pytest.raises(UsageError, match="contradicts"):
                await future
            with pytest.raises(UsageError):
                await publisher.produce("promo", b"y")
        full = LoneHub(path)
        async with full as publisher:
            full._store._writer.apply = _no_room  # type: ignore[method-assign]
            with pytest.raises(StorageFull):
                await publisher.define("more", DOWN)

    asyncio.run(work())
    assert values(path, "promo") == [b"good"]


def _refuse(ops: object) -> None:
    raise UsageError("it contradicts")


def _no_room(ops: object) -> None:
    raise StorageFull("no room")
