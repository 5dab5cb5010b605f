"""Limits, the queue and named consumers on the command line, against a real agent process: set, kept over restarts, enforced, refused."""

import contextlib
import json
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from agent_process import AgentProcess
from streamline_edge.control_client import AgentError, ControlClient

CONFIG = """
node_id: n1
cloud_endpoint: mqtt://127.0.0.1:1
log: {segment_bytes: 64KB}
sync: {max_queue_size: 5000}
resources: {max_storage: 1MB, max_file_descriptors: 200, max_connections: 4}
sync_topics: [t, {topic: roll, queue_full: evict, priority: 9}]
local_topics: [here]
consumers: [{name: dash, topic: here}]
"""


def lines(n: int, start: int = 0) -> bytes:
    return b"".join(b"line %d\n" % i for i in range(start, n))


def send(agent: AgentProcess, topic: str, values: list[bytes]) -> None:
    """Unlike the command line, which waits for room and tries again."""
    client = ControlClient(str(agent.data_dir))
    try:
        client.ask("produce", b"".join(values), topic=topic, sizes=[len(value) for value in values])
    finally:
        client.close()


def told(agent: AgentProcess, *arguments: str) -> Any:
    done = agent.cli(*arguments, "--json")
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def test_a_limit_is_set_kept_over_restarts_and_given_back(agent: AgentProcess) -> None:
    done = agent.cli("resources", "limit", "--storage", "512KB", "--cpu", "40%", "--policy", "reject")
    assert done.returncode == 0 and b"512.0 KB" in done.stdout
    agent.kill()
    agent.start()
    status = told(agent, "resources")
    assert status["resources"]["storage"]["limit"] == 512 << 10 and status["resources"]["cpu"]["limit"] == 40
    assert status["eviction_policy"] == "reject" and status["set"] == ["cpu", "eviction_policy", "storage"]
    assert told(agent, "resources", "limit", "--reset")["resources"]["storage"]["limit"] == 1 << 20
    assert told(agent, "resources")["set"] == []


def test_a_limit_below_what_the_node_needs_is_refused_with_that_number_and_changes_nothing(agent: AgentProcess) -> None:
    done = agent.cli("resources", "limit", "--memory", "10MB", "--storage", "600KB")
    assert done.returncode == 2
    needed = int(done.stderr.split()[-1])
    assert 20 << 20 < needed < 100 << 20
    assert told(agent, "resources")["resources"]["storage"]["limit"] == 1 << 20
    assert agent.cli("resources", "limit", "--memory", str(needed)).returncode == 0
    for words, what in (
        (("resources", "limit"), b"say which"),
        (("resources", "--memory", "1GB"), b"resources limit --memory"),
        (("resources", "limit", "--cpu", "200"), b"--cpu: 200 is not allowed"),
        (("resources", "limit", "--connections", "5%"), b"--connections: '5%' is not allowed"),
        (("top", "--interval", "inf"), b"--interval: seconds are wanted"),
        (("top", "--interval", "0"), b"--interval: seconds are wanted"),
        (("resources", "limit", "--memory", "much"), b"'256MB' (1024-based)"),
        (("resources", "limit", "--policy", "newest"), b"use one of oldest"),
        (("sync", "plan"), b"--budget SIZE"),
        (("sync", "now", "--budget", "5MB"), b"--budget SIZE"),
        (("sync", "plan", "--budget", "lots"), b"--budget: 'lots'"),
        (("consumers", "forget", "nobody"), b"there is no consumer 'nobody'"),
    ):
        done = agent.cli(*words)
        assert done.returncode == 2 and what in done.stderr and done.stderr.count(b"\n") == 1, (words, done.stderr)


def test_a_limits_file_that_rotted_is_refused_at_the_start(agent: AgentProcess) -> None:
    assert agent.stop() == 0
    for text in ('{"storage": "big"}', "[]", "{", '{"ram": 5}'):
        (agent.data_dir / "limits.json").write_text(text)
        with pytest.raises(AssertionError, match="limits.json: .*set the limits again"):
            agent.start()


def test_the_system_holds_the_process_to_its_open_files(agent: AgentProcess) -> None:
    assert agent.process is not None
    process = psutil.Process(agent.process.pid)
    assert process.rlimit(psutil.RLIMIT_NOFILE)[0] == 200
    assert agent.cli("resources", "limit", "--files", "100").returncode == 0
    assert process.rlimit(psutil.RLIMIT_NOFILE)[0] == 100


MANY = "node_id: n1\ncloud_endpoint: mqtt://127.0.0.1:1\nsync_topics: [{topic: t, partitions: 100}]\n"


def keys(n: int, start: int = 0) -> bytes:
    return b"".join(b'{"k": "%d"}\n' % i for i in range(start, n))


