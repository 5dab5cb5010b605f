"""The paths in a configuration, made absolute: each is relative to the folder of the file where it stands.

Rule: which keys hold paths is said here alone. What is no path (a module of Python, a command) stays as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .yaml_values import KeyPath

FILE_KEYS = ("password_file", "ca_file", "cert_file", "key_file")  # of the way to the cloud
PATH_KEYS = (*FILE_KEYS, "broker_password_file", "data_dir")


def absolute(path: KeyPath, value: Any, folder: Path, problems: list[tuple[KeyPath, str]]) -> Any:
    """`value` of the key `path`, and all that is in it, with its paths relative to `folder` made absolute.

    problems: gets those that lead nowhere.
    """
    if isinstance(value, dict):
        return {key: absolute((*path, key), inner, folder, problems) for key, inner in value.items()}
    if isinstance(value, list):
        return [absolute((*path, i), inner, folder, problems) for i, inner in enumerate(value)]
    if not isinstance(value, str):
        return value
    start = _start(path, value)
    if start is None or not value[start:].strip():
        return value
    try:
        return value[:start] + str(folder / Path(value[start:].strip()).expanduser())
    except (RuntimeError, ValueError):
        problems.append((path, f"{value!r}: there is no such user; write out the path"))
        return value


def _start(path: KeyPath, value: str) -> int | None:
    """Where in the value of a key its path begins; None where there is none."""
    kind, colon, rest = value.partition(":")
    if len(path) == 1 and path[0] in PATH_KEYS:
        return 0
    if len(path) == 3 and path[0] == "serial" and path[2] == "password_file":
        return 0
    if path == ("sync", "condition"):
        return len(kind) + 1 if colon and kind in ("file", "no file") else None
    if path[-1:] == ("merge",):  # without .py it is a module of Python, which has no folder
        return len(kind) + 1 if colon and (kind != "python" or rest.endswith(".py")) else None
    return None
