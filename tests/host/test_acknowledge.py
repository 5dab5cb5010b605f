"""Losses that an operator acknowledges: health tells of them no more, over restarts, too; of later ones it does; the ledger keeps all."""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from agent_process import AgentProcess
from streamline_edge.acknowledged import Acknowledged

CONFIG = """
node_id: n1
cloud_endpoint: mqtt://127.0.0.1:1
log: {segment_bytes: 64KB}
resources: {max_storage: 1MB}
sync_topics: [t]
"""


def overflow(agent: AgentProcess) -> int:
    """More than storage holds. Returns how many records are lost by now."""
    assert agent.cli("produce", "t", stdin=b"x" * 999 + b"\n" + (b"y" * 999 + b"\n") * 1999).returncode == 0
    rows = json.loads(agent.cli("ledger", "--json").stdout)
    return sum(count for row in rows for counts in (row["lost"], row["unconfirmed"]) for count in counts.values())


def health(agent: AgentProcess, code: int, *more: str) -> dict[str, Any]:
    done = agent.cli("health", *more, "--json")
    assert done.returncode == code, done
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_what_is_acknowledged_is_told_no_more_and_what_is_lost_later_is(agent: AgentProcess) -> None:
    lost = overflow(agent)
    assert lost > 500 and f"t/0: {lost} records lost: evicted" in health(agent, 1)["problems"]
    assert health(agent, 0, "--acknowledge") == {"acknowledged": lost, "healthy": True, "problems": []}
    assert health(agent, 0, "--acknowledge")["acknowledged"] == 0
    assert (agent.data_dir / "acknowledged.json").stat().st_mode & 0o777 == 0o600
    agent.kill()
    agent.start()
    assert health(agent, 0) == {"healthy": True, "problems": []}
    more = overflow(agent)
    assert more > lost and health(agent, 1)["problems"] == [f"t/0: {more - lost} records lost: evicted"]
    assert b"1 records" not in agent.cli("health", "--acknowledge").stdout and health(agent, 0)["healthy"]
    rows = json.loads(agent.cli("ledger", "--json").stdout)
    assert sum(sum(row["unconfirmed"].values()) for row in rows) == more, "the ledger keeps them"


def test_a_file_that_cannot_be_read_acknowledges_nothing(agent: AgentProcess) -> None:
    lost = overflow(agent)
    health(agent, 0, "--acknowledge")
    for text in ("", "[]", '{"n1/t/0/1": 7}', '{"n1/t/0/1": {"evicted": "x"}}', "\xff"):
        assert agent.stop() == 0
        (agent.data_dir / "acknowledged.json").write_text(text)
        agent.start()
        assert f"t/0: {lost} records lost: evicted" in health(agent, 1)["problems"]


def test_what_the_cloud_has_not_confirmed_yet_and_what_it_has_are_one_loss(tmp_path: Path) -> None:
    known = Acknowledged(tmp_path)
    row = {"node": "n", "topic": "t", "partition": 0, "epoch": "00000001", "lost": {}, "unconfirmed": {"evicted": 5, "torn": 0}}
    assert known.take([row]) == 5 and known.take([row]) == 0
    later = row | {"lost": {"evicted": 4}, "unconfirmed": {"evicted": 3, "corrupt": 1}}
    (told,) = Acknowledged(tmp_path).beside([later])
    assert told["lost"] == {"evicted": 0} and told["unconfirmed"] == {"evicted": 2, "corrupt": 1}
    other = row | {"epoch": "00000002"}
    assert known.beside([other]) == [other] and known.take([later, other]) == 8


def test_another_node_is_asked_and_told_nothing(agent: AgentProcess) -> None:
    done = agent.cli("--node", "n2", "--endpoint", "mqtt://127.0.0.1:1", "health", "--acknowledge")
    assert done.returncode == 2 and b"--node only asks" in done.stderr, done
