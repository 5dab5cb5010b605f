"""A configuration as it was read: its values, and where each of them came from.

Rule: what a key may hold is said in `streamline_core.config` alone; here is known where each key stands: a line of a file, a variable of
the environment, an option. What is put later comes before what was there. Knows nothing of how files are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from streamline_core.config import ConfigError, EdgeConfig, path_text
from streamline_core.errors import UsageError

from .config_paths import absolute
from .yaml_values import KeyPath, YamlError, YamlValues


class Place(NamedTuple):
    """name: of a file, or of what else a value came from. line: from 1 on, in a file."""

    name: str
    line: int | None = None

    def __str__(self) -> str:
        return self.name if self.line is None else f"{self.name}:{self.line}"


class Problem(NamedTuple):
    """key: as people write it, "" for none in particular. text: what is wrong, and what is allowed."""

    place: Place
    key: str
    text: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (str(self.place), self.key, self.text)))


class ConfigFileError(UsageError):
    """A configuration was refused: one line for each of its `problems`, which begins with the place."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda one: (one.place.name, one.place.line or 0, one.key, one.text))
        super().__init__("\n".join(map(str, self.problems)))


class Reading:
    """given: in the shape of edge.yaml, as it stands there. config: the same, checked, once `check` was called. problems: found so far."""

    config: EdgeConfig

    def __init__(self, name: str) -> None:
        self.given: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self._name = name
        self._folder = Path.cwd()
        self._values: Any = {}  # as given, with absolute paths
        self._places: dict[KeyPath, Place] = {}

    def put_text(self, text: str, folder: Path) -> None:
        """All that a file in `folder` says; an outermost `edge:` is optional. Raises: ConfigFileError where it is no YAML."""
        try:
            read = YamlValues(text)
        except YamlError as e:
            raise ConfigFileError([Problem(Place(self._name, e.line), "", str(e))]) from None
        self._folder = folder
        values, depth = read.value, 0
        if isinstance(values, dict) and set(values) == {"edge"}:
            values, depth = values["edge"], 1
        self._places = {path[depth:]: Place(self._name, line) for path, line in read.lines.items() if len(path) >= depth}
        self.problems = [Problem(Place(self._name, line), path_text(path[depth:]), text) for line, path, text in read.problems]
        self.given = values if isinstance(values, dict) else {}
        self._values = {} if values is None else self._absolute((), values, folder)

    def put(self, path: KeyPath, value: Any, place: Place) -> None:
        """One value, such as of a variable; its paths are relative to the folder of the process."""
        self._places = {known: there for known, there in self._places.items() if known[: len(path)] != path}
        for depth in range(1, len(path)):
            self._places.setdefault(path[:depth], place)
        self._places[path] = place
        _assign(self.given, path, value)
        if isinstance(self._values, dict):
            _assign(self._values, path, self._absolute(path, value, Path.cwd()))

    def check(self) -> None:
        """Raises: ConfigFileError with all that is wrong."""
        try:
            self.config = EdgeConfig.from_dict(self._values)
        except ConfigError as e:
            self.problems += [Problem(self._place(path), path_text(path), text) for path, text in e.problems]
        if self.problems:
            raise ConfigFileError(self.problems)
        self.config.data_dir = str(self._folder / self.config.data_dir)

    def problem(self, path: KeyPath, text: str) -> None:
        """Add one more."""
        self.problems.append(Problem(self._place(path), path_text(path), text))

    def value(self, path: KeyPath) -> Any:
        """Of a key, as it was given; None where it was not."""
        value: Any = self.given
        for part in path:
            if isinstance(value, dict):
                value = value.get(part)
            else:
                value = value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else None
        return value

    def source(self, path: KeyPath) -> Place | None:
        """Where the value of a key came from; None where nobody gave it."""
        return self._place(path) if self.value(path) is not None else None

    def _place(self, path: KeyPath) -> Place:
        """Of a key, or of the nearest section around it."""
        while path and path not in self._places:
            path = path[:-1]
        return self._places.get(path, Place(self._name))

    def _absolute(self, path: KeyPath, value: Any, folder: Path) -> Any:
        problems: list[tuple[KeyPath, str]] = []
        value = absolute(path, value, folder, problems)
        self.problems += [Problem(self._place(where), path_text(where), text) for where, text in problems]
        return value


def _assign(values: dict[str, Any], path: KeyPath, value: Any) -> None:
    """What stands where a section belongs is left to be refused as it is."""
    for part in path[:-1]:
        inner = values.get(str(part))
        if inner is None:
            inner = values[str(part)] = {}
        if not isinstance(inner, dict):
            return
        values = inner
    values[str(path[-1])] = value
