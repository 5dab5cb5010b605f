"""The control socket of a MicroPython edge, asked by the real command line: it says what an agent on CPython says of the same data."""

import json
import os
import random
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mpy
from board_process import HEAP, ROOT, Board, serve, stored, until
from mosquitto import Mosquitto
from streamline_edge.control_client import AgentError, ControlClient, NoAgent

sys.path.insert(0, str(ROOT / "tests" / "host"))
from agent_process import ENVIRONMENT

LITE_HEAP = "512k"  # what a node on Linux gets, though here its bytecode is in it, too
KEYED_HEAP = "640k"  # keyed topics load more of that
STREAM = ("produced", "delivered", "pending", "lost", "unconfirmed", "topic", "partition", "local", "sealed", "next", "buffered")
KEEPS_BYTES_MAX = 12_000  # of the heap, after all that it loaded is gone: names, and noise of the collector
CHANGING = {"epoch", "stored_bytes", "bytes", "oldest_ms", "time_ms", "link_bytes", "leaves_bytes", "waits_bytes"}

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]

Running = list["subprocess.Popen[bytes]"]


@pytest.fixture
def running() -> Iterator[Running]:
    """Processes to end with the test."""
    processes: Running = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def cli(config: Path, *words: str, stdin: bytes = b"", timeout_s: float = 60) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "streamline_edge.cli", "edge", "--config", str(config), *words]
    return subprocess.run(command, env=ENVIRONMENT, input=stdin, capture_output=True, timeout=timeout_s, cwd="/", check=False)


def told(board: Board, *words: str) -> Any:
    done = cli(board.config, *words, "--json")
    assert done.returncode in (0, 1), done
    return json.loads(done.stdout)


def lite(folder: Path, port: int, **more: Any) -> Board:
    board = Board(folder, port, **more)
    board.heap = LITE_HEAP
    return board


def up(board: Board, running: Running, *words: str) -> "subprocess.Popen[bytes]":
    """A life of a board as a service has it: nothing on its standard input, no lines of status."""
    with board.log.open("ab") as output:
        process = subprocess.Popen(
            board.command(*words), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env=os.environ | {"MICROPYPATH": board.path},
        )  # fmt: skip
    running.append(process)
    until(lambda: process.poll() is not None or cli(board.config, "topics").returncode != 3)
    assert process.poll() is None, board.log.read_text()
    return process


def data_dir(board: Board) -> Path:
    return Path(json.loads(board.config.read_text())["data_dir"])


def lines(count: int, first: int = 0) -> bytes:
    return b"".join([b'{"n":%d,"k":"key %d"}\n' % (n, n % 17) for n in range(first, first + count)])


@pytest.fixture
def both(tmp_path: Path, free_port: Callable[[], int], running: Running) -> Callable[..., tuple[Any, Any]]:
    """Ask a board and an agent with the same configuration, whose broker is away, the same; both answers."""
    port = free_port()
    topics = {"sync_topics": ["logs", {"topic": "split", "partitions": 3}], "consumers": [{"name": "dash", "topic": "here"}]}
    state = {"topic": "state", "kind": "keyed", "unchanged_max_age": "1h"}
    board = lite(tmp_path, port, local_topics=["here", state], **topics)
    board.heap = KEYED_HEAP
    up(board, running)
    (tmp_path / "agent").mkdir()
    config = tmp_path / "agent" / "edge.json"
    given = json.loads(board.config.read_text()) | {"data_dir": "d"}
    config.write_text(json.dumps(given, indent="\t"))
    with (tmp_path / "agent.log").open("wb") as log:
        running.append(subprocess.Popen([sys.executable, "-m", "streamline_edge", "--config", str(config)], env=ENVIRONMENT, stderr=log))
    until(lambda: cli(config, "topics").returncode == 0)

    def ask(*words: str, stdin: bytes = b"") -> tuple[Any, Any]:
        return cli(board.config, *words, stdin=stdin), cli(config, *words, stdin=stdin)

    return ask


