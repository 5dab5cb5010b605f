"""The core's unit tests once more, on the emulated Cortex-M3: one test here for each file of tests/unit."""

import time
from pathlib import Path

import pytest
import unit_flash

import board_image
import toolchain
from emulator import Emulator

FILE_SECS = 900
HERE = Path(__file__).resolve().parent
BOARD = "qemu_mps2_an385"

pytestmark = pytest.mark.image


@pytest.fixture(scope="session")
def image() -> board_image.Image:
    try:
        toolchain.need("qemu-system-arm", "qemu-system-arm")
        with board_image.alone():
            return board_image.build_qemu(board_image.load_board(BOARD), None, [], HERE / "unit_manifest.py")
    except toolchain.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def modules(image: board_image.Image, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return unit_flash.compiled(tmp_path_factory.mktemp("unit"))


@pytest.mark.timeout(FILE_SECS + 60)
@pytest.mark.parametrize("name", [path.stem for path in unit_flash.MODULES if path.stem.startswith("test_")])
def test_file(name: str, image: board_image.Image, modules: list[Path], tmp_path: Path) -> None:
    board = Emulator(board_image.load_board(BOARD), image.path, tmp_path)
    unit_flash.write(board.flash, modules, [name])
    try:
        board.start()
        deadline = time.monotonic() + FILE_SECS
        while "\nEND " not in board.console.replace("\r", "") and board.running and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        board.kill()
    said = board.console.replace("\r", "")
    assert "\nEND 0\n" in said, said[-5000:]
    assert any(line.startswith(("PASS ", "SKIP ")) for line in said.splitlines()), "no test ran:\n" + said
