"""Reading `edge.yaml`: YAML to an EdgeConfig, with the file and line of every problem.

Rule: what a key may hold is said in `streamline_core.config` alone; this file knows only where in the text each
key stands. Paths in a file are relative to the file's folder.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import yaml

from streamline_core.config import ConfigError, EdgeConfig, path_text
from streamline_core.config_values import show
from streamline_core.errors import UsageError

FILE_BYTES_MAX = 1 << 20
NODES_MAX = 100_000  # aliases may expand: the bound is on what they expand to
DEPTH_MAX = 20
SCALAR_CHARS_MAX = 4096  # far above what any key takes: a number in base 60 costs the square of its length
PATH_KEYS = ("password_file", "ca_file", "cert_file", "key_file", "data_dir", "broker_password_file")

KeyPath = tuple[str | int, ...]


class ConfigFileError(UsageError):
    """A configuration file was refused: one line for each problem, each beginning with file and line."""


class _Reader:
    """Turns YAML nodes into plain values, keeping the line of each key path."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[tuple[int, str]] = []
        self._nodes = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def problem(self, line: int, path: KeyPath, text: str) -> None:
        self.problems.append((line, f"{path_text(path)}: {text}"))

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._nodes += 1
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            raise ConfigFileError(f"{self.name}: more than {NODES_MAX} values or {DEPTH_MAX} levels; make it smaller")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, i)) for i, child in enumerate(node.value)]
        if len(node.value) > SCALAR_CHARS_MAX:
            self.problem(node.start_mark.line + 1, path, f"is {len(node.value)} characters long; use at most {SCALAR_CHARS_MAX}")
            return None
        try:
            return self._scalars.construct_object(node)
        except Exception as e:  # PyYAML lets out whatever int, float or chr raise, and AttributeError, KeyError, IndexError of its own
            text = str(e) if isinstance(e, ValueError) else f"{show(node.value)} cannot be read"
            text = str(e.problem) if isinstance(e, yaml.MarkedYAMLError) else text
            self.problem(node.start_mark.line + 1, path, f"{text}; use plain text, a number, true or false")
            return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "(complex key)"
            here = (*path, str(key))
            if key in found:
                self.problem(line, here, f"is there twice (first in line {self.lines[here]}); keep one")
                continue
            self.lines[here] = line
            found[str(key)] = self.value(value_node, here)
        return found

    def line_of(self, path: KeyPath) -> int:
        """The line of a key, or of the nearest section around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str, name: str = "edge.yaml") -> EdgeConfig:
    """The configuration in `text`; an outermost `edge:` is optional.

    Raises: ConfigFileError naming `name`, lines, keys, and what is allowed.
    """
    reader = _Reader(name)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(e, "problem", None) or getattr(e, "reason", None) or "cannot be read"
        raise ConfigFileError(f"{where}: not YAML: {problem}") from None
    except RecursionError:
        raise ConfigFileError(f"{name}: nested too deeply") from None
    except (ValueError, OverflowError):  # of chr and int, for escapes and directives
        raise ConfigFileError(f"{name}: not YAML: it holds an escape or a directive with an impossible number") from None
    root: KeyPath = ()
    given = reader.value(node, root) if node is not None else {}
    if isinstance(given, dict) and set(given) == {"edge"}:
        root, given = ("edge",), given["edge"] if given["edge"] is not None else {}
    problems = reader.problems
    try:
        config = EdgeConfig.from_dict(given)
    except ConfigError as e:
        problems += [(reader.line_of(root + path), f"{path_text(path)}: {text}") for path, text in e.problems]
    if problems:
        raise ConfigFileError("\n".join(f"{name}:{line}: {text}" for line, text in sorted(problems)))
    return config


def load(path: str | os.PathLike[str]) -> EdgeConfig:
    """The configuration in the file `path`. Raises: ConfigFileError."""
    file = Path(path)
    try:
        with file.open("rb") as f:
            raw = f.read(FILE_BYTES_MAX + 1)
    except OSError as e:
        raise ConfigFileError(f"{file}: cannot be read ({e.strerror}); give an existing file with --config") from None
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigFileError(f"{file}: longer than {FILE_BYTES_MAX} bytes; this is no configuration")
    try:
        text = raw.decode()
    except UnicodeDecodeError as e:
        raise ConfigFileError(f"{file}:{raw.count(10, 0, e.start) + 1}: not UTF-8 text; save it as UTF-8") from None
    config = parse(text, str(file))
    folder = file.parent.resolve()
    for key in PATH_KEYS:
        value = getattr(config, key)
        if value is not None:
            setattr(config, key, _beside(file, folder, key, value))
    for topic in config.topics.values():
        if topic.merge is not None:
            kind, colon, path = topic.merge.partition(":")
            if colon and (kind != "python" or path.endswith(".py")):  # else it is a module of Python, which has no folder
                topic.merge = kind + colon + _beside(file, folder, "merge", path)
    return config


def _beside(file: Path, folder: Path, key: str, path: str) -> str:
    """A path as it stands in the file, made absolute. Raises: ConfigFileError."""
    try:
        return str(folder / Path(path).expanduser())
    except (RuntimeError, ValueError):
        raise ConfigFileError(f"{file}: {key}: {path!r}: there is no such user; write out the path") from None


def find(path: str | None, data_dir: str | None = None) -> EdgeConfig:
    """The configuration to use: the file `path`, else ./edge.yaml, else the defaults under this machine's name.

    data_dir: overrides the configuration's. Raises: ConfigFileError.
    """
    if path is None and Path("edge.yaml").is_file():
        path = "edge.yaml"
    config = load(path) if path is not None else EdgeConfig.from_dict({"node_id": host_node_id()})
    if data_dir is not None:
        config.data_dir = data_dir
    config.data_dir = str(Path(config.data_dir).expanduser().absolute())
    return config


def host_node_id() -> str:
    """This machine's name, as far as a node id may hold it."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in socket.gethostname())
    return name.lstrip("._-")[:64] or "edge"