def same(asked: tuple[Any, Any], code: int = 0) -> bytes:
    """Both said the same, to the byte. Returns what was printed."""
    board, agent = asked
    assert (board.returncode, board.stdout, board.stderr) == (agent.returncode, agent.stdout, agent.stderr)
    assert board.returncode == code, board
    out: bytes = board.stdout
    return out


def settled(value: Any) -> Any:
    """Without what differs between any two nodes."""
    if isinstance(value, dict):
        return {key: settled(value[key]) for key in value if key not in CHANGING}
    return [settled(item) for item in value] if isinstance(value, list) else value


def alike(asked: tuple[Any, Any], code: int = 0) -> Any:
    """As `same`, of JSON (lines) without what differs between any two nodes. Returns the board's."""
    board, agent = asked
    assert board.returncode == agent.returncode == code, asked
    assert board.stderr == agent.stderr

    def read(text: bytes) -> Any:
        try:
            return settled(json.loads(text))
        except ValueError:
            return [settled(json.loads(line)) for line in text.splitlines()]

    assert read(board.stdout) == read(agent.stdout)
    return read(board.stdout)


def test_records_in_and_out(both: Callable[..., tuple[Any, Any]]) -> None:
    for count in (500, 700):
        same(both("produce", "logs", "--producer", "p", stdin=lines(count)))
    same(both("produce", "split", "--producer", "p", "--key-field", "k", stdin=lines(900)))
    same(both("produce", "here", "--key", "k", stdin=b"\n\nno end \xff\x00\r\nlast \xc3\xbc without end"))
    same(both("produce", "here", stdin=b""))
    assert same(both("consume", "logs")) == lines(700)
    assert same(both("consume", "logs", "--from", "690")) == lines(10, 690)
    for partition in "012":
        assert len(alike(both("consume", "split", "--partition", partition, "--json"))) > 100
    assert alike(both("consume", "here", "--json"))[2]["value_base64"]
    assert same(both("consume", "logs", "--time", "2001-01-01")) == lines(700)
    assert same(both("consume", "logs", "--time", str(int(time.time() * 1000) + 60_000))) == b""
    assert len(same(both("consume", "here", "--consumer", "dash")).splitlines()) == 4
    assert same(both("consume", "here", "--consumer", "dash")) == b""
    (row,) = alike(both("consumers", "--json"))
    assert (row["name"], row["offset"], row["lag"]) == ("dash", 4, 0)
    alike(both("consumers", "forget", "dash", "--json"))
    assert len(same(both("consume", "here", "--consumer", "dash")).splitlines()) == 4
    same(both("produce", "nope", stdin=b"x\n"), 2)
    same(both("produce", "state", stdin=b"x\n"), 2)
    same(both("produce", "split", "--key-field", "no", stdin=lines(3)), 2)
    same(both("consume", "nope"), 2)
    same(both("consume", "logs", "--partition", "7"), 2)
    same(both("consume", "logs", "--feed"), 2)
    same(both("consume", "state", "--consumer", "c"), 2)
    same(both("consumers", "forget", "nobody"), 2)
    same(both("produce", "here", "--ack", "cloud", stdin=b"x\n"), 2)
    same(both("produce", "here", "--ack", "buffered", stdin=b"x\n"))


