"""What the deployment guide says of edge-lite, containers and boards can be typed: commands, targets, files; and its JSON is JSON."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from agent_process import ENVIRONMENT
from board_process import ROOT
from streamline_edge import cli

TEXT = (ROOT / "docs" / "DEPLOYMENT.md").read_text()
SECTIONS = ("One static file", "Containers", "A board")


def blocks(title: str) -> list[str]:
    section = TEXT.split("## " + title)[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.S)


def test_every_command_is_one_that_there_is() -> None:
    lines = [shlex.split(line, comments=True) for title in SECTIONS for block in blocks(title) for line in block.splitlines() if line]
    asked = [words[1:] for words in lines if words[0] == "streamline-cli"]
    assert len(asked) == 3
    for words in asked:
        cli.parser().parse_args(words)
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([\w-]+)", "".join(TEXT.split("## " + title)[1].split("\n## ")[0] for title in SECTIONS)):
        assert re.search(r"^%s:" % target, makefile, re.M), target
    stages = set(re.findall(r"^FROM .* AS (\S+)$", (ROOT / "Dockerfile.edge").read_text(), re.M))
    docker = [words for words in lines if words[0] == "docker" and "buildx" in words]
    assert docker and all(words[words.index("--target") + 1] in stages for words in docker)


def test_the_configuration_of_edge_lite_is_made_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("edge:\n  node_id: pi-7\n  cloud_endpoint: mqtt://192.0.2.1\n  sync_topics: [sensors]\n")
    (tmp_path / "streamline-cli").write_text('#!/bin/sh\nexec "%s" -m streamline_edge.cli "$@"\n' % sys.executable)
    (tmp_path / "streamline-cli").chmod(0o755)
    environment = ENVIRONMENT | {"PATH": "%s:%s" % (tmp_path, ENVIRONMENT["PATH"])}
    script = ["sh", "-e", "-c", blocks(SECTIONS[0])[0]]
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    given = json.loads((tmp_path / "edge.json").read_text())
    assert given["data_dir"] == "/var/lib/streamline" and given["node_id"] == "pi-7"


def test_the_unit_names_the_files_that_the_guide_puts_in_place() -> None:
    unit = (ROOT / "boards" / "systemd" / "streamline-edge-lite.service").read_text()
    install = blocks(SECTIONS[0])[1]
    assert "/usr/local/bin/streamline-edge-lite" in unit and "streamline-edge-lite /usr/local/bin/" in install
    assert "/etc/streamline/edge.json" in unit and "/etc/streamline/edge.json" in install
    assert "User=streamline\n" in unit and "useradd --system" in install
