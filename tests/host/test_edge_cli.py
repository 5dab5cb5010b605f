"""The command line against a real agent process: what it prints, its exit codes, and kill -9 on either side."""

import asyncio
import json
import os
import select
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_process import ENVIRONMENT, AgentProcess
from streamline_edge import config_file
from streamline_edge.agent import Agent
from streamline_edge.control_client import ControlClient
from test_agent import from_elsewhere

CONFIG = """
node_id: n1
cloud_endpoint: mqtt://127.0.0.1:1
sync_topics: [t, {topic: k, partitions: 3}]
local_topics: [here]
"""


def lines(n: int, start: int = 0) -> bytes:
    return b"".join(b'{"n":%d,"k":"key %d"}\n' % (i, i % 17) for i in range(start, n))


def test_lines_in_and_out(agent: AgentProcess) -> None:
    done = agent.cli("produce", "t", "--producer", "p", stdin=lines(5000))
    assert (done.returncode, done.stderr) == (0, b"5000 lines: 5000 stored, 0 repeats skipped\n")
    done = agent.cli("produce", "t", "--producer", "p", stdin=lines(6000))
    assert done.stderr == b"6000 lines: 1000 stored, 5000 repeats skipped\n"
    assert agent.cli("consume", "t").stdout == lines(6000)
    assert agent.cli("consume", "t", "--from", "5990").stdout == lines(6000, 5990)
    row = json.loads(agent.cli("consume", "t", "--from", "3", "--json").stdout.splitlines()[0])
    assert row["offset"] == 3 and row["value"] == '{"n":3,"k":"key 3"}' and "key" not in row
    assert abs(row["time_ms"] - time.time() * 1000) < 60_000
    assert agent.cli("consume", "t", "--time", "2001-01-01").stdout == lines(6000)
    assert agent.cli("consume", "t", "--time", str(int(time.time() * 1000) + 60_000)).stdout == b""
    assert agent.stop() == 0
    assert agent.cli("status").returncode == 3


def test_odd_lines(agent: AgentProcess) -> None:
    odd = b"\n\nno end \xff\x00\r\n" + b"x" * 60000 + b"\nlast without end"
    assert agent.cli("produce", "here", stdin=odd).returncode == 0
    assert agent.cli("consume", "here").stdout == odd + b"\n"
    rows = [json.loads(row) for row in agent.cli("consume", "here", "--json").stdout.splitlines()]
    assert rows[2]["value_base64"] and rows[0]["value"] == "" and rows[4]["value"] == "last without end"
    assert agent.cli("produce", "here", stdin=b"").stderr == b"0 lines: 0 stored, 0 repeats skipped\n"


def test_keys(agent: AgentProcess) -> None:
    done = agent.cli("produce", "k", "--key-field", "k", "--producer", "p", stdin=lines(3000))
    assert done.stderr == b"3000 lines: 3000 stored, 0 repeats skipped\n"
    done = agent.cli("produce", "k", "--key-field", "k", "--producer", "p", stdin=lines(3000))
    assert done.stderr == b"3000 lines: 0 stored, 3000 repeats skipped\n"
    told = agent.cli("produce", "here", "--json", stdin=b"a\nb\n")
    assert json.loads(told.stdout) == {"lines": 2, "stored": 2, "repeats": 0} and told.stderr == b""
    seen: list[dict[str, str]] = []
    for partition in "012":
        rows = [json.loads(row) for row in agent.cli("consume", "k", "--partition", partition, "--json").stdout.splitlines()]
        numbers = [json.loads(row["value"])["n"] for row in rows]
        assert numbers == sorted(numbers)
        seen += rows
    assert len(seen) == 3000 and all(json.loads(row["value"])["k"] == row["key"] for row in seen)
    by_key = {row["key"] for row in seen}
    assert len(by_key) == 17


