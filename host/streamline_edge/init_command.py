"""`streamline-cli edge init`: the first configuration of a node, asked for or given by options.

Rule: nothing that is there is written over without --force; what is written has been checked. Asks only on a terminal, and only for what
no option gives.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamline_core.errors import UsageError

from .commands import WELL, Arguments, Commands

NEEDED = {"node_id": "--node-id", "topic": "--topic"}
TOPIC_FORM = "NAME[:direction[:kind]]"


def add(commands: Commands) -> None:
    init = commands.add("init", _init, "write the first configuration of a node, with every key explained", agent=False, json=False)
    init.add_argument("--node-id", metavar="ID", help="name of the node")
    init.add_argument("--cloud", metavar="URL", help="broker of the cloud, such as mqtts://broker.example (default: none, offline)")
    init.add_argument(
        "--topic",
        metavar=TOPIC_FORM,
        action="append",
        help="a topic, once for each; direction: edge_to_cloud (the default), cloud_to_edge, bidirectional or local; kind: log or keyed",
    )
    init.add_argument("--profile", metavar="NAME", help="begin with the limits and topics of a kind of device, such as raspberry_pi_zero")
    init.add_argument("--max-storage", metavar="SIZE", help="of everything stored, such as 4GB")
    init.add_argument("--max-memory", metavar="SIZE", help="of the whole process, such as 256MB")
    init.add_argument("--out", metavar="F", default="edge.yaml", help="the file (default: edge.yaml)")
    init.add_argument("--force", action="store_true", help="write over a file that is there")


def _init(arguments: Arguments) -> int:
    from streamline_core.config import EdgeConfig

    from .config_template import template

    out = Path(arguments.out)
    if out.exists() and not arguments.force:
        raise UsageError(f"{out} is there; write another file with --out F, or over it with --force")
    needed = {"node_id": NEEDED["node_id"]} if arguments.profile else NEEDED
    missing = [option for name, option in needed.items() if not getattr(arguments, name)]
    if missing and (sys.stdin is None or not sys.stdin.isatty()):
        raise UsageError(f"nobody can be asked here: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    if missing:
        _ask_all(arguments)
    given = _given(arguments)
    config = EdgeConfig.from_dict(given)
    _write(out, template(given))
    topics = len(config.topics)
    print(f"{out}: node {config.node_id}, {topics} topic{'s' * (topics != 1)}; start it with: streamline --edge --config {out}")
    return WELL


def _given(arguments: Arguments) -> dict[str, Any]:
    """In the shape of edge.yaml. Raises: UsageError."""
    given = _profile(arguments.profile) if arguments.profile else {}
    given["node_id"] = arguments.node_id
    if arguments.cloud:
        given["cloud_endpoint"] = arguments.cloud
    if arguments.topic or not arguments.profile:
        given |= {"sync_topics": [], "local_topics": []}
        for name in ("ingest", "consumers"):
            given.pop(name, None)  # they speak of the topics of the profile
    for text in arguments.topic or ():
        local, topic = _topic(text)
        given["local_topics" if local else "sync_topics"].append(topic)
    limits = {key: _size(value) for key in ("max_memory", "max_storage") if (value := getattr(arguments, key))}
    if limits:
        given["resources"] = {**given.get("resources", {}), **limits}
    return given


def _profile(name: str) -> dict[str, Any]:
    """What the profile of a device says. Raises: UsageError."""
    import yaml

    folder = Path(__file__).parent / "profiles"
    known = sorted(path.parent.name for path in folder.glob("*/limits.conf"))
    if name not in known:
        raise UsageError(f"there is no profile {name!r}; there are: {', '.join(known)}")
    given: dict[str, Any] = yaml.safe_load((folder / name / "edge.yaml").read_text())["edge"]
    return given


def _size(text: str) -> str | int:
    return int(text) if text.isascii() and text.isdigit() else text


def _topic(text: str) -> tuple[bool, dict[str, str]]:
    """Whether it is local, and its entry. Raises: UsageError."""
    words = text.split(":")
    if len(words) > 3:
        raise UsageError(f"topic {text!r} is not {TOPIC_FORM}")
    entry = dict(zip(("topic", "direction", "kind"), words, strict=False))
    local = entry.get("direction") == "local"
    if local:
        del entry["direction"]
    return local, entry


# Asking.


def _ask_all(arguments: Arguments) -> None:
    """Fill in what no option gave."""
    from streamline_core.config_tables import TABLE
    from streamline_core.config_values import read_node_id, read_size, read_url

    from .config_file import host_node_id
    from .config_template import size_text

    sizes: dict[str, tuple[Any, Any]] = {key: (default, allowed) for section, key, _, default, allowed in TABLE if section == "resources"}
    if arguments.node_id is None:
        arguments.node_id = _ask("name of this node", host_node_id(), lambda text: read_node_id(text, None))
    if arguments.cloud is None:
        arguments.cloud = _ask("broker of the cloud, such as mqtts://broker.example", "", lambda text: read_url(text, ()))
    if not arguments.topic and not arguments.profile:
        arguments.topic = _ask(f"topics, each {TOPIC_FORM}", "telemetry", _check_topics).split()
    for key, what in (("max_storage", "storage at the most"), ("max_memory", "memory at the most")):
        if getattr(arguments, key) is None and not arguments.profile:
            default, allowed = sizes[key]
            shown = "" if default is None else str(size_text(default))

            def check(text: str, allowed: tuple[int, int] = allowed) -> object:
                return read_size(_size(text), allowed)

            setattr(arguments, key, _ask(what, shown, check))


def _check_topics(text: str) -> None:
    from streamline_core.config import EdgeConfig

    given: dict[str, Any] = {"node_id": "n", "sync_topics": [], "local_topics": []}
    for word in text.split():
        local, topic = _topic(word)
        given["local_topics" if local else "sync_topics"].append(topic)
    EdgeConfig.from_dict(given)


def _ask(what: str, default: str, check: Callable[[str], object]) -> str:
    """Ask until the answer is well; none means the default, which may be none, too. Raises: UsageError where nobody answers."""
    while True:
        try:
            answer = input(f"{what} [{default or 'none'}]: ").strip() or default
        except EOFError:
            print()
            raise UsageError("the answers ended; nothing was written") from None
        try:
            if answer:
                check(answer)
            return answer
        except (ValueError, UsageError) as e:
            print(f"  {e}")


def _write(out: Path, text: str) -> None:
    """Whole or not at all. Raises: UsageError where it cannot be written."""
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(out)
    except OSError as e:
        beside.unlink(missing_ok=True)
        raise UsageError(f"{out} cannot be written: {e.strerror}") from None
