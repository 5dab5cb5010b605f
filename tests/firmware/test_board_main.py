"""A board's program on a real MicroPython, without a board around it: what ends up as the agent, what as safe mode, and what of an
application. `machine` and the paths are stand-ins; the whole of it, on an emulated board, is in tests/images."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import mpy
from board_process import module_path

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]

# argv: a folder. A reset ends the process; safe mode says what it was given, and ends as when it is time to try again.
START = """
import sys
folder = sys.argv[1]

class Machine:
    PWRON_RESET, cause = 1, 2
    @staticmethod
    def reset():
        print("reset")
        sys.exit(0)
    @staticmethod
    def reset_cause():
        return Machine.cause

sys.modules["machine"] = Machine
from streamline_board import boot, board_main, safe_mode
board_main.CONFIG, board_main.STARTS, board_main.CRASH = folder + "/edge.json", folder + "/starts", folder + "/crash.txt"

def safe(config, reason, network, feed):
    print("SAFE", config.node_id + " " + config.fleet if config else None, reason.replace("\\n", "; "))
    return True

safe_mode.run = safe
"""
RUN = "board_main.run(watchdog_ms=0)\n"


def micropython(folder: Path, text: str, without: tuple[str, ...] = ()) -> str:
    """without: modules that are not in the image."""
    script, modules = folder / "script.py", module_path()
    script.write_text(text)
    if without:
        frozen, _, compiled = modules.rpartition(":")
        shutil.copytree(compiled, folder / "image", dirs_exist_ok=True)
        for name in without:
            (folder / "image" / (name + ".mpy")).unlink()
        modules = "%s:%s" % (frozen, folder / "image")
    command = [str(mpy.find_micropython()), "-X", "heapsize=1m", str(script), str(folder)]
    environment = {"MICROPYPATH": modules + ":%s" % (folder / "lib")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def configure(folder: Path, **more: object) -> None:
    given = {"node_id": "a", "fleet": "f", "data_dir": str(folder / "data"), "local_topics": ["load"], **more}
    (folder / "edge.json").write_text(json.dumps(given))


def starts(folder: Path) -> str:
    return (folder / "starts").read_text() if (folder / "starts").exists() else "none"


def test_without_a_flash_set_apart_records_are_files(tmp_path: Path) -> None:
    configure(tmp_path)
    (tmp_path / "lib").mkdir()
    app = "class Source:\n    def __init__(self, topics):\n        self.n = 0\n    def produce(self, node, now_ms):\n"
    app += "        self.n += 1\n        if self.n > 20:\n            raise KeyboardInterrupt\n"
    (tmp_path / "lib" / "app.py").write_text(app + "        node.produce('load', b'one')\n        return now_ms + 5\n")
    said = micropython(tmp_path, START + "assert boot.log is None\n" + RUN)
    assert "node a runs" in said and "stopped" in said and "SAFE" not in said
    assert sum(path.read_bytes().count(b"one") for path in (tmp_path / "data").rglob("*.seg")) == 20
    assert starts(tmp_path) == "0"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("raise MemoryError", "heap is too small to read it"),
        ("raise OSError(5)", "OSError: [Errno 5] EIO"),
        ("raise RuntimeError('deep')", "RuntimeError: deep"),
    ],
)
def test_a_configuration_that_cannot_be_loaded_is_a_reason_for_safe_mode_and_its_start_was_counted(
    tmp_path: Path, what: str, reason: str
) -> None:
    configure(tmp_path)
    load = "def load(how):\n    print('COUNTED', open(board_main.STARTS).read())\n    %s\nboard_main._load = load\n" % what
    said = micropython(tmp_path, START + load + RUN)
    assert "COUNTED 1" in said and "SAFE None " in said and reason in said, said
    assert "missing" not in said and starts(tmp_path) == "2"  # one more try, and then it was reset


def test_whatever_ends_the_loading_three_times_is_counted_and_tried_no_more_than_that(tmp_path: Path) -> None:
    configure(tmp_path)
    die = "import os\ndef load(how):\n    sys.exit(0)\nboard_main._load = load\n"  # as a watchdog would end it
    for n in "123":
        micropython(tmp_path, START + die + RUN)
        assert starts(tmp_path) == n
    assert "SAFE a f the agent ended 3 times in a row" in micropython(tmp_path, START + RUN)
    power = micropython(tmp_path, START + "Machine.cause = 1\nboard_main._agent = lambda *_: print('AGENT')\n" + RUN)
    assert "AGENT" in power and "SAFE" not in power


def test_a_uart_that_there_is_none_of_is_refused_by_name_and_one_that_is_there_is_opened_once(tmp_path: Path) -> None:
    uart = """
class Uart:
    made = 0
    def __init__(self, number, baudrate, timeout, timeout_char=0, rxbuf=0):
        if number != 1:
            raise ValueError("UART(%d) doesn't exist" % number)
        Uart.made += 1
    def deinit(self):
        pass
