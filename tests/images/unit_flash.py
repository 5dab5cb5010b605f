"""A flash for the image that runs unit tests: the tests as bytecode, the files that they read, and which of them are to run."""

import subprocess
from pathlib import Path

from littlefs import LittleFS

import toolchain

ROOT = Path(__file__).resolve().parents[2]
BLOCK_BYTES, BLOCKS = 4096, 1024
HEAP_BYTES = 12 << 20  # of the PSRAM, before the flash: boards/qemu_mps2_an385/board.h
MODULES = (*sorted((ROOT / "tests" / "unit").glob("*.py")), ROOT / "tests" / "crash" / "nor_flash.py")
EXAMPLES = (ROOT / "docs" / "FORMAT.md", ROOT / "docs" / "examples" / "merge" / "union_of_lines.py")
READ = (*sorted((ROOT / "tests" / "vectors").glob("*.json")), *EXAMPLES)


def compiled(folder: Path) -> list[Path]:
    """Every module of the tests as .mpy in `folder`."""
    program = toolchain.mpy_cross(toolchain.micropython())
    for source in MODULES:
        subprocess.run([program, "-s", source.name, "-o", folder / (source.stem + ".mpy"), source], check=True, timeout=60)
    return sorted(folder.glob("*.mpy"))


def write(path: Path, modules: list[Path], which: list[str]) -> None:
    """The file that the emulator takes for the PSRAM."""
    files = LittleFS(block_size=BLOCK_BYTES, block_count=BLOCKS)
    content = {"/tests/unit/" + module.name: module.read_bytes() for module in modules}
    content |= {"/" + str(file.relative_to(ROOT)): file.read_bytes() for file in READ}
    content["/which.txt"] = " ".join(which).encode()
    for name, data in content.items():
        files.makedirs(name.rpartition("/")[0] or "/", exist_ok=True)
        with files.open(name, "wb") as file:
            file.write(data)
    path.write_bytes(bytes(HEAP_BYTES) + bytes(files.context.buffer))