def test_how_it_is(both: Callable[..., tuple[Any, Any]]) -> None:
    same(both("produce", "logs", stdin=lines(300)))
    same(both("topics"))
    rows = alike(both("ledger", "--json"))
    assert {row["topic"]: row["produced"] for row in rows}["logs"] == 300
    board, agent = both("status", "--json")
    found, wanted = json.loads(board.stdout), json.loads(agent.stdout)
    assert settled(found["streams"]) == settled(wanted["streams"])
    for name in ("node", "state", "hub", "clock", "codec", "feeds", "tables", "storage_failures", "version"):
        assert found[name] == wanted[name], name
    assert set(wanted) - set(found) == {"pid", "serial"}  # a board carries no lines of others
    assert set(found) - set(wanted) == {"interpreter", "heap_bytes", "heap_free_bytes", "heap_peak_bytes", "heap_live_peak_bytes"}
    assert found["link"]["endpoint"] == wanted["link"]["endpoint"] and not found["link"]["connected"] and found["link"]["reason"]
    board, agent = both("status")
    assert board.stdout.splitlines()[1].split() == agent.stdout.splitlines()[1].split()  # the columns, in their order
    assert same(both("health")) == b"healthy\n"
    assert alike(both("queue", "--json"))["depth"] == 300
    plan = alike(both("sync", "plan", "--budget", "1MB", "--json"))
    assert plan["rows"][0]["leaves_records"] == 300
    for action in ("pause", "resume", "now", "status"):
        board, agent = both("sync", action, "--json")
        assert board.returncode == agent.returncode == 0 and json.loads(board.stdout)["pending"] == 300
    board, agent = both("resources", "--json")
    found, wanted = json.loads(board.stdout), json.loads(agent.stdout)
    assert set(found) == set(wanted) and {kind: set(row) for kind, row in found["resources"].items()} == {
        kind: set(row) for kind, row in wanted["resources"].items()
    }
    assert found["resources"]["connections"] == wanted["resources"]["connections"] and found["set"] == []
    board, agent = both("resources")
    assert [line.split()[0] for line in board.stdout.splitlines()[:6]] == [line.split()[0] for line in agent.stdout.splitlines()[:6]]
    board, agent = both("top", "--count", "2", "--interval", "0.2", "--json")
    assert board.returncode == agent.returncode == 0
    for found, wanted in zip(map(json.loads, board.stdout.splitlines()), map(json.loads, agent.stdout.splitlines()), strict=True):
        assert set(found) == set(wanted) and found["health"] == wanted["health"]
    same(both("mesh", "status"))
    same(both("resources", "limit", "--policy", "none"), 2)
    same(both("resources", "limit", "--storage", "1KB"), 2)


def test_keyed_topics(both: Callable[..., tuple[Any, Any]]) -> None:
    same(both("set", "state", "door/1", "open"))
    same(both("set", "state", "door/1", "closed"))
    same(both("set", "state", "door/2", "-", stdin=b"\x00\xff" * 500))
    same(both("set", "state", "gone", "x"))
    same(both("delete", "state", "gone"))
    for n in (3, 20, 1):
        same(both("set", "state", "many/%02d" % n, str(n)))
    assert same(both("get", "state", "door/1")) == b"closed\n"
    assert same(both("get", "state", "door/2")) == b"\x00\xff" * 500 + b"\n"
    assert json.loads(same(both("get", "state", "door/2", "--json")))["value"]["base64"]
    same(both("get", "state", "gone"), 1)
    same(both("get", "state", "never"), 1)
    assert same(both("keys", "state", "--prefix", "door/")) == b"door/1\ndoor/2\n"
    same(both("keys", "state", "--json"))
    same(both("conflicts"))
    same(both("conflicts", "state", "--json"))
    board, agent = both("conflicts", "explain", "state", "door/1", "--json")
    found, wanted = json.loads(board.stdout), json.loads(agent.stdout)
    for row in found["versions"] + wanted["versions"]:
        assert row.pop("time").startswith("20")
        for name in ("version", "epoch", "hlc"):
            del row[name]
        for seen in row["seen"]:
            del seen["epoch"]
    assert found == wanted and found["shown"] == "closed"
    same(both("conflicts", "explain", "state", "never"), 1)
    same(both("set", "logs", "k", "v"), 2)
    same(both("get", "nope", "k"), 2)
    same(both("keys", "logs"), 2)
    same(both("watch", "logs"), 2)
    same(both("set", "state", "k" * 1025, "v"), 2)


