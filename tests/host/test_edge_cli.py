"""The command line against a real agent process: what it prints, its exit codes, and kill -9 on either side."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent_process import ENVIRONMENT, AgentProcess
from edge_topics import LOGS, lines

CONFIG = LOGS


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


def test_what_is_refused_at_once_is_told_without_counts(agent: AgentProcess) -> None:
    done = agent.cli("produce", "nope", stdin=lines(3))
    assert done.returncode == 2 and done.stderr.startswith(b"streamline-cli: ") and done.stderr.count(b"\n") == 1, done


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


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_takes_is_no_traceback(agent: AgentProcess, unbuffered: str) -> None:
    agent.cli("produce", "t", stdin=b"one\n")
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": unbuffered}
    for redirection, code, said in ((">/dev/full", 1, b"streamline-cli: standard output: No space left on device"), (">&-", 0, b"")):
        for command in (agent.command("status"), agent.command("status", "--json"), agent.command("consume", "t")):
            done = subprocess.run(["sh", "-c", f'"$@" {redirection}', "sh", *command], env=environment, capture_output=True, timeout=60)
            assert done.returncode == code and done.stderr.startswith(said), done
            assert done.stderr.count(b"\n") == (code != 0), done