def test_mistakes_are_told_in_one_line(agent: AgentProcess) -> None:
    for arguments, stdin, word in (
        (["consume", "nope"], b"", b"nope"),
        (["consume", "k", "--partition", "3"], b"", b"partitions 0 to 2"),
        (["consume", "t", "--time", "soon"], b"", b"soon"),
        (["produce", "nope"], b"x\n", b"known are: here, k, t"),
        (["produce", "k", "--key-field", "k"], b'{"k":1}\nnonsense\n', b"line 2"),
        (["produce", "t"], b"x" * 70000, b"too large"),
        (["produce", "t"], b"x" * (3 << 20), b"longer than"),
    ):
        done = agent.cli(*arguments, stdin=stdin)
        assert done.returncode == 2, (arguments, done)
        errors = [line for line in done.stderr.splitlines() if line.startswith(b"streamline-cli:")]
        assert len(errors) == 1 and word in errors[0], done.stderr
    assert agent.cli("consume", "t").stdout == b""
    second = subprocess.run([sys.executable, "-m", "streamline_edge", "--config", str(agent.config)], env=ENVIRONMENT, capture_output=True)
    assert second.returncode == 2 and b"in use by process %d" % agent.process.pid in second.stderr


def test_lines_before_a_refused_one_are_counted(agent: AgentProcess) -> None:
    done = agent.cli("produce", "t", "--producer", "p", stdin=lines(3000) + b"x" * 70000 + b"\n" + lines(10))
    assert done.returncode == 2 and b"3000 stored" in done.stderr
    assert agent.cli("consume", "t").stdout == lines(3000)


def test_questions(agent: AgentProcess) -> None:
    agent.cli("produce", "t", stdin=lines(10))
    status = json.loads(agent.cli("status", "--json").stdout)
    assert status["node"] == "n1" and status["link"]["connected"] is False and status["pid"] == agent.process.pid
    rows = [row for row in json.loads(agent.cli("ledger", "--json").stdout) if row["topic"] == "t"]
    assert [(row["produced"], row["delivered"], row["pending"]) for row in rows] == [(10, 0, 10)]
    assert json.loads(agent.cli("health", "--json").stdout) == {"healthy": True, "problems": []}
    topics = {row["topic"]: row["partitions"] for row in json.loads(agent.cli("topics", "--json").stdout)}
    assert topics == {"t": 1, "k": 3, "here": 1}
    assert json.loads(agent.cli("sync", "status", "--json").stdout)["pending"] == 10
    for arguments in (["status"], ["ledger"], ["topics"], ["health"], ["sync", "now"], ["sync", "pause"], ["sync", "resume"]):
        done = agent.cli(*arguments)
        assert done.returncode == 0 and done.stdout and not done.stderr, (arguments, done)


def test_follow(agent: AgentProcess) -> None:
    follow = subprocess.Popen(agent.command("consume", "t", "--follow"), env=ENVIRONMENT, stdout=subprocess.PIPE)
    assert follow.stdout is not None
    agent.cli("produce", "t", stdin=b"a\n")
    assert follow.stdout.readline() == b"a\n"
    agent.cli("produce", "t", stdin=b"b\n")
    assert follow.stdout.readline() == b"b\n"
    agent.kill()
    assert follow.wait(60) == 3


