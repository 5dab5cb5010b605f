"""`streamline-cli board …`: a board at the end of a port asked what it is, and given its first configuration.

Rule: what a board would not take, or could not bear, is refused before anything is written. The files that a configuration names get names
there that no other configuration uses, and the configuration takes its own last: what is cut off before that leaves the board with the old
one and the old one's files (only WiFi's, which belongs to none, is exchanged just before). Secrets are files that go from here to there;
nothing of them is shown. Whatever is refused, the board runs afterwards what it ran before.
"""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamline_core.errors import UsageError

from . import board_needs
from .commands import DEGRADED, WELL, Arguments, Commands, show

if TYPE_CHECKING:
    from .board_facts import BoardFacts
    from .board_port import BoardPort
    from .config_reading import Reading

CONFIG, WIFI = "/edge.json", "/wifi.json"  # on the board
STARTS_SECS = 30
SAID_LINES_MAX = 20
# As firmware/streamline_board/board_main.py and safe_mode.py say it.
RUNS, SAFE_MODE = "streamline: node %s runs,", "streamline: safe mode"
# What a board keeps itself, or is its program: no file of a configuration is called so. data_dir is as the core's default has it.
OWN = ("main.py", "boot.py", "app.py", "starts", "crash.txt", "edge.json", "wifi.json", "lib", "streamline-data")
PORT_HELP = "its serial port, such as /dev/ttyACM0, or socket://HOST:PORT"
# As firmware/streamline_board/wifi.py has them.
WIFI_KEYS = ("ssid", "password", "country", "hostname", "time_server")
OnBoard = tuple[str, Path]  # what it is called there, and the file here
SSID_BYTES_MAX, PASSWORD_CHARS = 32, (8, 63)


def add(commands: Commands) -> None:
    info = commands.add("info", _info, "what the board is: memory, flash, what runs on it; its agent starts anew", agent=False)
    info.add_argument("--port", metavar="PORT", required=True, help=PORT_HELP)
    provision = commands.add("provision", _provision, "give a board its configuration, and wait until it runs", agent=False)
    provision.add_argument("--port", metavar="PORT", required=True, help=PORT_HELP)
    provision.add_argument("--config", metavar="F", required=True, help="edge.yaml, or edge.json; files it names are copied, too")
    provision.add_argument("--node-id", metavar="ID", help="instead of the configuration's")
    provision.add_argument("--broker", metavar="URL", help="instead of its cloud_endpoint")
    # Not `password_file`: that is of those who ask a node from afar.
    provision.add_argument("--password-file", metavar="F", dest="board_password", help="the node's password at the broker is in it")
    provision.add_argument("--wifi-file", metavar="F", help='JSON: {"ssid": "…", "password": "…"}')
    provision.add_argument("--check", action="store_true", help="say whether it would fit, and write nothing")


def _info(arguments: Arguments) -> int:
    from .board_port import BoardPort

    with BoardPort(arguments.port).held() as facts:
        pass
    show(arguments, facts.as_dict(), _print_facts)
    return WELL


def _print_facts(facts: dict[str, Any]) -> None:
    log = facts["log_bytes"]
    there = {"sockets": facts["socket"], "TLS": facts["tls_bytes"] is not None, "WiFi": facts["wifi"]}
    for name, text in (
        ("machine", facts["machine"]),
        ("MicroPython", facts["micropython"]),
        ("Streamline", facts["streamline"] or "none"),
        ("node", facts["node_id"] or "none yet"),
        ("heap", board_needs.shown(facts["heap_bytes"])),
        ("files", f"{board_needs.shown(facts['files_free_bytes'])} of {board_needs.shown(facts['files_bytes'])} free"),
        ("log partition", board_needs.shown(log) if log is not None else "none; logs are files"),
        ("network", ", ".join([name for name, it_is in there.items() if it_is]) or "none"),
        ("built without", ", ".join(facts["lacks"]) or "nothing"),
        ("fault", facts["fault"] or "none"),
    ):
        print(f"{name:<14} {text}")


