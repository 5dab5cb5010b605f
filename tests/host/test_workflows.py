"""The workflows of .github: they are what GitHub takes, leave no door open, and call what is there."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import toolchain
from board_process import ROOT

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def scripts() -> str:
    """All that is run."""
    steps = [step for path in FILES for job in read(path)["jobs"].values() for step in job.get("steps", ())]
    return "\n".join([step["run"] for step in steps if "run" in step])


def test_github_would_take_them() -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, FILES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_audit_finds_nothing() -> None:
    beside = Path(sys.executable).parent / "zizmor"
    zizmor = str(beside) if beside.exists() else shutil.which("zizmor")
    if zizmor is None:
        pytest.skip("zizmor is not installed: there is none for this platform")
    command = [zizmor, "--offline", "--config", str(ROOT / ".github" / "zizmor.yml"), str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0 and "No findings" in done.stdout + done.stderr, done.stdout + done.stderr


def test_what_they_call_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^\s*make (\w[\w-]*)", scripts(), re.M))
    assert {"setup", "edge-lite", "firmware", "mpy", "test-firmware"} <= targets
    assert all(re.search(r"^%s:" % target, makefile, re.M) for target in targets)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100 and ".ci/run" in scripts()


def test_every_architecture_and_every_board_that_can_be_built_there_is_built() -> None:
    jobs = read(FOLDER / "images.yml")["jobs"]
    board = json.loads((ROOT / "boards" / "edge_lite" / "board.json").read_text())
    assert set(jobs["edge-lite"]["strategy"]["matrix"]["arch"]) == set(board["image"]["architectures"])
    rows = jobs["boards"]["strategy"]["matrix"]["include"]
    built = {row["board"]: row["file"] for row in rows}
    upstream = {row["board"]: row.get("upstream") for row in rows}
    for path in (ROOT / "boards").glob("*/board.json"):
        given = json.loads(path.read_text())
        if given.get("image", {}).get("port") in ("qemu", "rp2"):  # esp32 needs an SDK of 3 GB
            assert built.pop(given["name"]) == given["image"]["program"]
            # What Debian's packages lack is upstream's, as the build itself says (toolchain.rp2_sources).
            assert upstream[given["name"]] == (given["image"]["upstream_board"] if given["image"].get("submodules") else None)
    assert not built
    (step,) = [step for step in jobs["boards"]["steps"] if step.get("if") == "matrix.upstream"]
    assert "git clone --depth 1 -b v%s " % toolchain.VERSION in step["run"] and 'BOARD="$UPSTREAM" submodules' in step["run"]
    assert "matrix.upstream" in jobs["boards"]["env"]["MICROPYTHON_DIR"] and '"$MICROPYTHON_DIR"' in step["run"]