def test_kill_9_of_agent_and_producer(agent: AgentProcess, tmp_path: Path) -> None:
    """The agent dies five times beneath a producer that itself dies twice; what is stored is the input, once, in order."""
    everything = lines(60_000)
    command = agent.command("produce", "t", "--producer", "p")
    producer = subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert producer.stdin is not None
    for turn in range(6):
        part = everything[: len(everything) * (turn + 1) // 6]
        if turn in (2, 4):  # the producer dies too, and begins again with all of the input so far
            producer.kill()
            producer.wait()
            producer = subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
            assert producer.stdin is not None
            fresh = part
        else:
            fresh = part[len(everything) * turn // 6 :]
        producer.stdin.write(fresh[: len(fresh) // 2])
        producer.stdin.flush()
        time.sleep(0.03 * turn)
        agent.kill()
        agent.start()
        producer.stdin.write(fresh[len(fresh) // 2 :])
        producer.stdin.flush()
    producer.stdin.close()
    assert producer.wait(60) == 0
    assert agent.cli("consume", "t").stdout == everything


def test_garbage_on_the_control_socket(agent: AgentProcess) -> None:
    path = str(agent.data_dir / "control.sock")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    for garbage in (
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">II", 0xFFFFFFFF, 0),
        struct.pack(">II", 2, 0xFFFFFFFF),
        struct.pack(">II", 4, 0) + b"{{{{",
        struct.pack(">II", 2, 0) + b"[]",
        struct.pack(">II", 100, 100) + b"{}",
    ):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(path)
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    client = ControlClient(str(agent.data_dir))
    for request, body in (
        ({"op": "nope"}, b""),
        ({"op": ["status"]}, b""),
        ({"op": "produce", "topic": "t"}, b""),
        ({"op": "produce", "topic": 5, "sizes": [1]}, b"x"),
        ({"op": "produce", "topic": "t", "sizes": [1, 5]}, b"xy"),
        ({"op": "produce", "topic": "t", "sizes": [-1, 3]}, b"xy"),
        ({"op": "produce", "topic": "t", "sizes": [1], "key_sizes": [1, 1]}, b"xyz"),
        ({"op": "produce", "topic": "t", "sizes": [1] * 5000}, b"x" * 5000),
        ({"op": "consume", "topic": "t", "partition": 9}, b""),
        ({"op": "consume", "topic": "t", "from": -2}, b""),
        ({"op": "sync", "action": "dance"}, b""),
    ):
        client.send(request, body)
        answer, _ = client.receive()
        assert answer["kind"] in ("usage", "protocol") and answer["error"], (request, answer)
    assert client.request("status")["status"]["streams"][2]["produced"] == 0
    client.send({"op": "produce", "topic": "t", "producer": 9, "partition": 0, "sequence": 5, "sizes": [1]}, b"x")
    assert client.receive()[0]["stored"] == 1
    client.send({"op": "produce", "topic": "t", "producer": 9, "partition": 0, "sequence": 8, "sizes": [1]}, b"y")
    assert "leaves a hole" in client.receive()[0]["error"]
    client.send({"op": "produce", "topic": "t", "producer": 9, "partition": 0, "sequence": 6, "sizes": [1]}, b"z")
    assert "earlier request" in client.receive()[0]["error"]


def test_starting(tmp_path: Path) -> None:
    def start(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-m", "streamline_edge", *arguments]
        return subprocess.run(command, env=ENVIRONMENT, capture_output=True, cwd=tmp_path, timeout=100)

    deep = tmp_path / ("x" * 120)
    done = start("--data-dir", str(deep))
    assert done.returncode == 2 and b"107 are allowed" in done.stderr and not deep.exists()
    (tmp_path / "edge.yaml").write_text("node_id: n\nsync:\n  compression: zst\n")
    done = start()
    assert done.returncode == 2 and done.stderr.startswith(b"edge.yaml:3: sync.compression: 'zst' is not allowed")
    command = [sys.executable, "-c", "import sys; from streamline_edge.main import main; sys.exit(main([]))"]
    assert subprocess.run(command, env=ENVIRONMENT, capture_output=True).returncode == 2


def test_requests_under_way_leave_no_hole(agent: AgentProcess) -> None:
    """Many requests of one producer before the first is durable, and the same again, as after a lost connection."""
    client = ControlClient(str(agent.data_dir))
    for _ in range(2):
        for i in range(40):
            request = {"op": "produce", "topic": "t", "producer": 9, "partition": 0, "sequence": i * 10, "sizes": [1] * 10}
            client.send(request, b"%d" % (i % 10) * 10)
        answers = [client.receive()[0] for _ in range(40)]
        assert all(answer.get("ok") for answer in answers), answers
    assert sum(answer["repeats"] for answer in answers) == 400
    assert client.request("producer_last", topic="t", partition=0, producer=9)["last"] == 399
    assert agent.cli("consume", "t").stdout == b"".join(b"%d\n" % (i % 10) * 10 for i in range(40))


KEYED = """
node_id: n1
cloud_endpoint: mqtt://127.0.0.1:1
sync_topics:
  - {topic: state, kind: keyed, direction: bidirectional}
  - {topic: promo, direction: cloud_to_edge}
  - {topic: chat, direction: bidirectional}
  - {topic: t}
local_topics: [{topic: mine, kind: keyed, partitions: 3}]
"""


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[AgentProcess]:
    agent = AgentProcess(tmp_path, KEYED)
    yield agent
    if agent.process is not None and agent.process.poll() is None:
        agent.kill()


def test_keys_on_the_command_line(keyed: AgentProcess) -> None:
    keyed.start()
    for topic in ("mine", "state"):
        for arguments, stdin in (
            (("set", topic, "a", "1"), b""),
            (("set", topic, "a", "2"), b""),
            (("set", topic, "a/b", "-"), b"two\nlines \xff"),
            (("set", topic, "empty", ""), b""),
            (("set", topic, "gone", "x"), b""),
            (("delete", topic, "gone"), b""),
        ):
            done = keyed.cli(*arguments, stdin=stdin)
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), arguments
        assert keyed.cli("produce", topic, "--key", "line", stdin=b"1\n2\n").returncode == 0
    keyed.kill()
    keyed.start()
    for topic in ("mine", "state"):
        for key, value in (("a", b"2"), ("a/b", b"two\nlines \xff"), ("empty", b""), ("line", b"2")):
            assert keyed.cli("get", topic, key).stdout == value + b"\n"
        assert json.loads(keyed.cli("get", topic, "a/b", "--json").stdout)["value"] == {"base64": "dHdvCmxpbmVzIP8="}
        for key, said in (("gone", "is deleted"), ("never", "was never written")):
            done = keyed.cli("get", topic, key)
            assert (done.returncode, done.stdout) == (1, b"")
            assert done.stderr.decode() == f"streamline-cli: key '{key}' of topic {topic} {said}\n"
        assert keyed.cli("keys", topic).stdout == b"a\na/b\nempty\nline\n"
        assert json.loads(keyed.cli("keys", topic, "--prefix", "a", "--json").stdout) == ["a", "a/b"]
        assert keyed.cli("keys", topic, "--prefix", "z").stdout == b""
    rows = [json.loads(row) for row in keyed.cli("consume", "state", "--json").stdout.splitlines()]
    assert [row["key"] for row in rows if row.get("deleted")] == ["gone"]
    assert json.loads(keyed.cli("conflicts", "--json").stdout) == [] and keyed.cli("conflicts").stdout == b"no conflicts\n"
    status = json.loads(keyed.cli("status", "--json").stdout)
    assert [(row["topic"], row["keys"], row["deleted"]) for row in status["tables"]] == [("mine", 4, 1), ("state", 4, 1)]
    text = keyed.cli("status").stdout.decode()
    assert "from the cloud:" in text and "keyed topics:" in text and "last_write_wins" in text
    strategies = {row["topic"]: row["strategy"] for row in json.loads(keyed.cli("topics", "--json").stdout)}
    assert strategies == {"chat": None, "mine": "last_write_wins", "promo": None, "state": "last_write_wins", "t": None}


def test_keys_of_any_bytes_and_of_any_number(keyed: AgentProcess) -> None:
    keyed.start()
    odd = os.fsdecode(b"\xff[red]\x1b")
    assert keyed.cli("set", "mine", odd, os.fsdecode(b"\xfe")).returncode == 0
    assert keyed.cli("get", "mine", odd).stdout == b"\xfe\n" and keyed.cli("keys", "mine").stdout == b"\xff[red]\x1b\n"
    assert json.loads(keyed.cli("keys", "mine", "--json").stdout) == [{"base64": "/1tyZWRdGw=="}]
    shown = keyed.cli("conflicts", "explain", "mine", odd).stdout
    assert b"\x1b" not in shown and b"base64:/1tyZWRdGw==" in shown
    told = [json.loads(keyed.cli(*words, "--json").stdout) for words in (("set", "mine", "told", "1"), ("delete", "mine", "told"))]
    assert told == [{"topic": "mine", "key": "told", "offset": told[0]["offset"] + n} for n in range(2)]
    assert keyed.cli("set", "mine", "-", "--", "-5").returncode == 0 and keyed.cli("get", "mine", "-").stdout == b"-5\n"
    done = keyed.cli("produce", "state", "--key-field", "n", stdin=lines(5000))
    assert done.returncode == 0, done
    assert keyed.cli("keys", "state").stdout == b"".join(b"%s\n" % key for key in sorted(b"%d" % i for i in range(5000)))


def test_mistakes_with_keys_are_told_in_one_line(keyed: AgentProcess) -> None:
    keyed.start()
    for arguments, stdin, word in (
        (["get", "t", "k"], b"", b"'t' is not keyed here; keyed are: mine, state"),
        (["set", "t", "k", "v"], b"", b"not keyed"),
        (["delete", "nope", "k"], b"", b"not keyed"),
        (["keys", "t"], b"", b"not keyed"),
        (["watch", "t"], b"", b"not keyed"),
        (["conflicts", "t"], b"", b"not keyed"),
        (["conflicts", "explain", "t", "k"], b"", b"not keyed"),
        (["conflicts", "state", "k"], b"", b"explain TOPIC KEY"),
        (["set", "state", "", "v"], b"", b"needs a key"),
        (["set", "state", "k" * 1025, "v"], b"", b"1025 bytes"),
        (["set", "state", "k", "-"], b"x" * 70_000, b"too large"),
        (["set", "state", "k", "-"], b"x" * (9 << 20), b"too large"),
        (["produce", "state"], b"x\n", b"--key"),
        (["produce", "promo"], b"x\n", b"flows from the cloud"),
        (["consume", "state", "--feed"], b"", b"no feed"),
        (["consume", "t", "--feed"], b"", b"no feed"),
    ):
        done = keyed.cli(*arguments, stdin=stdin)
        assert done.returncode == 2, (arguments, done)
        errors = [line for line in done.stderr.splitlines() if line.startswith(b"streamline-cli:")]
        assert len(errors) == 1 and word in errors[0] and done.stdout == b"", (arguments, done)
    done = keyed.cli("conflicts", "explain", "state", "never")
    assert (done.returncode, done.stderr) == (1, b"streamline-cli: key 'never' of topic state was never written\n")
    for arguments in (["consume", "promo"], ["consume", "promo", "--time", "5"], ["consume", "chat", "--feed", "--time", "5"]):
        done = keyed.cli(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert keyed.cli("consume", "state").stdout == b""


def test_garbage_about_keys_on_the_control_socket(keyed: AgentProcess) -> None:
    keyed.start()
    client = ControlClient(str(keyed.data_dir))
    for request, body in (
        ({"op": "get"}, b"k"),
        ({"op": "get", "topic": ["state"]}, b"k"),
        ({"op": "get", "topic": "state"}, b""),
        ({"op": "set", "topic": "state"}, b"xk"),
        ({"op": "set", "topic": "state", "key_size": 9}, b"xk"),
        ({"op": "set", "topic": "state", "key_size": -1}, b"xk"),
        ({"op": "delete", "topic": "t"}, b"k"),
        ({"op": "keys", "topic": 5}, b""),
        ({"op": "conflicts", "topic": 5}, b""),
        ({"op": "explain", "topic": "state"}, b"k" * 2000),
        ({"op": "watch"}, b""),
        ({"op": "produce", "topic": "state", "sizes": [1]}, b"x"),
        ({"op": "produce", "topic": "state", "sizes": [1], "key_sizes": [-1]}, b"x"),
        ({"op": "produce", "topic": "mine", "sizes": [1], "key_sizes": [1], "partition": 2}, b"xk"),
    ):
        client.send(request, body)
        answer, _ = client.receive()
        assert answer["kind"] in ("usage", "protocol") and answer["error"], (request, answer)
    assert client.request("status")["status"]["tables"][1]["keys"] == 0


def test_a_watch_on_the_command_line(keyed: AgentProcess) -> None:
    keyed.start()
    client = ControlClient(str(keyed.data_dir))
    pieces = client.stream("watch", topic="state")
    assert next(pieces)[0]["sizes"] == []  # from here on it tells of everything
    watches = [
        subprocess.Popen(keyed.command("watch", "state", *more), env=ENVIRONMENT, stdout=subprocess.PIPE, bufsize=0)
        for more in ([], ["--json"])
    ]
    assert watches[0].stdout is not None and watches[1].stdout is not None
    first: list[bytes] = []
    for watch in watches:  # it takes a moment until it watches: write until it tells
        while not first or not _ready(watch):
            keyed.cli("set", "state", "k", "%d" % len(first))
            first.append(b"")
    for watch in watches:
        while _ready(watch):
            assert watch.stdout is not None and watch.stdout.readline().startswith((b"k\t", b'{"key":"k","value":"'))
    keyed.cli("set", "state", "l", "last")
    keyed.cli("delete", "state", "l")
    assert [watches[0].stdout.readline() for _ in range(2)] == [b"l\tlast\n", b"l\n"]
    assert [json.loads(watches[1].stdout.readline()) for _ in range(2)] == [
        {"key": "l", "value": "last", "deleted": False},
        {"key": "l", "value": None, "deleted": True},
    ]
    answer, body = next(pieces)
    assert answer["sizes"][0][0] == 1 and body[:1] == b"k"
    keyed.kill()
    assert [watch.wait(60) for watch in watches] == [3, 3]


def _ready(process: "subprocess.Popen[bytes]") -> bool:
    """Whether something comes within half a second."""
    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], 0.5)[0])


def test_a_conflict_is_listed_and_explained(keyed: AgentProcess) -> None:
    """Another node's write is put into the data directory before the agent starts, as a feed would have stored it."""

    async def prepare() -> None:
        async with Agent(config_file.load(keyed.config)) as agent:
            await agent.produce("state", b"ours", key="k")
            await from_elsewhere(agent, b"k", None, side="cloud", node="cloud", wall_ms=1_900_000_000_000)

    asyncio.run(prepare())
    keyed.start()
    assert json.loads(keyed.cli("conflicts", "--json").stdout) == [{"topic": "state", "key": "k", "versions": 2}]
    assert keyed.cli("conflicts", "state").stdout.split() == b"topic key versions state k 2".split()
    assert keyed.cli("conflicts", "mine").stdout == b"no conflicts\n"
    assert keyed.cli("get", "state", "k").returncode == 1
    found = json.loads(keyed.cli("conflicts", "explain", "state", "k", "--json").stdout)
    assert found["shown"] is None and found["conflict"]["type"] == "update/delete" and found["conflict"]["resolution"] == "drop"
    assert [row["value"] for row in found["versions"]] == ["ours", None]
    text = keyed.cli("conflicts", "explain", "state", "k").stdout.decode()
    for word in ("state/0 key k: (deleted)", "update/delete, 2 versions", "last_write_wins", "cloud/00000007@3", "2030-03-17T17:46:40"):
        assert word in text, (word, text)
    assert keyed.cli("set", "state", "k", "settled").returncode == 0
    assert keyed.cli("get", "state", "k").stdout == b"settled\n" and keyed.cli("conflicts").stdout == b"no conflicts\n"


def test_a_wrong_merge_module_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text(
        "node_id: n\ndata_dir: d\nlocal_topics: [{topic: k, kind: keyed, strategy: custom_merge, merge: 'python:m.py'}]\n"
    )

    def start() -> str:
        command = [sys.executable, "-m", "streamline_edge", "--config", str(tmp_path / "edge.yaml")]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, cwd="/", timeout=100, text=True)
        assert done.returncode == 2 and not (tmp_path / "d").exists()
        return done.stderr

    assert start().startswith(f"streamline: topic k: merge module python:{tmp_path}/m.py: it cannot be read")
    (tmp_path / "m.py").write_text("def merg(key, earlier, later): ...\n")
    assert start() == f"streamline: topic k: merge module python:{tmp_path}/m.py: it has no function merge(key, earlier, later)\n"


def test_ingest_into_a_topic_that_would_take_nothing_is_refused_at_start(tmp_path: Path) -> None:
    for topic, said in (("state", "is keyed; set key: topic"), ("promo", "flows from the cloud")):
        (tmp_path / "edge.yaml").write_text(
            KEYED + f"data_dir: d\nbroker: 'mqtt://127.0.0.1:1'\ningest: [{{from: 's/#', topic: {topic}}}]\n"
        )
        command = [sys.executable, "-m", "streamline_edge", "--config", str(tmp_path / "edge.yaml"), "--log-level", "error"]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=100, text=True)
        assert done.returncode == 2 and done.stderr == f"streamline: ingest from s/#: topic {topic} {said}" + (
            "\n" if topic == "state" else "; nothing is stored in it here\n"
        )
