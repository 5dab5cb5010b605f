"""The image of the Cortex-M3 in its emulator, with 128 KB of heap: it starts by itself, keeps what it wrote over every kind of power cut,
and delivers it through a gateway over a line that hurts bytes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from board_world import APP, ENVIRONMENT, ROOT, BoardWorld, check_order
from told_sizes import assert_told

import board_image
import toolchain
from emulator import Emulator
from mosquitto import Mosquitto

BOARD = "qemu_mps2_an385"
HURT_BYTES = (1500, 8000)  # from the gateway, where little goes, and from the board: some ten times a run
BACKLOG = 10_000
HEAP_KEYS = ("heap_bytes", "heap_peak_bytes", "heap_live_peak_bytes")
LIVE_BYTES_MAX = 100 << 10  # of the heap of 128 KB: the rest is for the application and for garbage

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]


@pytest.fixture(scope="session")
def image() -> board_image.Image:
    try:
        toolchain.need("qemu-system-arm", "qemu-system-arm")
        return board_image.build(BOARD)
    except toolchain.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def world(
    image: board_image.Image, mosquitto: Mosquitto, tmp_path: Path, free_port: Callable[[], int], seed: int
) -> Iterator[BoardWorld]:
    made = BoardWorld(image, mosquitto, tmp_path, (free_port(), free_port()), seed, BOARD)
    yield made
    made.close()


def test_its_size_is_told(image: board_image.Image) -> None:
    assert_told("build/firmware/qemu_mps2_an385/firmware.bin,", image.path.stat().st_size)


def test_a_backlog_of_10_000_records_is_delivered_when_the_link_returns(
    world: BoardWorld, record_property: Callable[[str, object], None]
) -> None:
    world.provision({"app.py": APP % {"total": BACKLOG, "per_turn": 20, "every_ms": 5}})
    world.emulator.start()  # nobody is at the other end of its line
    world.serve()
    time.sleep(20)
    assert world.count() == 0
    world.gateway.start()
    began = time.monotonic()
    world.until(lambda: world.count() == BACKLOG, 400)
    took = time.monotonic() - began
    assert list(check_order(world.stored()).values()) == [BACKLOG]
    status = world.told("status")
    (row,) = world.told("ledger")
    assert row["produced"] == row["delivered"] == BACKLOG + 1 and not row["lost"]  # one is the mark of a clock that was set
    assert world.told("health")["healthy"], world.told("health")
    record_property(
        "figure",
        "%s: %d records in %.0f s after the outage; heap of %d bytes: in use %d, at the most %d with garbage, %d after a collection"
        % (BOARD, BACKLOG, took, world.board["heap_bytes"], *[status[key] for key in HEAP_KEYS]),
    )
    assert 0 < status["heap_live_peak_bytes"] <= LIVE_BYTES_MAX


def last_start(readings: list[dict[str, int]]) -> tuple[int, int]:
    """How many starts there were, and how many readings there are of the last."""
    counts = check_order(readings)
    return len(counts), counts[readings[-1]["start"]] if readings else 0


def test_resets_power_cuts_and_a_line_that_hurts_lose_and_repeat_nothing(world: BoardWorld) -> None:
    world.provision({"app.py": APP % {"total": 2000, "per_turn": 5, "every_ms": 10}})
    world.line.hurt_bytes = HURT_BYTES
    world.serve()
    world.gateway.start()
    world.emulator.start()
    for cut in ("reset", "power", "line", "reset", "power"):
        base = world.count()
        world.until(lambda base=base: world.count() >= base + 150)
        if cut == "reset":
            world.emulator.reset()
        elif cut == "power":
            world.emulator.kill()
            world.emulator.start()
        else:
            world.line.cut = True
            time.sleep(3)
            world.line.cut = False
    world.until(lambda: last_start(world.stored()) == (5, 2000), 400)  # the last start has said all it has to say
    world.until(lambda: world.told("ledger")[0]["pending"] == 0)
    (row,) = world.told("ledger")
    readings = world.stored()
    # What a cut tore off in the middle of a program was never durable, and is said to be torn.
    assert set(row["lost"]) <= {"torn"}, row
    counts = check_order(readings)
    marks = row["produced"] - len(readings) - row["lost"].get("torn", 0)  # each start whose clock was set leaves one
    assert 1 <= marks <= len(counts), "%r; %d readings" % (row, len(readings))
    assert len(counts) == 5 and sorted(counts.values())[-1] == 2000, counts
    assert world.line.hurts > 0


# It runs in the agent's program, and can break that, too.
BREAKING = """
import streamline_core.node