def test_changes_are_told_as_they_come(tmp_path: Path, free_port: Callable[[], int], running: Running) -> None:
    board = lite(tmp_path, free_port(), local_topics=["here", {"topic": "state", "kind": "keyed"}])
    board.heap = KEYED_HEAP
    up(board, running)
    start = [sys.executable, "-m", "streamline_edge.cli", "edge", "--config", str(board.config)]
    watch = subprocess.Popen([*start, "watch", "state"], env=ENVIRONMENT, stdout=subprocess.PIPE)
    follow = subprocess.Popen([*start, "consume", "here", "--follow"], env=ENVIRONMENT, stdout=subprocess.PIPE)
    running += [watch, follow]
    assert watch.stdout is not None and follow.stdout is not None
    said = b""
    while not said:  # it tells of changes once it is there
        assert cli(board.config, "set", "state", "door", "%f" % time.monotonic()).returncode == 0
        said = os.read(watch.stdout.fileno(), 4096) if select.select([watch.stdout], [], [], 0.5)[0] else b""
    assert said.startswith(b"door\t")
    assert cli(board.config, "delete", "state", "door").returncode == 0
    while not said.endswith(b"\ndoor\n"):
        assert select.select([watch.stdout], [], [], 10)[0], said
        said += os.read(watch.stdout.fileno(), 4096)
    assert cli(board.config, "produce", "here", stdin=lines(200)).returncode == 0
    got = b""
    while got != lines(200):
        assert select.select([follow.stdout], [], [], 10)[0], got
        got += os.read(follow.stdout.fileno(), 65536)
    for process in (watch, follow):
        process.kill()
        process.wait()
    assert told(board, "status")["tables"][0]["deleted"] == 1


def test_limits_are_set_kept_over_restarts_and_given_back(tmp_path: Path, free_port: Callable[[], int], running: Running) -> None:
    board = lite(tmp_path, free_port(), resources={"max_storage": 8388608, "max_connections": 4})
    process = up(board, running)
    done = cli(board.config, "resources", "limit", "--storage", "2MB", "--policy", "reject", "--cpu", "90%")
    assert done.returncode == 0 and b"2.0 MB" in done.stdout and b"reject" in done.stdout, done
    for words, text in (
        (("--files", "50"), b"max_file_descriptors: a board"),
        (("--storage", "1GB"), b"use at most 134217728"),
        (("--connections", "1"), b"use at least 2"),  # nobody could get in any more
    ):
        done = cli(board.config, "resources", "limit", *words)
        assert done.returncode == 2 and text in done.stderr, done
    done = cli(board.config, "resources", "limit", "--memory", "1KB")
    assert done.returncode == 2 and b"less than this node needs" in done.stderr
    process.kill()
    process.wait()
    process = up(board, running)
    found = told(board, "resources")
    assert found["set"] == ["cpu", "eviction_policy", "storage"] and found["resources"]["storage"]["limit"] == 2 << 20
    assert found["eviction_policy"] == "reject" and found["resources"]["cpu"]["limit"] == 90
    clients = [ControlClient(str(data_dir(board))) for _ in range(3)]
    for client in clients:
        client.request("topics")
    done = cli(board.config, "status")
    assert done.returncode == 1 and b"resources.max_connections: 4 of 4" in done.stderr, done
    for client in clients:
        client.close()
    assert cli(board.config, "resources", "limit", "--reset").returncode == 0
    found = told(board, "resources")
    assert found["set"] == [] and found["resources"]["storage"]["limit"] == 8 << 20 and found["eviction_policy"] == "oldest"
    assert not (data_dir(board) / "limits.json").exists()
    (data_dir(board) / "limits.json").write_text("[]")
    process.kill()
    process.wait()
    done = subprocess.run(board.command(), env={"MICROPYPATH": board.path}, capture_output=True, timeout=100, check=False)
    assert done.returncode == 2 and b"limits.json: this is no list of limits" in done.stderr, done


def test_the_socket_is_private_and_goes_with_the_node(tmp_path: Path, free_port: Callable[[], int], running: Running) -> None:
    board = lite(tmp_path, free_port(), data_dir="a dir's/data")
    path = tmp_path / "a dir's" / "data" / "control.sock"
    process = up(board, running)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_ISSOCK(path.stat().st_mode)
    second = subprocess.run(board.command(), env={"MICROPYPATH": board.path}, capture_output=True, timeout=100, check=False)
    assert second.returncode == 2 and path.exists()
    assert cli(board.config, "produce", "logs", stdin=lines(10)).returncode == 0
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0 and not path.exists()
    done = cli(board.config, "status")
    assert done.returncode == 3 and b"no agent answers in %s" % os.fsencode(path.parent) in done.stderr
    process = up(board, running)
    process.kill()
    process.wait()
    assert path.exists() and cli(board.config, "status").returncode == 3
    up(board, running)
    assert told(board, "ledger")[0]["produced"] == 10
    deep = Board(tmp_path, free_port(), data_dir="x" * 120)
    done = subprocess.run(deep.command(), env={"MICROPYPATH": board.path}, capture_output=True, timeout=100, check=False)
    assert done.returncode == 2 and b"107 are allowed; choose a shorter data directory" in done.stderr, done


