"""The command line of keyed topics against a real agent process: keys, conflicts and watches, and what a start refuses."""

import asyncio
import json
import os
import select
import subprocess
import sys
from pathlib import Path

from agent_process import ENVIRONMENT, AgentProcess
from edge_topics import KEYED, lines
from local_agent import from_elsewhere
from streamline_edge import config_file
from streamline_edge.agent import Agent
from streamline_edge.control_client import ControlClient


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
        (["conflicts", "explain"], b"", b"explain TOPIC KEY"),
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
