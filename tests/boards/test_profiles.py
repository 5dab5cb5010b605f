"""Device profiles: each is accepted, starts, keeps its limits and stops; what is written about them is so."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "host"))
from agent_process import ENVIRONMENT, AgentProcess
from streamline_core.config_values import read_size
from streamline_edge import config_file

BOARDS = ROOT / "boards"
PROFILES = sorted(path.parent.name for path in BOARDS.glob("*/limits.conf"))


def bytes_of(text: str) -> int:
    return read_size(text, (0, 1 << 50))


def test_the_environments_of_the_specification_each_have_a_profile() -> None:
    assert PROFILES == ["industrial_edge", "iot_gateway", "raspberry_pi_4", "raspberry_pi_zero", "retail_pos", "vehicle_ecu"]


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_fits_its_device_and_what_systemd_allows_is_above_its_own_limits(name: str) -> None:
    config = config_file.load(BOARDS / name / "edge.yaml")
    board = json.loads((BOARDS / name / "board.json").read_text())
    assert board["name"] == name
    limits = config.resources
    assert limits.max_memory is not None and limits.max_cpu_percent and limits.max_connections and limits.max_storage
    device = bytes_of(re.match(r"\d+ ?[MG]B", board["memory"].replace(" to 8", ""))[0].replace(" ", ""))  # type: ignore[index]
    assert limits.max_memory <= device // 2, "half of the device is the system's"
    storage = bytes_of(re.match(r"\d+ ?GB", board["storage"])[0].replace(" ", ""))  # type: ignore[index]
    assert limits.max_storage <= storage // 2
    unit = (BOARDS / name / "limits.conf").read_text()
    most = int(re.search(r"MemoryMax=(\d+)M", unit)[1])  # type: ignore[index]
    assert 1.25 <= most * (1 << 20) / limits.max_memory <= 1.35
    quota = int(re.search(r"CPUQuota=(\d+)%", unit)[1])  # type: ignore[index]
    assert 1.25 <= quota / limits.max_cpu_percent <= 1.4
    assert int(re.search(r"LimitNOFILE=(\d+)", unit)[1]) >= (limits.max_file_descriptors or 0)  # type: ignore[index]


@pytest.fixture
def agents() -> Iterator[list[AgentProcess]]:
    started: list[AgentProcess] = []
    yield started
    for agent in started:
        if agent.process is not None and agent.process.poll() is None:
            agent.kill()


def here(name: str, folder: Path) -> str:
    """The profile's configuration with the paths and the broker of this test, and nothing else changed."""
    text = (BOARDS / name / "edge.yaml").read_text()
    text = text.replace("/var/lib/streamline", "d").replace("/etc/streamline/password", "password")
    text = text.replace("mqtts://broker.example.com", "mqtt://127.0.0.1:1")
    text = text.replace("broker: embedded", "broker: embedded\n  broker_listen: 127.0.0.1:0")
    (folder / "password").write_text("secret\n")
    return text


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_starts_within_its_limits_takes_records_and_stops(name: str, tmp_path: Path, agents: list[AgentProcess]) -> None:
    if "broker: embedded" in here(name, tmp_path):
        pytest.importorskip("amqtt", reason="its local broker is amqtt")
    agent = AgentProcess(tmp_path, "")
    agent.config.write_text(here(name, tmp_path))
    agents.append(agent)
    agent.start()
    assert agent.process is not None
    config = config_file.load(agent.config)
    topic = next(topic.name for topic in config.topics.values() if topic.kind == "log" and topic.direction == "edge_to_cloud")
    lines = b"".join(b"line %d\n" % i for i in range(20000))
    assert agent.cli("produce", topic, stdin=lines).returncode == 0
    process = psutil.Process(agent.process.pid)
    most = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/%d/status" % process.pid).read_text())
    assert most is not None and int(most[1]) << 10 < config.resources.max_memory
    assert process.rlimit(psutil.RLIMIT_NOFILE)[0] == config.resources.max_file_descriptors
    assert process.num_fds() < config.resources.max_file_descriptors
    assert agent.cli("health").returncode == 0 and agent.cli("resources").returncode == 0
    assert json.loads(agent.cli("queue", "--json").stdout)["depth"] == 20000
    assert agent.stop() == 0


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_leaves_room_above_what_the_node_needs(name: str, tmp_path: Path) -> None:
    """The agent says so itself, where it is given less; the README's column is that figure, as it was on one machine."""
    most = config_file.load(BOARDS / name / "edge.yaml").resources.max_memory
    (tmp_path / "edge.yaml").write_text(re.sub(r"max_memory: \S+", "max_memory: 8MB", here(name, tmp_path)))
    command = [sys.executable, "-m", "streamline_edge", "--config", str(tmp_path / "edge.yaml")]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=100, check=False)
    needed = re.search(r"resources.max_memory: \d+ is less than this node needs to run; use at least (\d+)", done.stderr)
    assert done.returncode == 2 and needed is not None, done.stderr
    assert int(needed[1]) <= most * 0.8
    assert abs(int(needed[1]) / needs(name) - 1) < 0.3


def row(name: str) -> list[str]:
    text = (BOARDS / "README.md").read_text()
    return [cell.strip() for cell in next(line for line in text.splitlines() if f"| `{name}` |" in line).strip("|").split("|")]


def needs(name: str) -> int:
    return bytes_of(row(name)[3].replace(" ", ""))


def test_the_table_of_profiles_says_what_the_profiles_say() -> None:
    for name in PROFILES:
        limits = config_file.load(BOARDS / name / "edge.yaml").resources
        _, _, memory, _, storage, cpu, policy = row(name)
        assert (bytes_of(memory.replace(" ", "")), bytes_of(storage.replace(" ", ""))) == (limits.max_memory, limits.max_storage), name
        assert (cpu, policy) == (f"{limits.max_cpu_percent} %", limits.eviction_policy), name


def test_every_number_of_a_profile_has_its_reason() -> None:
    for name in PROFILES:
        for line in (BOARDS / name / "edge.yaml").read_text().splitlines():
            if (
                re.match(r"    (?!- )[a-z_]+: .*\d", line)
                and "retention" not in line
                and "priority:" not in line
                and "partitions" not in line
            ):
                assert "#" in line, (name, line)


def test_profiles_are_found_from_the_package() -> None:
    package = Path(config_file.__file__).parent / "profiles"
    assert sorted(path.parent.name for path in package.glob("*/edge.yaml")) == PROFILES