def test_where_fewer_files_may_be_open_than_there_are_logs_the_agent_closes_some_and_goes_on(tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path, MANY)
    agent.start()
    assert agent.process is not None
    process, before = psutil.Process(agent.process.pid), psutil.Process(agent.process.pid).rlimit(psutil.RLIMIT_NOFILE)[0]
    try:
        assert agent.cli("produce", "t", "--key-field", "k", stdin=keys(2000)).returncode == 0
        done = agent.cli("resources", "limit", "--files", "60")
        assert done.returncode == 0, done.stderr
        assert process.num_fds() <= 60 and process.rlimit(psutil.RLIMIT_NOFILE)[0] == 60
        assert agent.cli("produce", "t", "--key-field", "k", stdin=keys(4000, 2000)).returncode == 0
        assert sum(row["produced"] for row in told(agent, "ledger")) == 4000
        assert agent.cli("health").returncode == 0 and agent.cli("resources").returncode == 0
        assert agent.cli("resources", "limit", "--files", "20").returncode == 2
        agent.kill()
        agent.start()
        assert agent.cli("produce", "t", "--key-field", "k", stdin=keys(6000, 4000)).returncode == 0
        assert sum(row["produced"] for row in told(agent, "ledger")) == 6000
        process = psutil.Process(agent.process.pid)
        assert agent.cli("resources", "limit", "--reset").returncode == 0
        assert process.rlimit(psutil.RLIMIT_NOFILE)[0] == before
        agent.config.write_text(MANY + "resources: {max_file_descriptors: 150}\ndata_dir: d\n")
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 40
        while process.rlimit(psutil.RLIMIT_NOFILE)[0] != 150:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        agent.kill()


def test_more_connections_than_allowed_are_refused_and_the_others_go_on(agent: AgentProcess) -> None:
    clients = [ControlClient(str(agent.data_dir)) for _ in range(3)]  # and the way out
    for client in clients:
        client.request("status")
    refused = ControlClient(str(agent.data_dir))
    with pytest.raises(AgentError, match="max_connections: 4 of 4 are used"):
        refused.request("status")
    clients.pop().close()
    for client in clients:
        client.request("status")
    assert agent.cli("status").returncode == 0


@pytest.mark.parametrize(("partitions", "segment"), [(40, "128KB"), (1, "64KB")])
def test_the_cap_holds_at_every_moment_however_many_logs_there_are_and_however_fast_they_fill(
    tmp_path: Path, partitions: int, segment: str
) -> None:
    text = "log: {segment_bytes: %s}\nresources: {max_storage: 2MB}\nsync_topics: [{topic: t, partitions: %d}]\n"
    agent = AgentProcess(tmp_path, "node_id: n1\ncloud_endpoint: mqtt://127.0.0.1:1\n" + text % (segment, partitions))
    agent.start()
    highest, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not ended.wait(0.003):
            sizes = []
            for path in agent.data_dir.rglob("*"):
                with contextlib.suppress(FileNotFoundError):
                    sizes += [path.stat().st_size] if path.is_file() else []
            highest = max(highest, sum(sizes))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        values = b"".join(b'{"k": "%d", "v": "%0500d"}\n' % (i, i) for i in range(20000))
        assert agent.cli("produce", "t", "--key-field", "k", stdin=values).returncode == 0
    finally:
        ended.set()
        watcher.join()
    rows = told(agent, "ledger")
    agent.kill()
    assert sum(row["produced"] for row in rows) == 20000 and sum(row["unconfirmed"].get("evicted", 0) for row in rows) > 10000
    assert 1 << 20 < highest <= 2 << 20, highest


def test_the_queue_is_told_by_topic_and_each_topic_does_what_it_was_told(agent: AgentProcess) -> None:
    done = agent.cli("produce", "t", stdin=lines(4000))
    assert done.returncode == 0
    with pytest.raises(AgentError, match="sync.max_queue_size allows 5000"):
        send(agent, "t", [b"more"] * 2000)
    assert agent.cli("produce", "roll", stdin=lines(8000)).returncode == 0
    queue = told(agent, "queue")
    rows = {row["topic"]: row for row in queue["rows"]}
    assert rows["t"]["records"] == 4000 and 0 < rows["roll"]["records"] <= 1000 and queue["depth"] <= 5000
    assert rows["roll"]["queue_full"] == "evict" and rows["t"]["oldest_ms"] <= rows["roll"]["oldest_ms"]
    plan = told(agent, "sync", "plan", "--budget", "10KB")
    leaves = {row["topic"]: (row["leaves_bytes"], row["waits_records"]) for row in plan["rows"]}
    assert plan["link_bytes"] == 10240 and leaves["t"][1] > 0
    ledger = {row["topic"]: row for row in told(agent, "ledger")}
    assert ledger["roll"]["unconfirmed"]["evicted"] == 8000 - rows["roll"]["records"]
    assert agent.cli("queue").stdout.startswith(b"%s records wait for the cloud" % f"{queue['depth']:,}".encode())


