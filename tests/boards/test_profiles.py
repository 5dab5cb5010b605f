"""Device profiles: each is accepted, starts, keeps its limits and stops; the service unit and the install script do what they say."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
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
    assert int(re.search(r"LimitNOFILE=(\d+)", unit)[1]) >= (limits.max_file_descriptors or 0)  # type: ignore[index]


@pytest.fixture
def agents() -> Iterator[list[AgentProcess]]:
    started: list[AgentProcess] = []
    yield started
    for agent in started:
        if agent.process is not None and agent.process.poll() is None:
            agent.kill()


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_starts_within_its_limits_takes_records_and_stops(name: str, tmp_path: Path, agents: list[AgentProcess]) -> None:
    text = (BOARDS / name / "edge.yaml").read_text()
    text = text.replace("/var/lib/streamline", "d").replace("/etc/streamline/password", "password")
    text = text.replace("mqtts://broker.example.com", "mqtt://127.0.0.1:1")
    text = text.replace("broker: embedded", "broker: embedded\n  broker_listen: 127.0.0.1:0")
    (tmp_path / "password").write_text("secret\n")
    agent = AgentProcess(tmp_path, "")
    agent.config.write_text(text)
    agents.append(agent)
    agent.start()
    assert agent.process is not None
    config = config_file.load(agent.config)
    topic = next(topic.name for topic in config.topics.values() if topic.kind == "log" and topic.direction != "cloud_to_edge")
    lines = b"".join(b"line %d\n" % i for i in range(20000))
    assert agent.cli("produce", topic, stdin=lines).returncode == 0
    process = psutil.Process(agent.process.pid)
    assert process.memory_info().rss < config.resources.max_memory
    assert process.rlimit(psutil.RLIMIT_NOFILE)[0] == config.resources.max_file_descriptors
    assert process.num_fds() < config.resources.max_file_descriptors
    assert agent.cli("health").returncode == 0 and agent.cli("resources").returncode == 0
    assert json.loads(agent.cli("queue", "--json").stdout)["depth"] >= 20000 or topic in ("local.log", "vibration")
    assert agent.stop() == 0


def test_the_service_unit_is_sound_and_well_confined() -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (package systemd)")
    unit = BOARDS / "systemd" / "streamline-edge.service"
    done = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if str(unit.name) in line and "is not executable" not in line]
    assert not complaints, complaints
    done = subprocess.run([program, "security", "--offline=true", str(unit)], capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    if found is not None:  # older ones know no --offline
        assert float(found[1]) <= 2.0, done.stdout


def test_a_service_manager_hears_that_it_is_ready_alive_and_stopping(tmp_path: Path) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(15)
    (tmp_path / "edge.yaml").write_text("node_id: n1\ndata_dir: d\n")
    told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    command = [sys.executable, "-m", "streamline_edge", "--config", str(tmp_path / "edge.yaml")]
    process = subprocess.Popen(command, env={**ENVIRONMENT, **told}, stderr=subprocess.DEVNULL)
    try:
        assert manager.recv(100) == b"READY=1"
        assert [manager.recv(100) for _ in range(5)] == [b"WATCHDOG=1"] * 5
        process.send_signal(signal.SIGSTOP)  # a loop that does not turn
        time.sleep(0.3)
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                manager.recv(100)
        time.sleep(0.5)
        with pytest.raises(BlockingIOError):
            manager.recv(100)
        manager.settimeout(15)
        process.send_signal(signal.SIGCONT)
        process.terminate()
        while manager.recv(100) != b"STOPPING=1":
            pass
        assert process.wait(15) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        manager.close()


def install(prefix: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [str(BOARDS / "install.sh"), *words, "--prefix", str(prefix)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env={**os.environ, "PYTHON": sys.executable})


def test_an_upgrade_keeps_what_is_there_and_can_be_rolled_back(tmp_path: Path) -> None:
    opt, etc = tmp_path / "opt/streamline-edge", tmp_path / "etc/streamline"
    done = install(tmp_path, "vehicle_ecu", "--node-id", "car-7", "--cloud", "mqtt://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    config = config_file.load(etc / "edge.yaml")
    assert (config.node_id, config.cloud_endpoint, config.data_dir) == ("car-7", "mqtt://127.0.0.1:1", str(tmp_path / "var/lib/streamline"))
    assert (etc / "password").stat().st_mode & 0o777 == 0o600 and (tmp_path / "var/lib/streamline").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "etc/systemd/system/streamline-edge.service.d/limits.conf").is_file()
    first = os.readlink(opt / "current")
    said = subprocess.run([f"{opt}/current/bin/streamline-cli", "edge", "--help"], capture_output=True, text=True, check=True)
    assert "resources" in said.stdout

    (etc / "edge.yaml").write_text((etc / "edge.yaml").read_text() + "  nonsense: 1\n")
    done = install(tmp_path, "vehicle_ecu")
    assert done.returncode == 2 and "Nothing has changed" in done.stderr and os.readlink(opt / "current") == first
    assert len(list((opt / "releases").iterdir())) == 1
    (etc / "edge.yaml").write_text((etc / "edge.yaml").read_text().replace("  nonsense: 1\n", "  fleet: mine\n"))
    assert install(tmp_path).returncode == 0
    second = os.readlink(opt / "current")
    assert second != first and "fleet: mine" in (etc / "edge.yaml").read_text()
    assert install(tmp_path, "--rollback").returncode == 0 and os.readlink(opt / "current") == first

    done = install(tmp_path, "--uninstall")
    assert done.returncode == 0 and not opt.exists() and (etc / "edge.yaml").exists()
    assert install(tmp_path, "--uninstall", "--purge").returncode == 0 and not etc.exists()


def test_the_install_script_says_what_is_wrong_with_a_call(tmp_path: Path) -> None:
    for words, what in (
        ((), "say which profile; there are: industrial_edge iot_gateway"),
        (("toaster",), "there is no profile toaster"),
        (("--frob",), "--frob is not understood"),
        (("--rollback",), "there is no release before this one"),
    ):
        done = install(tmp_path, *words)
        assert done.returncode == 2 and what in done.stderr and done.stderr.count("\n") == 1, (words, done.stderr)


def test_the_table_of_profiles_says_what_the_profiles_say() -> None:
    text = (BOARDS / "README.md").read_text()
    for name in PROFILES:
        limits = config_file.load(BOARDS / name / "edge.yaml").resources
        row = next(line for line in text.splitlines() if f"`{name}`" in line)
        for size in (limits.max_memory, limits.max_storage):
            assert any(bytes_of(found.replace(" ", "")) == size for found in re.findall(r"\d+ [MG]B", row)), (row, size)
        assert f"{limits.max_cpu_percent} %" in row and f" {limits.eviction_policy} " in row