def _provision(arguments: Arguments) -> int:
    from .board_port import MARK_CHARS, BoardPort
    from .config_board import board_config

    reading = _reading(arguments)
    wifi = _wifi(arguments.wifi_file)
    files = _files(reading, secrets.token_hex(MARK_CHARS // 2))
    board_config(reading)  # what any board would refuse: before this one is interrupted
    port = BoardPort(arguments.port)
    with port.held() as facts:
        notes = _fill_in(reading, facts)
        made = board_config(reading)
        _rename(made.given, files)
        needs = _as_on_board(made.given)
        _check_fits(arguments.port, reading, needs, facts, list(files.values()), wifi)
        for note in notes + [note for note in made.notes if ": copy " not in note]:
            print(f"streamline-cli: {note}", file=sys.stderr)
        said = {"port": arguments.port, "node_id": reading.config.node_id, "board": facts.as_dict()}
        said |= _carry_out(port, reading.config.node_id, made.given, list(files.values()), wifi, write=not arguments.check)
    said["heap_bytes"] = board_needs.heap_bytes(needs, facts)
    show(arguments, said, _print_done)
    return WELL if said["running"] is not False else DEGRADED


def _check_fits(port: str, reading: Reading, needs: Any, facts: BoardFacts, files: list[OnBoard], wifi: Path | None) -> None:
    """Raises UsageError with all that the board could not bear."""
    problems = board_needs.problems(needs, facts)
    needed = sum(path.stat().st_size for _, path in files)
    if not facts.fault and needed + board_needs.FILES_SPARE_BYTES > facts.files_free_bytes:
        problems.append(f"its files have {needed:,} bytes, and the board's file system has {facts.files_free_bytes:,} free")
    if facts.wifi and wifi is None and not facts.wifi_file and (reading.config.cloud_endpoint or "").startswith("mqtt"):
        problems.append(f"it joins no WiFi: there is no {WIFI} on it; give one with --wifi-file")
    if problems:
        raise UsageError("\n".join(f"{port}: {text}; nothing was written" for text in problems))


def _carry_out(
    port: BoardPort, node_id: str, given: dict[str, Any], files: list[OnBoard], wifi: Path | None, write: bool
) -> dict[str, Any]:
    """Write all of it, the configuration last, and start the board with it. Returns what is to be said of that."""
    names = [name for name, _ in files] + [WIFI] * (wifi is not None) + [CONFIG]
    said: dict[str, Any] = {"files": names, "written": write, "running": None, "said": []}
    if write:
        with tempfile.TemporaryDirectory() as folder:  # which only we can read
            config = Path(folder, "edge.json")
            config.write_text(json.dumps(given, separators=(",", ":")))
            port.put([*files, *([(WIFI, wifi)] if wifi is not None else []), (CONFIG, config)])
        said["running"], said["said"] = _start(port, node_id)
    return said


def _print_done(said: dict[str, Any]) -> None:
    needs, has = board_needs.shown(said["heap_bytes"]), board_needs.shown(said["board"]["heap_bytes"])
    fits = f"{said['port']}: node {said['node_id']}: it needs {needs} of {has} of heap"
    if not said["written"]:
        print(f"{fits}; it fits, and nothing was written")
        return
    print(f"{fits}; written: {', '.join(said['files'])}")
    if said["running"]:
        print(f"{said['port']}: it runs")
    else:
        print(f"{said['port']}: it was reset and does not run, or has not said so within {STARTS_SECS} s. It said:")
        print(*said["said"], sep="\n")


def _reading(arguments: Arguments) -> Reading:
    """The configuration, with what the options say over it; variables of this machine's environment are not meant for a board. Raises:
    UsageError."""
    from . import config_file
    from .config_reading import Place

    reading = config_file.read(arguments.config)
    for key, option, value in (
        ("node_id", "--node-id", arguments.node_id),
        ("cloud_endpoint", "--broker", arguments.broker),
        ("password_file", "--password-file", arguments.board_password),
    ):
        if value is not None:
            reading.put((key,), value, Place(option))
    reading.check()
    return reading


def _fill_in(reading: Reading, facts: BoardFacts) -> list[str]:
    """What is not said, and has to be what the board has: how much may be stored. Returns notes."""
    from .config_reading import Place

    if reading.value(("resources", "max_storage")) is not None or facts.streamline is None:
        return []
    from .config_board import board_config

    most = board_needs.storage_bytes_most(_as_on_board(board_config(reading).given), facts)
    reading.put(("resources", "max_storage"), most, Place("the board"))
    reading.check()
    return [f"resources.max_storage is {most:,}: all that the board has for logs"]


def _as_on_board(given: dict[str, Any]) -> Any:
    from streamline_core.config import EdgeConfig

    return EdgeConfig.from_dict(given)


def _files(reading: Reading, mark: str) -> dict[str, OnBoard]:
    """All that the configuration names, by its name here: the path on the board that only this configuration uses, and the file. Raises:
    UsageError for one that cannot be read, or whose name is another's."""
    from .board_port import marked
    from .config_paths import FILE_KEYS

    config = reading.config
    paths = [(key, getattr(config, key)) for key in FILE_KEYS]
    paths += [("merge", topic.merge.partition(":")[2]) for topic in config.topics.values() if topic.merge and topic.merge.endswith(".py")]
    found: dict[str, Path] = {}
    for key, given in paths:
        if given is None:
            continue
        path = Path(given)
        try:
            with path.open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise UsageError(f"{key}: {path} cannot be read: {error.strerror}") from None
        if empty:
            raise UsageError(f"{key}: {path} is empty")
        if path.name in OWN or found.get(path.name, path) != path:
            raise UsageError(f"{key}: {path}: another file is /{path.name} on the board; rename one of them")
        found[path.name] = path
    return {name: ("/" + marked(name, mark), path) for name, path in found.items()}


def _rename(given: dict[str, Any], files: dict[str, OnBoard]) -> None:
    """Have a board's configuration name its files as they are called there."""
    from .config_paths import FILE_KEYS

    for key in FILE_KEYS:
        if given.get(key) is not None:
            given[key] = files[given[key]][0][1:]
    entries = [entry for name in ("sync_topics", "local_topics") for entry in given.get(name) or () if isinstance(entry, dict)]
    for holder in [given, *entries]:
        kind, _, name = (holder.get("merge") or "").partition(":")
        if name.endswith(".py"):  # else it is a module, and no file
            holder["merge"] = f"{kind}:{files[name][0][1:]}"


def _wifi(given: str | None) -> Path | None:
    """Raises: UsageError for what the board would refuse, which never shows a value."""
    if given is None:
        return None
    path = Path(given)
    try:
        said = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"--wifi-file {path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"--wifi-file {path}: not JSON") from None
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise UsageError(f'--wifi-file {path}: {{"ssid": "…", "password": "…"}} is expected')
    unknown = [key for key in said if key not in WIFI_KEYS]
    if unknown:
        raise UsageError(f"--wifi-file {path}: {unknown[0]} is not known; there are: {', '.join(WIFI_KEYS)}")
    if not 0 < len(said.get("ssid", "").encode()) <= SSID_BYTES_MAX:
        raise UsageError(f"--wifi-file {path}: ssid must have 1 to {SSID_BYTES_MAX} bytes")
    password = said.get("password", "")
    if password and not PASSWORD_CHARS[0] <= len(password) <= PASSWORD_CHARS[1]:
        raise UsageError(f"--wifi-file {path}: password must have {PASSWORD_CHARS[0]} to {PASSWORD_CHARS[1]} characters, or be left out")
    if len(said.get("country", "XX")) != 2:
        raise UsageError(f"--wifi-file {path}: country must be two letters, such as DE")
    return path


def _start(port: BoardPort, node_id: str) -> tuple[bool, list[str]]:
    """Reset the board. Returns whether it has said that it runs, and the last it said."""
    said: list[str] = []
    for line in port.reset(STARTS_SECS):
        if line.startswith(RUNS % node_id):
            return True, said
        said = [*said, line][-SAID_LINES_MAX:]
        if line.startswith(SAFE_MODE):
            break
    return False, said