def test_a_named_consumer_goes_on_where_it_was_and_holds_what_it_has_not_read(agent: AgentProcess) -> None:
    assert agent.cli("produce", "here", stdin=lines(100)).returncode == 0
    assert agent.cli("consume", "here", "--consumer", "dash").stdout == lines(100)
    assert agent.cli("produce", "here", stdin=lines(200, 100)).returncode == 0
    agent.kill()
    agent.start()
    assert agent.cli("consume", "here", "--consumer", "dash").stdout == lines(200, 100)
    assert agent.cli("consume", "here", "--consumer", "dash").stdout == b""
    with pytest.raises(AgentError, match="owed to a reader of this node"):
        for _ in range(20):
            send(agent, "here", [b"x" * 1000] * 100)
    (row,) = told(agent, "consumers")
    assert row["name"] == "dash" and row["holds"] and row["lag"] > 500
    assert agent.cli("consume", "here", "--consumer", "dash").stdout.count(b"\n") == row["lag"]
    assert agent.cli("produce", "here", stdin=(b"x" * 1000 + b"\n") * 200).returncode == 0
    assert agent.cli("consume", "here", "--consumer", "other").returncode == 0
    assert agent.cli("consumers", "forget", "other").returncode == 0


def test_what_is_owed_of_a_topic_that_is_taken_out_of_the_configuration_is_told_until_it_is_back(agent: AgentProcess) -> None:
    assert agent.cli("produce", "t", stdin=lines(100)).returncode == 0
    for change in (("sync_topics: [t, ", "sync_topics: ["), ("node_id: n1", "node_id: n2")):
        assert agent.stop() == 0
        agent.config.write_text(CONFIG.replace(*change) + "data_dir: d\n")
        for segment in agent.data_dir.rglob("t-0/*/*.seg"):
            segment.rename(segment.with_suffix(".cmp"))  # one that compaction wrote anew is as much owed
        agent.start()
        done = agent.cli("health")
        assert done.returncode == 1 and b"t-0/n1-" in done.stdout and b"not configured any more: not sent" in done.stdout, done
    assert agent.stop() == 0
    agent.config.write_text(CONFIG + "data_dir: d\n")
    agent.start()
    assert agent.cli("consume", "t").stdout == lines(100) and agent.cli("health").returncode == 0


def test_mesh_says_that_it_is_off(agent: AgentProcess) -> None:
    for words, code in (("status", 0), ("peers", 0), ("join", 1), ("leave", 1)):
        done = agent.cli("mesh", words, *(["peer-1"] if code else []))
        assert done.returncode == code and b"mesh is off" in done.stdout + done.stderr
    agent.stop()
    assert agent.cli("mesh", "status").returncode == 3


def test_fewer_connections_than_the_node_needs_are_refused_with_that_number(tmp_path: Path, agent: AgentProcess) -> None:
    """Neither may the way out, or the embedded broker, leave nobody in who could raise the limit, nor must the next start fail by it."""
    done = agent.cli("resources", "limit", "--connections", "1")
    assert done.returncode == 2 and done.stderr.endswith(b"max_connections: 1 is less than this node needs to run; use at least 2\n")
    assert agent.cli("resources", "limit", "--connections", "2").returncode == 0
    folder = tmp_path / "other"
    folder.mkdir()
    line = "cloud_endpoint: mqtt://127.0.0.1:1\nserial: [{port: /dev/none}]\nresources: {max_connections: 2}\n"
    broker = "broker: embedded\nbroker_listen: 127.0.0.1:0\nresources: {max_connections: 3}\n"
    for text, refused in ((line, "2 is less than this node needs to run; use at least 3"), (broker, "3 is less .* at least 4")):
        other = AgentProcess(folder, "node_id: n1\n" + text)
        with pytest.raises(AssertionError, match="max_connections: " + refused):
            other.start()
        assert other.process is not None and other.process.wait(60) == 2


def test_a_live_view_counts_what_moves_between_two_looks(agent: AgentProcess) -> None:
    assert agent.cli("produce", "here", stdin=lines(300)).returncode == 0
    done = agent.cli("top", "--count", "2", "--interval", "0.3")
    assert done.returncode == 0 and done.stdout.count(b"n1: offline") == 2 and b"here" in done.stdout
    first, second = (json.loads(line) for line in agent.cli("top", "--count", "2", "--interval", "0.2", "--json").stdout.splitlines())
    assert first["produced_s"] is None and second["produced_s"] == 0 and second["status"]["node"] == "n1"


def test_many_large_requests_at_once_take_turns_within_the_memory(tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path, "node_id: n1\nresources: {max_memory: 64MB, max_storage: 64MB}\nlocal_topics: [t]\n")
    agent.start()
    assert agent.process is not None
    process, highest, ended = psutil.Process(agent.process.pid), 0, threading.Event()
    body, failures = random.Random(1).randbytes(8_000_000), []

    def watch() -> None:
        nonlocal highest
        while not ended.wait(0.005):
            highest = max(highest, process.memory_info().rss)

    def hand_over() -> None:
        client = ControlClient(str(agent.data_dir))
        try:
            for _ in range(3):
                client.ask("produce", body, topic="t", sizes=[2000] * 4000)
        except Exception as e:
            failures.append(e)
        finally:
            client.close()

    threads = [threading.Thread(target=hand_over) for _ in range(12)]
    watcher = threading.Thread(target=watch)
    try:
        for thread in (watcher, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert told(agent, "ledger")[0]["produced"] == 12 * 3 * 4000
        assert highest <= 1.3 * (64 << 20), highest
    finally:
        ended.set()
        watcher.join()
        agent.kill()
