"""What the README says one can type works as it stands there."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BIN = str(Path(sys.executable).parent)


def blocks(language: str, section: str) -> list[str]:
    part = README.split("## " + section)[1].split("\n## ")[0]
    return re.findall(r"```%s\n(.*?)```" % language, part, re.S)


def environment() -> dict[str, str]:
    return os.environ | {"PATH": BIN + os.pathsep + os.environ["PATH"], "PYTHONUNBUFFERED": "1"}


def test_the_three_terminals_of_the_readme(tmp_path: Path, free_port) -> None:
    """Its port is replaced by a free one and its `activate` by PATH; all else is as written."""
    port = free_port()
    texts = [
        text.replace("127.0.0.1:1883", "127.0.0.1:%d" % port).replace(". .venv/bin/activate\n", "") for text in blocks("sh", "Use it")
    ]
    assert len(texts) == 3
    processes = []
    try:
        for text in texts[:2]:
            # A shell of its own group, so that what it started can be ended with it.
            processes.append(subprocess.Popen(["sh", "-ec", text], cwd=tmp_path, env=environment(), start_new_session=True))
            if len(processes) == 1:
                wait_for_port(port)
        control = tmp_path / "edge-data" / "control.sock"
        deadline = time.monotonic() + 60
        while not control.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        lines = texts[2].strip().splitlines()
        typed(lines[0], tmp_path)
        wait_until_delivered(tmp_path, 1000)
        typed(lines[0], tmp_path)
        printed = [typed(line, tmp_path) for line in lines[1:]]
        assert printed[1].split() == [str(i) for i in range(1, 1001)]
        assert "1000" in printed[0].replace(",", "") and "1000" in printed[2].replace(",", "")
    finally:
        for process in processes:
            os.killpg(process.pid, 15)
        for process in processes:
            process.wait(60)


def typed(line: str, folder: Path) -> str:
    done = subprocess.run(["sh", "-ec", line], cwd=folder, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nobody listens on port %d" % port)


def wait_until_delivered(folder: Path, count: int) -> None:
    command = [BIN + "/streamline-cloud", "read", "pos.transactions", "--store", "sqlite:///cloud.db"]
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if done.stdout.count(b"\n") == count:
            return
        time.sleep(0.2)
    raise AssertionError("the records did not arrive")


def test_the_tools_of_the_configuration_guide(tmp_path: Path) -> None:
    """Line by line, as one would type them."""
    text = (ROOT / "docs/CONFIGURATION.md").read_text().split("## Tools for it")[1]
    (script,) = re.findall(r"```sh\n(.*?)```", text, re.S)
    printed = [typed(line, tmp_path) for line in script.strip().splitlines()]
    assert printed[0].startswith("edge.yaml: node edge-7, 2 topics") and printed[1] == "edge.yaml: well: node edge-7, 2 topics\n"
    assert printed[2].split() == ["sync.interval_secs", "30", "STREAMLINE_EDGE_SYNC__INTERVAL_SECS"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["board.json", "edge.schema.json", "edge.yaml", "streamline-cli.bash"]


def test_the_python_example_of_the_readme(tmp_path: Path) -> None:
    (text,) = blocks("python", "Use it")
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 b'kitchen' b'21.5'\n1 None b'21.6'\n2 None b'21.7'\n"


def test_every_path_and_make_target_that_the_documents_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for name in ("README.md", "CONTRIBUTING.md", "docs/ARCHITECTURE.md"):
        text = (ROOT / name).read_text()
        for target in re.findall(r"`make ([a-z-]+)", text):
            assert re.search(r"^%s:" % target, makefile, re.M), (name, target)
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / name).parent.joinpath(link).exists(), (name, link)
        for path in re.findall(r"`((?:shared|host|firmware|boards|tools|tests|docs)/[\w./-]*)`", text):
            assert (ROOT / path).exists(), (name, path)


def test_the_configuration_guide_names_every_key_and_its_example_is_accepted(tmp_path: Path) -> None:
    from streamline_core import config_tables
    from streamline_edge import config_file

    text = (ROOT / "docs/CONFIGURATION.md").read_text()
    for section, key, *_ in config_tables.TABLE:
        assert "`%s`" % (section + "." + key if section else key) in text, (section, key)
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    path = tmp_path / "edge.yaml"
    path.write_text(example)
    assert config_file.load(path).topics["pos.transactions"].partitions == 4
