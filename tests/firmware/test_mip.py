"""Installing without building: `mip`, MicroPython's own and mpremote's, take build/mpy/package.json, and what they have put there runs."""

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import mpy
from board_on_pty import FALLS, PtyBoard
from board_process import ROOT, Board, serve, stored, until
from mosquitto import Mosquitto
from streamline_edge.board_port import BoardPort

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None or not mpy.available(), reason="MicroPython or mpy-cross is not installed"),
    FALLS,
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """build/mpy behind a web server of this machine."""
    _, errors = mpy.build()
    assert not errors, errors

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(mpy.OUT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "http://127.0.0.1:%d/package.json" % server.server_port
        server.shutdown()


def micropython(*words: str, path: Path) -> "subprocess.CompletedProcess[str]":
    program = mpy.find_micropython()
    assert program is not None
    environment = os.environ | {"MICROPYPATH": ".frozen:%s" % path}
    return subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=100, check=False)


def runs_and_delivers(lib: Path, mosquitto: Mosquitto, folder: Path) -> None:
    done = micropython("-m", "streamline_board", "--version", path=lib)
    assert done.returncode == 0 and done.stdout.strip() == "streamline_board " + mpy.package()["version"], done.stdout + done.stderr
    board, store = Board(folder, mosquitto.port), folder / "cloud.db"
    board.path = ".frozen:%s" % lib
    bridge = serve(mosquitto.port, store)
    try:
        status = board.run("--lines", "logs", "--until-drained", lines=b"one\ntwo\n")
    finally:
        bridge.kill()
        bridge.wait()
    assert stored(store) == [b"one", b"two"] and status["streams"][0]["delivered"] == 2


def test_mip_of_micropython_installs_over_http_and_it_runs(url: str, mosquitto: Mosquitto, tmp_path: Path) -> None:
    lib = tmp_path / "lib"
    lib.mkdir()
    have = micropython("-c", "import mip", path=lib)
    if have.returncode:
        pytest.skip("this MicroPython has no mip")
    done = micropython("-c", "import mip; mip.install(%r, target=%r)" % (url, str(lib)), path=lib)
    assert done.returncode == 0 and "Done" in done.stdout, done.stdout + done.stderr
    assert sorted(str(path.relative_to(lib)) for path in lib.rglob("*.mpy")) == sorted(to for to, _ in mpy.package()["urls"])
    runs_and_delivers(lib, mosquitto, tmp_path)


@pytest.mark.parametrize("over_http", [True, False], ids=["http", "folder"])
def test_mpremote_installs_onto_a_board(url: str, tmp_path: Path, over_http: bool) -> None:
    """The board is a stand-in (see board_on_pty), with as much room as MicroPython leaves on a Raspberry Pi Pico W. Its own
    modules are not looked at: what mpremote has put into a folder is."""
    pytest.importorskip("mpremote", reason="mpremote is not installed")
    with PtyBoard(tmp_path, heap="2m", files_bytes=848 << 10) as board:
        source = url if over_http else str(mpy.OUT / mpy.PACKAGE)
        words = [sys.executable, "-m", "mpremote", "connect", board.port, "resume"]
        done = subprocess.run(
            [*words, "mip", "install", "--target", "/new", source], capture_output=True, text=True, timeout=100, check=False,
            env=os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [
            "import sys", "sys.path[:] = ['/new', '.frozen']",
            "[sys.modules.pop(name) for name in list(sys.modules) if name.startswith('streamline')]",
            "import streamline_core", "from streamline_board.main import main", "main(['--version'])", "print(streamline_core.__file__)",
        ]  # fmt: skip
        done = subprocess.run([*words, "exec", "\n".join(lines)], capture_output=True, text=True, timeout=100, check=False)
    said = ["streamline_board", mpy.package()["version"], "/new/streamline_core/__init__.mpy"]
    assert done.stdout.split() == said, done.stdout + done.stderr


def test_a_stock_board_runs_what_was_installed_by_the_main_py_of_the_manual_and_logs_to_files(tmp_path: Path) -> None:
    """And three starts that end too soon are safe mode there, too; power that comes begins anew."""
    pytest.importorskip("mpremote", reason="mpremote is not installed")
    manual = (ROOT / "docs" / "DEPLOYMENT.md").read_text()
    main = manual.partition("```python\n")[2].partition("```")[0]
    assert main.count("\n") == 2
    config = {"node_id": "stock-1", "data_dir": "/data", "local_topics": ["load"], "frame_bytes_max": 2048}
    config |= {"log": {"segment_bytes": 4096, "batch_bytes": 512}, "resources": {"max_storage": 65536}}
    app = "class Source:\n    def __init__(self, topics):\n        pass\n    def produce(self, node, now_ms):\n"
    app += "        node.produce('load', b'one')\n        return now_ms + 20\n"
    dies = "import streamline_core.node\ndef tick(self):\n    raise RuntimeError('broken')\nstreamline_core.node.Node.tick = tick\n"
    files = {"main.py": main, "edge.json": json.dumps(config), "app.py": app, "dies.py": dies + app}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with PtyBoard(tmp_path, heap="2m", files_bytes=848 << 10, stock=True) as board:
        words = [sys.executable, "-m", "mpremote", "connect", board.port, "resume"]

        def mpremote(*more: str) -> str:
            BoardPort(board.port).interrupt()
            done = subprocess.run([*words, *more], capture_output=True, text=True, timeout=100, check=False)
            assert done.returncode == 0, done.stdout + done.stderr + board.console[-2000:]
            return done.stdout

        mpremote("mip", "install", str(mpy.OUT / mpy.PACKAGE))
        for name in ("edge.json", "app.py", "main.py"):
            mpremote("fs", "cp", str(tmp_path / name), ":/" + name)
        BoardPort(board.port).restart()
        until(lambda: "node stock-1 runs" in board.console)
        time.sleep(1)
        find = "import os\ndef go(path):\n for row in os.ilistdir(path):\n  at = path + '/' + row[0]\n"
        find += "  go(at) if row[1] == 0x4000 else print(at, row[3])\ngo('/data')"
        kept = mpremote("exec", find)
        sizes = [int(line.split()[1]) for line in kept.splitlines() if ".seg" in line]
        assert sum(sizes) > 0, kept
        assert "crashed" not in board.console
        mpremote("fs", "cp", str(tmp_path / "dies.py"), ":/app.py")
        BoardPort(board.port).restart()
        until(lambda: "safe mode" in board.console)
        assert board.console.count("the agent crashed") == 3 and "broken" in board.console.partition("safe mode")[2]
        runs = board.console.count("node stock-1 runs")
        board.cut_power()
        until(lambda: board.console.count("node stock-1 runs") > runs)


def test_the_package_is_what_images_are_made_of() -> None:
    """Nothing of the cloud's side, no types; every entry is there, and relative, so that a folder can be served or copied as it is."""
    package = mpy.package()
    names = {to for to, _ in package["urls"]}
    assert all(to == source and not source.startswith(("/", "http")) for to, source in package["urls"])
    assert {"streamline_board/main.mpy", "streamline_board/flash_storage.mpy", "streamline_core/node.mpy"} <= names
    assert not [name for name in names if "/hub" in name or name.endswith("/ports.mpy") and "core" in name]
    assert json.loads((mpy.OUT / mpy.PACKAGE).read_text()) == package and all((mpy.OUT / name).exists() for name in names)