class Source:
    def __init__(self, topics):
        pass

    def produce(self, node, now_ms):
        def tick(self):
            raise RuntimeError("nothing ticks")
        streamline_core.node.Node.tick = tick
        return now_ms
"""


def test_an_agent_that_crashes_again_and_again_ends_in_safe_mode_which_answers_health(world: BoardWorld) -> None:
    world.provision({"app.py": BREAKING})
    world.serve()
    world.gateway.start()
    world.emulator.start()
    health = world.told("health")
    assert not health["healthy"] and "safe mode" in health["problems"][0] and "nothing ticks" in health["problems"][0], health
    assert world.told("status")["state"] == "safe mode"
    assert world.ask("ledger").returncode == 2 and "safe mode" in world.ask("ledger").stderr
    assert world.emulator.console.count("the agent crashed") == 3


def test_a_configuration_that_is_refused_is_told_from_afar_where_its_link_is_good(world: BoardWorld) -> None:
    world.provision({}, log={"batch_bytes": 70000})
    world.gateway.start()
    world.emulator.start()
    health = world.told("health")
    assert "safe mode" in health["problems"][0] and "log.batch_bytes" in health["problems"][0], health


ONCE = """
import os

class Source:
    def __init__(self, topics):
        if "was_here" in os.listdir("/"):
            raise RuntimeError("the sensor is gone")
        self.n = 0

    def produce(self, node, now_ms):
        if self.n < 50:
            node.produce("readings", b'{"start": 1, "n": %d}' % self.n)
            self.n += 1
            return now_ms + 5
        open("/was_here", "w").close()
        return now_ms + 60000
"""


def test_an_application_that_cannot_be_made_costs_readings_and_its_backlog_is_delivered(world: BoardWorld) -> None:
    world.provision({"app.py": ONCE})
    world.emulator.start()
    time.sleep(8)
    world.emulator.kill()
    world.serve()
    world.gateway.start()
    world.emulator.start()
    world.until(lambda: world.count() == 50)
    status = world.told("status")
    assert status["state"] != "safe mode" and status["application_failures"] >= 1
    assert status["application_error"] == "RuntimeError: the sensor is gone"
    (problem,) = world.told("health")["problems"]
    assert problem.startswith("the application failed") and "the sensor is gone" in problem
    assert "crashed" not in world.emulator.console and world.emulator.console.count("node board-1 runs") == 2


def test_a_loop_that_does_not_turn_is_ended_by_the_watchdog_and_at_last_by_safe_mode(world: BoardWorld) -> None:
    stuck = "    def produce(self, node, now_ms):\n        while True:\n            pass\n"
    app = "class Source:\n    def __init__(self, topics):\n        pass\n" + stuck
    world.provision({"app.py": app})
    world.serve()
    world.gateway.start()
    world.emulator.start()
    health = world.told("health", secs=300)
    assert "safe mode" in health["problems"][0] and "watchdog" in health["problems"][0], health
    assert world.emulator.console.count("node board-1 runs") == 3


def at_console(world: BoardWorld, *words: str) -> subprocess.CompletedProcess[str]:
    """`streamline-cli board`, at the board's console."""
    port = "socket://127.0.0.1:%d" % world.emulator.console_port
    command = [sys.executable, "-m", "streamline_edge.cli", "board", words[0], "--port", port, *words[1:]]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


def test_modules_for_lib_are_refused_where_an_image_would_hide_them(world: BoardWorld) -> None:
    world.provision({})
    world.emulator.start()
    world.until(lambda: "node board-1 runs" in world.emulator.console)
    port = "socket://127.0.0.1:%d" % world.emulator.console_port
    command = [sys.executable, str(ROOT / "tools" / "flash.py"), "rpi_pico", "--port", port]
    refused = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode == 1 and "--image" in refused.stderr and "comes before /lib" in refused.stderr, refused.stderr
    world.until(lambda: world.emulator.console.count("node board-1 runs") == 2)  # and its agent runs again


def test_a_board_is_provisioned_at_its_console_and_then_syncs(world: BoardWorld, tmp_path: Path) -> None:
    world.provision({"app.py": APP % {"total": 50, "per_turn": 5, "every_ms": 100}})
    world.emulator.start()
    world.until(lambda: "node board-1 runs" in world.emulator.console)
    config = tmp_path / "given.json"
    given = json.loads((ROOT / "boards" / BOARD / "edge.json").read_text())
    config.write_text(json.dumps(given | {"node_id": "press-7"}))
    told = at_console(world, "provision", "--config", str(config))
    assert told.returncode == 0, told.stdout + told.stderr + world.emulator.console[-2000:]
    world.until(lambda: "node press-7 runs" in world.emulator.console)
    config.write_text(json.dumps(given | {"frame_bytes_max": 28000}))
    refused = at_console(world, "provision", "--config", str(config))
    assert refused.returncode == 2 and "KB" in refused.stderr, refused.stderr
    world.serve()
    world.gateway.start()
    world.until(lambda: last_start(world.stored())[1] == 50)


