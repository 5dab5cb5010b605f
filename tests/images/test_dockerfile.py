"""Dockerfile.edge, without an engine: its RUN steps in a clean copy of what the build would be sent, and its scratch stage as a root that
holds nothing but what the stage copies: with names, TLS and a real broker."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser

import toolchain
from board_process import ROOT, serve, stored, until
from certificates import Authority, listener
from free_ports import free_port
from mosquitto import MISSING, Mosquitto, find_mosquitto
from streamline_edge import cli

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

FILE = ROOT / "Dockerfile.edge"
BUILD_SECS = 800
NAME = "broker.example"  # known only to /etc/hosts of the container
ARCHITECTURES = {"arm/v6": "ARM", "arm/v7": "ARM", "arm64/": "AArch64", "amd64/": "X86-64"}


@cache
def stages() -> dict[str, list[dict[str, Any]]]:
    """The instructions of each stage, by its name."""
    found: dict[str, list[dict[str, Any]]] = {"": []}
    stage = ""
    for row in DockerfileParser(fileobj=FILE.open("rb")).structure:
        if row["instruction"] == "FROM":
            stage = row["value"].split()[-1]
            found[stage] = []
        if row["instruction"] != "COMMENT":
            found[stage].append(row)
    return found


def values(stage: str, instruction: str) -> list[str]:
    return [row["value"] for row in stages()[stage] if row["instruction"] == instruction]


@pytest.fixture(scope="module")
def tools() -> None:
    """What the builder's stage builds with, and would be given by its packages."""
    known = json.loads((ROOT / "boards" / "edge_lite" / "board.json").read_text())["image"]["architectures"]
    try:
        toolchain.micropython()
        for arch in ("x86_64", "armv6"):
            toolchain.need(known[arch].get("cross", "") + "gcc", *known[arch]["packages"])
    except toolchain.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the build would be sent: the committed and changed files that .dockerignore lets through."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    wanted = [rule[1:] for rule in rules if rule.startswith("!")]
    assert all((ROOT / name).exists() for name in wanted)
    target = tmp_path_factory.mktemp("context") / "src"
    for name in listed:
        if name.split("/")[0] in wanted and (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    return target


def run_steps(stage: str, folder: Path, **variables: str) -> None:
    """Each RUN of a stage as the shell would run it, but those that install packages of Debian."""
    for step in values(stage, "RUN"):
        if not step.startswith("apt-get"):
            environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
            done = subprocess.run(
                ["/bin/sh", "-c", step], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=BUILD_SECS, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout[-3000:]


@pytest.fixture(scope="module")
def python_with_rich(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As the package python3-rich of Debian makes python3: what `make edge-lite` prints its table with."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "python3").write_text('#!/bin/sh\nexec %s "$@"\n' % shlex.quote(sys.executable))
    (folder / "python3").chmod(0o755)
    return "%s:%s" % (folder, os.environ["PATH"])


def build(context: Path, path: str, arch: str, variant: str = "") -> Path:
    """The builder's stage for an architecture, once. Returns what is copied from there."""
    kept = context.with_name("out-%s%s" % (arch, variant))
    if not kept.exists():
        shared = ROOT / "build" / "toolchain"
        shared.mkdir(parents=True, exist_ok=True)
        (context / "build").mkdir(exist_ok=True)
        if not (context / "build" / "toolchain").exists():
            (context / "build" / "toolchain").symlink_to(shared)  # the sources, fetched once
        shutil.rmtree(context / "out", ignore_errors=True)
        run_steps("builder", context, TARGETARCH=arch, TARGETVARIANT=variant, PATH=path)
        shutil.copytree(context / "out", kept)
    return kept


@pytest.mark.parametrize("target", ["arm/v6", "amd64/"])
def test_the_builder_makes_a_static_file_for_the_architecture(tools: None, context: Path, python_with_rich: str, target: str) -> None:
    arch, _, variant = target.partition("/")
    program = build(context, python_with_rich, arch, variant) / "streamline-edge-lite"
    said = subprocess.run(["readelf", "-hl", str(program)], capture_output=True, text=True, check=True).stdout
    machine = re.search(r"Machine:\s+(.*)", said)
    assert machine and ARCHITECTURES[target] in machine[1] and "INTERP" not in said and program.stat().st_size <= 2_621_440


def test_an_architecture_that_there_is_none_of_is_named(context: Path) -> None:
    step = next(step for step in values("builder", "RUN") if "TARGETARCH" in step)
    done = subprocess.run(
        ["/bin/sh", "-c", step], cwd=context, env={"PATH": os.environ["PATH"], "TARGETARCH": "riscv64", "TARGETVARIANT": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "no edge-lite for linux/riscv64" in done.stderr


def test_every_architecture_of_the_board_has_its_word_in_the_builder() -> None:
    step = next(step for step in values("builder", "RUN") if "TARGETARCH" in step)
    board = json.loads((ROOT / "boards" / "edge_lite" / "board.json").read_text())
    assert set(re.findall(r"arch=(\w+)", step)) == set(board["image"]["architectures"])


def test_nothing_runs_as_root_and_the_health_check_can_be_typed() -> None:
    assert values("edge-lite", "FROM") == ["scratch AS edge-lite"] and not values("edge-lite", "RUN")
    assert values("edge-lite", "USER") == ["65532:65532"] and values("edge", "USER") == ["streamline"]
    for stage in ("edge-lite", "edge"):
        assert values(stage, "ENTRYPOINT") and values(stage, "CMD") and values(stage, "VOLUME")
    check = values("edge", "HEALTHCHECK")[0]
    words = json.loads(check[check.index("[") :])
    assert words[0] == "streamline-cli"
    cli.parser().parse_args(words[1:])


@pytest.fixture
def container(tools: None, context: Path, python_with_rich: str, tmp_path: Path) -> Iterator[Path]:
    """The scratch stage as a root: what it copies, and what an engine adds (/etc/hosts)."""
    out, root = build(context, python_with_rich, "amd64"), tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    for line in values("edge-lite", "COPY"):
        source, target = [word for word in line.split() if not word.startswith("--")]
        path = out / Path(source).relative_to("/src/out")
        if path.is_dir():
            shutil.copytree(path, root / target[1:])
            os.chown(root / target[1:], 65532, 65532)
        else:
            shutil.copy2(path, root / target[1:])
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n127.0.0.1 %s\n" % NAME)
    tmp_path.chmod(0o755)
    yield root


def start(root: Path, lines: bytes) -> "subprocess.Popen[bytes]":
    command = json.loads(values("edge-lite", "ENTRYPOINT")[0]) + json.loads(values("edge-lite", "CMD")[0])
    chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin")
    assert chroot is not None
    words = [chroot, "--userspec=" + values("edge-lite", "USER")[0], str(root), *command, "--lines", "logs", "--status"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={})
    assert process.stdin is not None
    process.stdin.write(lines)
    process.stdin.flush()
    return process


def configure(root: Path, port: int, authority: Authority) -> None:
    given = {
        "node_id": "edge-1", "data_dir": "/data", "cloud_endpoint": "mqtts://%s:%d" % (NAME, port), "ca_file": "ca.pem",
        "sync_topics": ["logs"], "sync": {"retry": {"initial_ms": 50, "max_ms": 400}},
    }  # fmt: skip
    (root / "edge.json").write_text(json.dumps(given))
    shutil.copy(authority.ca, root / "ca.pem")


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
@pytest.mark.skipif(find_mosquitto() is None, reason=MISSING)
def test_the_scratch_stage_resolves_names_speaks_tls_and_syncs(container: Path, tmp_path: Path) -> None:
    authority, port, store = Authority(tmp_path / "ca"), free_port(), tmp_path / "cloud.db"
    configure(container, port, authority)
    broker = Mosquitto(tmp_path, options=["listener %d 127.0.0.1" % port, *listener(authority.issue(NAME))])
    broker.start()
    bridge, process = serve(broker.port, store), start(container, b"one\ntwo\n")
    try:
        until(lambda: len(stored(store)) == 2)
        process.terminate()  # as an engine stops it
        assert process.wait(60) == 0
    finally:
        for running in (process, bridge):
            running.kill()
            running.wait()
        broker.kill()
    assert stored(store) == [b"one", b"two"]
    assert {path.stat().st_uid for path in (container / "data").rglob("*")} == {65532}
    assert sorted(path.name for path in container.iterdir()) == ["ca.pem", "data", "edge.json", "etc", "streamline-edge-lite"]


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
@pytest.mark.skipif(find_mosquitto() is None, reason=MISSING)
def test_the_scratch_stage_refuses_another_broker_and_keeps_what_it_has(container: Path, tmp_path: Path) -> None:
    authority, port = Authority(tmp_path / "ca"), free_port()
    configure(container, port, authority)
    broker = Mosquitto(tmp_path, options=["listener %d 127.0.0.1" % port, *listener(authority.issue("another.example"))])
    broker.start()
    process = start(container, b"one\n")
    try:
        said, status = process.stdout, {}
        assert said is not None
        while "TLS: " not in status.get("why", "") or not status["streams"][0]["produced"]:
            line = said.readline()
            assert line, "it has ended"
            status = json.loads(line) if line.startswith(b"{") else {}
        (row,) = status["streams"]
        assert row["produced"] == 1 and row["pending"] == 1 and status["state"] != "open"
    finally:
        process.kill()
        process.wait()
        broker.kill()


def test_the_wheel_of_the_other_target_holds_the_agent_and_installs(context: Path, tmp_path: Path) -> None:
    path = "%s:%s" % (Path(sys.executable).parent, os.environ["PATH"])
    shutil.rmtree(context / "out", ignore_errors=True)
    run_steps("wheel", context, PATH=path)
    wheels = list((context / "out").glob("*.whl"))
    assert len(wheels) == 1
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheels[0])]
    subprocess.run(install, check=True, timeout=200)
    words = json.loads(values("edge", "ENTRYPOINT")[0])
    assert words == ["streamline", "--edge"] and (target / "bin" / "streamline").exists()
    done = subprocess.run(
        [sys.executable, str(target / "bin" / "streamline-cli"), "edge", "config", "show"], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(target)}, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "node_id" in done.stdout, done.stderr
    where = subprocess.run(
        [sys.executable, "-c", "import streamline_edge; print(streamline_edge.__file__)"], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(target)}, timeout=60, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(target))