def test_a_call_is_told_by_the_name_it_was_called_by(tmp_path: Path, free_port: Callable[[], int]) -> None:
    board = lite(tmp_path, free_port())
    program = mpy.find_micropython()
    assert program is not None
    call = "import sys; from streamline_board.main import main; sys.exit(main(sys.argv[1:], 'streamline-edge-lite'))"
    (tmp_path / "call.py").write_text(call)
    for words, code, text in (
        (["--version"], 0, "streamline-edge-lite 0."),
        (["--help"], 0, "usage: streamline-edge-lite --config FILE"),
        (["--odd"], 2, "streamline-edge-lite: --odd is not understood"),
        (["--config"], 2, "streamline-edge-lite: --config needs a value"),
        ([], 2, "streamline-edge-lite: --config FILE"),
    ):
        command = [program, str(tmp_path / "call.py"), *words]
        done = subprocess.run(command, env={"MICROPYPATH": board.path}, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == code and (done.stdout + done.stderr).startswith(text), done
        assert ("--repl" in done.stdout and "--heap" in done.stdout) == (words == ["--help"])
    command = [program, "-m", "streamline_board", "--help"]
    plain = subprocess.run(command, env={"MICROPYPATH": board.path}, capture_output=True, text=True, timeout=100, check=True).stdout
    assert "--status" in plain and "--repl" not in plain and "%" not in plain  # its launcher's, which is not there


def hostile(generator: random.Random, n: int) -> bytes:
    """Bytes that somebody may send who means no good, or another protocol."""
    junk = generator.randbytes(generator.randrange(1, 600))
    header = generator.choice([
        b"{}", b"[]", b"null", b"{", b'{"op":', b"[" * 900, b'{"a":' * 300, b"\xff\xfe", b'{"op": 5}', b'{"op": "produce"}',
        b'{"op": "status"}',
        b'{"op": "produce", "topic": "logs", "sizes": [-1]}', b'{"op": "produce", "topic": "logs", "sizes": [99999999]}',
        b'{"op": "produce", "topic": "logs", "sizes": [1, 2, true]}', b'{"op": "produce", "topic": 1, "sizes": []}',
        b'{"op": "produce", "topic": "logs", "sizes": [1], "key_sizes": [1, 1]}', b'{"op": "consume", "topic": "logs", "from": -5}',
        b'{"op": "consume", "topic": "logs", "from": 1e300}', b'{"op": "commit", "consumer": "", "topic": "logs", "epoch": 1}',
        b'{"op": "limit", "memory": "x"}', b'{"op": "plan", "budget": 9223372036854775808}', b'{"op": "forget", "consumer": null}',
        b'{"op": "\\ud800"}', b'{"id": {"a": [1]}, "op": "health"}', b'{"op": "consume", "topic": "logs", "consumer": "%s"}' % (b"x" * 70),
    ])  # fmt: skip
    body = generator.randbytes(generator.choice([0, 1, 3, 700, 9000]))
    kind = n % 5
    if kind == 0:
        return junk
    if kind == 1:
        return struct.pack(">II", generator.randrange(1 << 32), generator.randrange(1 << 32)) + junk
    if kind == 2:
        return struct.pack(">II", len(header), len(body) + generator.randrange(1, 99)) + header + body  # its end never comes
    return struct.pack(">II", len(header), len(body)) + header + body + (junk if kind == 3 else b"")


def test_hostile_bytes_end_their_connection_and_nothing_else(
    tmp_path: Path, free_port: Callable[[], int], running: Running, seed: int
) -> None:
    board = lite(tmp_path, free_port())
    process = up(board, running)
    assert cli(board.config, "produce", "logs", "--producer", "p", stdin=lines(100)).returncode == 0
    time.sleep(4)
    at_rest = told(board, "status")["heap_bytes"]
    generator, path = random.Random(seed), str(data_dir(board) / "control.sock")
    answered = 0
    for n in range(400):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(5)
            stranger.connect(path)
            try:
                stranger.sendall(hostile(generator, n))
                if n % 3 == 0:
                    stranger.settimeout(0.05)
                    answered += len(stranger.recv(4096)) > 0
            except (TimeoutError, ConnectionError):
                pass
        assert process.poll() is None, board.log.read_text()[-2000:]
    assert answered > 20
    time.sleep(4)
    assert told(board, "ledger")[0]["produced"] >= 100  # "produce" of an empty list may be none, and an anonymous record is one
    assert told(board, "status")["heap_bytes"] < at_rest + 16_000
    assert cli(board.config, "consume", "logs").stdout.startswith(lines(100))


def test_half_a_request_is_ended_and_a_large_one_refused(tmp_path: Path, free_port: Callable[[], int], running: Running) -> None:
    board = lite(tmp_path, free_port())
    up(board, running)
    half = ControlClient(str(data_dir(board)))
    half.socket.sendall(struct.pack(">II", 40, 0) + b'{"op": ')
    large = ControlClient(str(data_dir(board)))
    with pytest.raises(AgentError, match="3000000 bytes is too large for this node, which takes 8192"):
        large.ask("produce", bytes(3_000_000), topic="logs", sizes=[3_000_000])
    assert large.request("topics")["takes"] == {"records": 128, "bytes": 8192}  # it goes on
    with pytest.raises(AgentError, match="this node takes 2048"):
        large.ask("produce", bytes(2000), topic="logs", sizes=[1] * 2000)
    with pytest.raises(NoAgent):
        large.request("topics")
    answer, _ = half.receive()
    assert answer["kind"] == "protocol" and "half a message" in answer["error"]


def test_many_clients_and_those_that_do_not_read(tmp_path: Path, free_port: Callable[[], int], running: Running) -> None:
    board = lite(tmp_path, free_port())
    up(board, running)
    assert cli(board.config, "produce", "logs", stdin=lines(20_000)).returncode == 0
    folder = str(data_dir(board))
    clients = [ControlClient(folder) for _ in range(8)]
    for client in clients:
        assert client.request("topics")["ok"]
    done = cli(board.config, "status")
    assert done.returncode == 1 and b"8 connections are open" in done.stderr, done
    clients.pop().close()
    assert cli(board.config, "status").returncode == 0
    for client in clients:
        client.send({"op": "consume", "topic": "logs", "from": 0})  # more than a socket's buffer holds, and nobody reads it
    clients.append(ControlClient(folder))
    clients[-1].send({"op": "consume", "topic": "logs", "from": 0})
    until(lambda: cli(board.config, "status").returncode == 0, 60)  # one that has not read for 5 s makes room
    done = cli(board.config, "produce", "logs", stdin=lines(30))
    assert done.returncode == 0, done
    with pytest.raises((NoAgent, AgentError)):
        for client in clients:  # one of them has been closed
            for _ in range(20_000):
                if not client.receive()[0].get("more"):
                    break
    for client in clients:
        client.close()
    assert told(board, "ledger")[0]["produced"] == 20_030


def test_produce_and_questions_while_it_syncs(mosquitto: Mosquitto, tmp_path: Path, running: Running) -> None:
    board, store = lite(tmp_path, mosquitto.port), tmp_path / "cloud.db"
    up(board, running)
    running.append(serve(mosquitto.port, store))
    hung = ControlClient(str(data_dir(board)))
    hung.send({"op": "consume", "topic": "logs", "from": 0, "follow": True})  # and it never reads
    asked: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            asked.append(cli(board.config, ("status", "queue", "health", "ledger", "resources")[len(asked) % 5]).returncode)

    thread = threading.Thread(target=ask)
    thread.start()
    done = cli(board.config, "produce", "logs", "--producer", "p", stdin=lines(10_000))
    assert done.returncode == 0 and b"10000 lines: 10000 stored, 0 repeats skipped" in done.stderr, done
    until(lambda: len(stored(store)) == 10_000)
    done = cli(board.config, "produce", "logs", "--ack", "cloud", stdin=lines(1000, 10_000))
    assert done.returncode == 0 and len(stored(store)) == 11_000, done
    over.set()
    thread.join()
    hung.close()
    assert stored(store) == lines(11_000).splitlines() and set(asked) <= {0, 1} and asked.count(0) > len(asked) // 2
    assert told(board, "ledger")[0]["delivered"] == 11_000


def test_kill_9_and_the_same_lines_again(mosquitto: Mosquitto, tmp_path: Path, running: Running, seed: int) -> None:
    board, store, generator = lite(tmp_path, mosquitto.port), tmp_path / "cloud.db", random.Random(seed)
    running.append(serve(mosquitto.port, store))
    process = up(board, running)
    command = [sys.executable, "-m", "streamline_edge.cli", "edge", "--config", str(board.config), "produce", "logs", "--producer", "p"]
    (tmp_path / "lines").write_bytes(lines(30_000))
    for _ in range(4):  # the producer, or the node, dies in the middle
        with (tmp_path / "lines").open("rb") as file:
            producer = subprocess.Popen(command, stdin=file, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        running.append(producer)
        time.sleep(generator.uniform(0.2, 0.8))
        if generator.random() < 0.3:
            producer.kill()
        process.kill()
        process.wait()
        process = up(board, running)
        time.sleep(generator.uniform(0, 0.5))
        producer.kill()
        producer.wait()
    done = cli(board.config, "produce", "logs", "--producer", "p", stdin=lines(30_000))
    assert done.returncode == 0 and b"30000 lines" in done.stderr, done
    until(lambda: len(stored(store)) >= 30_000)
    assert stored(store) == lines(30_000).splitlines()
    assert cli(board.config, "consume", "logs").stdout == lines(30_000)


def test_memory_is_given_back_when_nobody_asks(tmp_path: Path, free_port: Callable[[], int], running: Running) -> None:
    board = lite(tmp_path, free_port())
    running.append(board.start())
    until(lambda: board.status())
    at_rest = heap(board)
    peaks = []
    for _ in range(3):
        assert cli(board.config, "produce", "logs", stdin=lines(500)).returncode == 0
        for words in (("status",), ("health",), ("resources",), ("queue",), ("sync", "plan", "--budget", "1MB"), ("consume", "logs")):
            assert cli(board.config, *words).returncode == 0, words
        peaks.append(heap(board))
        time.sleep(8)  # it lets go of what it loaded; then a collection
        peaks.append(min([heap(board) for _ in range(3)]))
    print("heap in use: %d at rest; just after many questions, and when let go: %s" % (at_rest, peaks))
    assert peaks[5] < peaks[1] + 4000  # names of what was loaded stay, once
    assert peaks[5] < at_rest + KEEPS_BYTES_MAX and peaks[5] < peaks[4]


def test_a_heap_that_is_too_small_for_an_answer_is_no_end(mosquitto: Mosquitto, tmp_path: Path, running: Running) -> None:
    board, store = Board(tmp_path, mosquitto.port), tmp_path / "cloud.db"
    assert board.heap == HEAP  # of the smallest board; and its bytecode is in it
    board.run("--lines", "logs", lines=lines(20_000))
    process = up(board, running)
    running.append(serve(mosquitto.port, store))
    codes = []
    while len(stored(store)) < 20_000:
        for words in (("status",), ("produce", "logs"), ("consume", "logs"), ("resources",), ("health",)):
            done = cli(board.config, *words, stdin=b"")
            codes.append(done.returncode)
            assert done.returncode == 0 or b"has no memory" in done.stderr, done
    assert process.poll() is None and stored(store) == lines(20_000).splitlines()
    print("%d of %d were answered" % (codes.count(0), len(codes)))


def heap(board: Board) -> int:
    time.sleep(1.1)  # it says so each second
    value: int = board.status()["heap_bytes"]
    return value
