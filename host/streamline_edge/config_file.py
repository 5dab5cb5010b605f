"""The configuration of this machine's edge: `edge.yaml`, and the variables of the environment.

Rule: a file is read whole or refused, with the line of every problem; what came from where is known to its Reading.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from streamline_core.config import EdgeConfig

from . import config_environment
from .config_reading import ConfigFileError, Place, Problem, Reading

DEFAULT_FILE = "edge.yaml"
FILE_BYTES_MAX = 1 << 20
DATA_DIR_OPTION = "--data-dir"
MACHINE = "this machine's name"


def find(path: str | os.PathLike[str] | None, data_dir: str | None = None) -> Reading:
    """The configuration to use: the file `path`, else ./edge.yaml, else the defaults under this machine's name; variables of the
    environment come before those, and `data_dir` before all. Raises: ConfigFileError."""
    if path is None and Path(DEFAULT_FILE).is_file():
        path = DEFAULT_FILE
    if path is not None:
        reading = _read(Path(path))
    else:
        reading = Reading("configuration")
        reading.put(("node_id",), host_node_id(), Place(MACHINE))
    for key, value, place in config_environment.read(os.environ, reading.problems):
        reading.put(key, value, place)
    if data_dir is not None:
        reading.put(("data_dir",), data_dir, Place(DATA_DIR_OPTION))
    reading.check()
    return reading


def read(path: str | os.PathLike[str]) -> Reading:
    """What the file `path` says, whatever the environment says; not checked. Raises: ConfigFileError."""
    return _read(Path(path))


def load(path: str | os.PathLike[str]) -> EdgeConfig:
    """The configuration in the file `path`, whatever the environment says. Raises: ConfigFileError."""
    reading = _read(Path(path))
    reading.check()
    return reading.config


def _read(file: Path) -> Reading:
    reading = Reading(str(file))
    text = _text(file)
    if file.suffix == ".json":  # a tab is space to JSON, and nothing to YAML; in a string of JSON there is none
        text = text.replace("\t", " ")
    reading.put_text(text, file.parent.resolve())
    return reading


def _text(file: Path) -> str:
    """Raises: ConfigFileError."""
    try:
        with file.open("rb") as f:
            raw = f.read(FILE_BYTES_MAX + 1)
    except OSError as e:
        raise _refused(file, f"cannot be read ({e.strerror}); give an existing file with --config") from None
    if len(raw) > FILE_BYTES_MAX:
        raise _refused(file, f"longer than {FILE_BYTES_MAX} bytes; this is no configuration")
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        raise _refused(file, "not UTF-8 text; save it as UTF-8", raw.count(10, 0, e.start) + 1) from None


def _refused(file: Path, text: str, line: int | None = None) -> ConfigFileError:
    return ConfigFileError([Problem(Place(str(file), line), "", text)])


def host_node_id() -> str:
    """This machine's name, as far as a node id may hold it."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in socket.gethostname())
    return name.lstrip("._-")[:64] or "edge"