Machine.UART = Uart
"""
    configure(tmp_path, cloud_endpoint="serial://7")
    said = micropython(tmp_path, START + uart + RUN)
    assert "SAFE a f cloud_endpoint serial://7: UART(7) doesn't exist" in said and "node a runs" not in said, said
    line = "from streamline_board.serial_stream import Line\nline = Line('serial://1')\nline.check()\n"
    last = "first = line.open()\nassert Uart.made == 1 and isinstance(first, Uart) and line.open() is not first\n"
    micropython(tmp_path, START + uart + line + last)


FULL = """
import os, vfs

class Ram:
    blocks = bytearray(b"\\xff" * 4096 * 16)
    def readblocks(self, block, buf, offset=0):
        buf[:] = self.blocks[block * 4096 + offset : block * 4096 + offset + len(buf)]
    def writeblocks(self, block, buf, offset=0):
        self.blocks[block * 4096 + offset : block * 4096 + offset + len(buf)] = buf
    def ioctl(self, op, arg):
        return {4: 16, 5: 4096}.get(op, 0)

vfs.VfsLfs2.mkfs(Ram())
vfs.mount(vfs.VfsLfs2(Ram()), "/full")
from streamline_board.storage import FileStorage
storage = FileStorage("/full/data")
print("free", storage.free_bytes())
try:
    for n in range(16):
        with open("/full/data/%d" % n, "wb") as file:
            file.write(bytes(5000))
except OSError as error:
    print(error)
print("free", storage.free_bytes())
"""


def test_a_full_file_system_has_no_room_left_rather_than_terabytes(tmp_path: Path) -> None:
    said = micropython(tmp_path, FULL).split("\n")
    assert 0 < int(said[0][5:]) < 65536 and said[1:3] == ["28", "free 0"], said


def test_only_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    said = micropython(tmp_path, START + RUN)
    assert "edge.json is missing" in said and "SAFE" not in said and starts(tmp_path) == "none"


def test_of_a_configuration_that_is_refused_the_link_is_kept(tmp_path: Path) -> None:
    configure(tmp_path, log={"batch_bytes": 70000}, cloud_endpoint="mqtt://192.0.2.1")
    assert "SAFE a f " in (said := micropython(tmp_path, START + RUN)) and "log.batch_bytes" in said
    configure(tmp_path, node_id="not a name", cloud_endpoint="mqtt://192.0.2.1")
    assert "SAFE None " in (said := micropython(tmp_path, START + RUN)) and "node_id" in said
    (tmp_path / "edge.json").write_text("{")
    assert "SAFE None " in (said := micropython(tmp_path, START + RUN)) and "not JSON" in said


@pytest.mark.parametrize(
    ("without", "config", "words"),
    [
        ("streamline_board/link", {"cloud_endpoint": "mqtt://192.0.2.1"}, ("cloud_endpoint mqtt://192.0.2.1", "serial://UART")),
        ("streamline_core/mqtt", {"cloud_endpoint": "mqtts://192.0.2.1", "ca_file": "ca.pem"}, ("cloud_endpoint mqtts://192.0.2.1",)),
        ("streamline_board/serial_link", {"cloud_endpoint": "serial://0"}, ("cloud_endpoint serial://0", "mqtt://HOST")),
        ("streamline_core/tables", {"local_topics": [{"topic": "k", "kind": "keyed"}]}, ("topic k", "keyed")),
        ("streamline_core/downlink", {"sync_topics": [{"topic": "d", "direction": "cloud_to_edge"}]}, ("topic d", "cloud_to_edge")),
    ],
)
def test_what_an_image_was_built_without_is_refused_by_name_and_not_a_crash(
    tmp_path: Path, without: str, config: dict[str, object], words: tuple[str, ...]
) -> None:
    configure(tmp_path, **config)
    said = micropython(tmp_path, START + RUN, (without,))
    assert "SAFE a f " in said and "built without" in said and "crashed" not in said, said
    assert all(word in said for word in words), said
    again = START + "safe_mode.TRY_AGAIN_MS = 300\n" + RUN  # its own safe mode, whose link is not there either
    said = micropython(tmp_path, again.replace("safe_mode.run = safe", ""), (without,))
    assert said.count("safe mode") >= 1 and said.endswith("reset\n"), said
    assert not config.get("cloud_endpoint") or "safe mode without a link: cloud_endpoint" in said, said


def test_a_crash_for_which_there_is_no_memory_to_tell_it_resets_the_board_all_the_same(tmp_path: Path) -> None:
    configure(tmp_path)
    out = "def out(*_):\n    raise MemoryError\nboard_main._crashed = out\nboard_main.Readings = out\n"
    script = START + out + "try:\n    board_main.run(watchdog_ms=0)\nexcept MemoryError:\n    print('escaped')\n"
    assert "reset" in micropython(tmp_path, script) and starts(tmp_path) == "1"


SAFE = """
import sys
from streamline_board import loop, safe_mode
from streamline_board.carrier import Carrier
from streamline_board.configuration import load