def test_an_application_that_fails_costs_readings_and_not_the_agent(world: BoardWorld) -> None:
    app = "class Source:\n    def __init__(self, topics):\n        pass\n    def produce(self, node, now_ms):\n        return 1 // 0\n"
    world.provision({"app.py": app})
    world.serve()
    world.gateway.start()
    world.emulator.start()
    assert world.told("status")["state"] != "safe mode"
    assert "the application failed" in world.emulator.console and "ZeroDivisionError" in world.emulator.console


def test_a_file_system_that_does_not_mount_is_reported_and_left_as_it_is(world: BoardWorld, tmp_path: Path) -> None:
    world.provision({})
    with world.emulator.flash.open("r+b") as flash:
        for block in (0, 1):  # both of its superblocks
            flash.seek(block * 4096)
            flash.write(bytes(range(256)) * 16)
    before = world.emulator.flash.read_bytes()
    world.emulator.start()
    world.until(lambda: "does not mount" in world.emulator.console)
    time.sleep(2)
    assert "safe mode" in world.emulator.console
    info = at_console(world, "info", "--json")
    assert info.returncode == 0 and "does not mount" in json.loads(info.stdout)["fault"], info.stderr
    config = tmp_path / "given.json"
    config.write_text((ROOT / "boards" / BOARD / "edge.json").read_text())
    refused = at_console(world, "provision", "--config", str(config))
    assert refused.returncode == 2 and "does not mount" in refused.stderr and "nothing was written" in refused.stderr, refused.stderr
    world.emulator.kill()
    assert world.emulator.flash.read_bytes() == before


def test_a_board_that_nobody_has_provisioned_says_so(world: BoardWorld) -> None:
    world.emulator.start()
    world.until(lambda: "streamline-cli board provision" in world.emulator.console)
    assert "the flash is new" in world.emulator.console


def short_folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("streamline-*"))


@pytest.fixture
def short_path() -> Iterator[Path]:
    """As tmp_path, whose own length may be too much for a socket."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("depth", [1, 3], ids=["beside the flash", "where that path is too long"])
def test_the_emulator_is_commanded_by_a_socket_that_is_its_users_alone(
    image: board_image.Image, short_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    folder = short_path.joinpath(*["a folder, with a name of some length"] * depth)
    folder.mkdir(parents=True)
    board = Emulator(board_image.load_board(BOARD), image.path, folder)
    monkeypatch.setattr(tempfile, "tempdir", str(short_path))
    before = short_folders()
    board.start()
    try:
        (path,) = [folder / "qmp"] if depth == 1 else [made / "qmp" for made in short_folders() - before]
        assert path.is_socket() and not path.stat().st_mode & 0o077
        board.reset()
    finally:
        board.kill()
    assert not path.exists() and (depth == 1 or not path.parent.exists())


def test_a_configuration_that_cannot_work_is_said_on_the_console(world: BoardWorld) -> None:
    world.provision({}, log={"batch_bytes": 70000})
    world.emulator.start()
    world.until(lambda: "log.batch_bytes" in world.emulator.console)
    assert "safe mode" in world.emulator.console


STUCK = '''
import os

class Source:
    def __init__(self, topics):
        self.n = 0
        self.start = int.from_bytes(os.urandom(3), "little")
        self.sticks = "was_stuck" not in os.listdir("/")

    def produce(self, node, now_ms):
        if self.n < 200:
            node.produce("readings", b'{"start": %d, "n": %d}' % (self.start, self.n))
            self.n += 1
            return now_ms + 20
        if self.sticks:
            open("/was_stuck", "w").close()
            while True:
                pass
        return now_ms + 60000
'''


def test_the_watchdog_resets_a_board_whose_application_is_stuck(world: BoardWorld) -> None:
    """The real one of this machine. Nobody else resets it: the application holds the processor for ever."""
    world.provision({"app.py": STUCK})
    world.serve()
    world.gateway.start()
    world.emulator.start()
    world.until(lambda: last_start(world.stored() or [{"start": 0, "n": 0}]) == (2, 200), 300)
    first, second = check_order(world.stored()).values()
    assert first > 100 and second == 200  # of the first start at most what was not committed when it stuck
    assert world.emulator.console.count("streamline: node") == 2
    assert "crashed" not in world.emulator.console
