"""What holds for every command of `streamline-cli edge`, without an agent."""

import re
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent_process import ENVIRONMENT
from streamline_edge import cli, command_examples

SLOW = {"asyncio", "paho", "psutil", "rich", "streamline_core.node", "streamline_edge.agent", "ujson", "yaml"}


def test_the_command_line_starts_without_what_only_some_commands_need() -> None:
    code = "import sys; from streamline_edge import cli; cli.parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "streamline_edge.cli" in loaded and not SLOW & loaded


def script(shell: str) -> str:
    command = [sys.executable, "-m", "streamline_edge.cli", "edge", "completion", shell]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout


def completed(line: str) -> list[str]:
    """What a real bash offers for the last word of the line."""
    words = line.split(" ")
    asking = f"""
COMP_WORDS=({" ".join(repr(word) for word in words)}) COMP_CWORD={len(words) - 1} COMPREPLY=()
$(complete -p streamline-cli | sed 's/.*-F *\\([^ ]*\\).*/\\1/') streamline-cli {words[-1]!r} {words[-2]!r}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    bash = ["bash", "--norc", "-c", script("bash") + asking]
    return subprocess.run(bash, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes_commands_and_their_words() -> None:
    assert completed("streamline-cli ed") == ["edge"]
    assert completed("streamline-cli edge sy") == ["sync"]
    assert completed("streamline-cli edge config ch") == ["check"]
    assert completed("streamline-cli edge sync pa") == ["pause"]
    assert completed("streamline-cli edge consume --fo") == ["--follow"]


def test_other_shells_have_a_script_that_knows_the_commands() -> None:
    for shell in ("zsh", "fish"):
        assert {"conflicts", "completion", "export"} <= set(re.findall(r"[\w-]+", script(shell)))


def test_every_command_says_how_it_is_used_and_how_it_ends() -> None:
    found = list(command_examples.commands(cli.parser()))
    names = [command_examples.name_of(command) for command in found]
    assert set(names) == set(command_examples.EXAMPLES) and set(command_examples.CODES) <= set(names)
    for name, command in zip(names, found, strict=True):
        text = command.format_help()
        assert all(f"\n  {example}\n" in text for example in command_examples.EXAMPLES[name]), name
        assert ("exit codes: " in text) == (name not in command_examples.NO_CODES), name


def test_the_examples_are_what_one_can_type() -> None:
    for name, examples in command_examples.EXAMPLES.items():
        assert 1 <= len(examples) <= 2
        for example in examples:
            words = shlex.split(example)
            start = words.index("streamline-cli") + 1
            end = next((i for i, word in enumerate(words) if word in ("|", "||", "&&", "<", ">") and i > start), len(words))
            arguments = words[start:end]
            cli.parser().parse_args(arguments)
            assert not name or " ".join(arguments).removeprefix("edge ").startswith(name), example
            assert subprocess.run(["sh", "-n", "-c", example]).returncode == 0


def test_a_data_directory_that_takes_no_byte_is_told_in_one_line(tmp_path: Path) -> None:
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    command = [sys.executable, "-m", "streamline_edge", "--data-dir", str(tmp_path / "d")]
    done = subprocess.run(command, env=ENVIRONMENT, cwd=tmp_path, preexec_fn=no_room, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.startswith(f"streamline: data directory {tmp_path}/d: File too large; ")
    assert done.stderr.count("\n") == 1


def shell(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """`line` in a real shell, in which `edge` and `board` are those commands."""
    names = "".join(f'{name}() {{ "{sys.executable}" -m streamline_edge.cli {name} "$@"; }}\n' for name in ("edge", "board"))
    return subprocess.run(["sh", "-c", names + line], env=ENVIRONMENT, cwd=folder, capture_output=True, text=True, timeout=60)


def test_a_port_of_no_known_kind_is_told_in_one_line(tmp_path: Path) -> None:
    done = shell("board info --port foo://", tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("streamline-cli: --port foo://: invalid URL, protocol 'foo' not known")


def test_closed_standard_input_is_told_in_one_line(tmp_path: Path) -> None:
    for line in ("edge produce orders <&-", "edge set settings k - <&-"):
        done = shell(line, tmp_path)
        assert done.returncode == 2 and done.stderr.startswith("streamline-cli: standard input is closed; ")
        assert done.stderr.count("\n") == 1


def test_who_finds_no_agent_is_told_how_to_start_that_one(tmp_path: Path) -> None:
    (tmp_path / "my edge.yaml").write_text("node_id: n\ndata_dir: d\n")
    for line, starter in (
        ("edge status --config 'my edge.yaml'", "streamline --edge --config 'my edge.yaml'"),
        ("edge status --config 'my edge.yaml' --data-dir e", "streamline --edge --config 'my edge.yaml' --data-dir e"),
        ("edge status --data-dir e", f"streamline --edge --data-dir {tmp_path}/e"),
    ):
        done = shell(line, tmp_path)
        assert done.returncode == 3 and done.stderr.endswith(f"; start one with: {starter}\n"), done


def test_what_no_node_can_be_asked_from_afar_is_answered_with_what_can(tmp_path: Path) -> None:
    done = shell("edge --node n2 top", tmp_path)
    assert done.returncode == 2 and "What can be asked: status, ledger, health, " in done.stderr and done.stderr.endswith(", sync status\n")