class Link(Carrier):
    tries = 0
    def __init__(self, config, node, clock, entropy, poll):
        if sys.argv[1] == "made":
            raise MemoryError
        super().__init__(config, node, clock, entropy, poll, "x")
        self._node.status()
    def _begin(self, now_ms):
        Link.tries += 1
        Link.errors = self._node.memory_errors
        raise MemoryError
    def deadline_ms(self):
        if sys.argv[1] == "asked" and Link.tries == 1:
            Link.tries = 2
            raise MemoryError
        return super().deadline_ms()

loop.link_class = lambda config: Link
safe_mode.TRY_AGAIN_MS = 2500
print(safe_mode.run(load(%r), "a test"), Link.tries)
"""


def test_safe_mode_outlives_whatever_is_wrong_with_its_link(tmp_path: Path) -> None:
    configure(tmp_path, cloud_endpoint="mqtt://192.0.2.1")
    text = (SAFE % str(tmp_path / "edge.json")).replace("raise MemoryError", "raise RuntimeError('deep')").replace("sys.argv[1]", "''")
    said = micropython(tmp_path, text)
    assert "goes on without a link: RuntimeError: deep" in said and said.endswith("True 1\n"), said


@pytest.mark.parametrize("where", ["made", "opened", "asked"])
def test_safe_mode_goes_on_where_there_is_no_memory_for_its_link(tmp_path: Path, where: str) -> None:
    configure(tmp_path, cloud_endpoint="mqtt://192.0.2.1", sync={"retry": {"initial_ms": 50, "max_ms": 400}})
    script = tmp_path / "safe.py"
    script.write_text((SAFE % str(tmp_path / "edge.json")).replace("sys.argv[1]", repr(where)))
    command = [str(mpy.find_micropython()), "-X", "heapsize=1m", str(script)]
    done = subprocess.run(command, env={"MICROPYPATH": module_path()}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    again, tries = done.stdout.split("\n")[-2].split()
    assert again == "True" and (int(tries) > 1 if where != "made" else "no memory for it" in done.stdout)


# What it does with an application at 0, 1 and 20 s, its failures, its error, and how often it was asked in between.
READINGS = """
import sys
sys.path.append(sys.argv[1] + "/lib")
from streamline_board.readings import Readings

readings = Readings(["t"], None)
for at_ms in (0, 1000, 20000):
    due_ms = readings.produce(None, at_ms)
    print("ROW", at_ms, due_ms, readings.failures, readings.error)
"""
MAKE = "class Source:\n    def __init__(self, topics):\n        %s\n    def produce(self, node, now_ms):\n        %s\n"


@pytest.mark.parametrize(
    ("app", "error"),
    [
        ("class Source(:\n", "SyntaxError"),
        ("import nosuch\n" + MAKE % ("pass", "return now_ms + 7"), "ImportError: no module named 'nosuch'"),
        ("x = 1\n", "ImportError"),
        (MAKE % ("raise RuntimeError('gone')", "return 1"), "RuntimeError: gone"),
        (MAKE % ("raise MemoryError", "return 1"), "no memory"),
        (MAKE % ("pass", "pass"), "TypeError: produce returned None"),
        (MAKE % ("pass", "return now_ms + 0.5"), "TypeError: produce returned"),
        (MAKE % ("pass", "return 1 // 0"), "ZeroDivisionError"),
    ],
)
def test_whatever_is_wrong_with_an_application_is_shown_counted_and_tried_again(tmp_path: Path, app: str, error: str) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "app.py").write_text(app)
    said = micropython(tmp_path, READINGS)
    rows = [line.split(" ", 4)[1:] for line in said.splitlines() if line.startswith("ROW")]
    assert [row[:3] for row in rows] == [["0", "10000", "1"], ["1000", "10000", "1"], ["20000", "30000", "2"]], said
    assert all(row[3].startswith(error) for row in rows), said
    assert said.count("the application failed") == 2


def test_no_application_is_silence_and_one_that_gets_well_is_no_longer_told(tmp_path: Path) -> None:
    said = micropython(tmp_path, READINGS)
    assert "failed" not in said and said.splitlines()[0] == "ROW 0 60000 0 "
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "app.py").write_text(
        "import os, sys\nif 'ill' in os.listdir(sys.argv[1]):\n    os.remove(sys.argv[1] + '/ill')\n    raise RuntimeError('ill')\n"
        + MAKE % ("pass", "return now_ms + 7")
    )
    (tmp_path / "ill").touch()
    rows = [line for line in micropython(tmp_path, READINGS).splitlines() if line.startswith("ROW")]
    assert rows == ["ROW 0 10000 1 RuntimeError: ill", "ROW 1000 10000 1 RuntimeError: ill", "ROW 20000 20007 1 "]
