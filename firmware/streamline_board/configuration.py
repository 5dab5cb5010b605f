"""The configuration of a board, and how it is called: what is read once, so that a running board keeps none of it in memory.

Rule: what is wrong with a file is said with its place, and what a board cannot honour is refused by name. Must not know: who runs it.
"""

import os

from streamline_core.config import EdgeConfig
from streamline_core.errors import UsageError
from streamline_core.whole_json import loads

HELP = """usage: %s --config FILE [--status] [--lines TOPIC] [--until-drained]

  --config FILE     JSON, in the shape of edge.yaml; paths in it are relative to its folder
  --status          print a line of JSON each second; the end of standard input ends it
  --lines TOPIC     store the lines of standard input as records of TOPIC
  --until-drained   after the end of the input, go on until everything is at the cloud
  --version, --help
%s
Without --lines it streams what it reads from /proc into those of the topics `load` and `memory` that are configured."""

# Of the static file, whose launcher takes these: they come first.
HELP_OF_PROGRAM = """\
  --heap SIZE       its heap, 96k or more; 512k where nothing is said
  --repl ...        MicroPython instead of the agent, with what follows handed to it
"""

# What a heap of 256 KB can bear, where the configuration says nothing. buffer_bytes is no memory here: it is in the file, not synced yet.
BOARD_DEFAULTS = {"frame_bytes_max": 4096}
BOARD_RESOURCE_DEFAULTS = {"max_storage": 16777216}
BOARD_SEGMENTS_MAX = 256  # of what is stored: a node remembers where each begins
BOARD_LOG_DEFAULTS = {
    "segment_bytes": 65536, "commit_interval_ms": 50, "buffer_bytes": 1048576, "producers_max": 8,
    "cursor_interval_ms": 600000,  # small files wear a flash the most
}  # fmt: skip


def _shrink(given):
    """Fill in a board's defaults; what is not a mapping is left for the check to name."""
    if isinstance(given, dict):
        for name in ("log", "resources"):
            if given.get(name) is None:
                given[name] = {}
        every = ((given, BOARD_DEFAULTS), (given["log"], BOARD_LOG_DEFAULTS), (given["resources"], BOARD_RESOURCE_DEFAULTS))
        for section, defaults in every:
            if isinstance(section, dict):
                for key in defaults:
                    section.setdefault(key, defaults[key])


# What a link needs of it: of a file that is refused, this is taken alone. Its frames are the least, which no line is too slow for.
LINK_KEYS = ("node_id", "fleet", "cloud_endpoint", "password_file", "ca_file", "cert_file", "key_file")
LINK_FRAME_BYTES = 1024


def load_for_link(path):
    """An EdgeConfig that has nothing but what a link needs, for a board whose configuration is refused. Raises as `load`, where that is
    not good either."""
    given = _read(path)
    kept = {key: given[key] for key in LINK_KEYS if key in given} if isinstance(given, dict) else given
    if isinstance(kept, dict):
        kept["frame_bytes_max"] = LINK_FRAME_BYTES
    _shrink(kept)
    return _placed(_fitting(EdgeConfig.from_dict(kept)), path[: path.rfind("/") + 1])


def _read(path):
    try:
        with open(path) as file:
            given = loads(file.read())
    except OSError as error:
        raise UsageError("%s: cannot be read: %s" % (path, error))
    except ValueError as error:
        raise UsageError("%s: not JSON: %s" % (path, error or "not even text"))
    return given.get("edge", given) if isinstance(given, dict) else given


def load(path):
    """An EdgeConfig from a JSON file. Raises UsageError (all problems at once)."""
    given = _read(path)
    _shrink(given)
    try:
        return _placed(_fitting(EdgeConfig.from_dict(given)), path[: path.rfind("/") + 1])
    except UsageError as error:
        problems = getattr(error, "problems", None)
        if problems is None:
            raise
        lines = ["%s: %s: %s" % (path, ".".join([str(part) for part in where]), what) for where, what in problems]
        raise UsageError("\n".join(lines))


def _fitting(config):
    """What a board, or the image that runs on it, cannot honour is refused by name."""
    if config.cloud_endpoint is not None:
        try:
            from streamline_core import link  # noqa: F401 (an image without edge-sync has none)
        except ImportError:
            raise UsageError("cloud_endpoint: this image was built without edge-sync; remove it, or use an image that has it")
    if config.sync.condition is not None and config.sync.condition.startswith("command:"):
        raise UsageError("sync.condition: a board runs no commands; use file: or no file:")
    if config.serial:
        raise UsageError("serial: a board carries no other node; remove it. Its own line is cloud_endpoint: serial://UART")
    if config.resources.max_file_descriptors is not None:
        raise UsageError("resources.max_file_descriptors: a board has none; remove it")
    segments = config.resources.max_storage // config.log.segment_bytes
    if segments > BOARD_SEGMENTS_MAX:
        least = -(-config.resources.max_storage // BOARD_SEGMENTS_MAX)
        raise UsageError("log.segment_bytes: resources.max_storage is %d of them, and a board remembers %d; use at least %d"
                         % (segments, BOARD_SEGMENTS_MAX, least))
    return config


# As host/streamline_edge/config_paths.py has them.
PATH_KEYS = ("password_file", "ca_file", "cert_file", "key_file", "data_dir")


def _placed(config, folder):
    """Its paths, relative to the folder of the file where they stand, as any program of this machine sees them."""
    for key in PATH_KEYS:
        if getattr(config, key) is not None:
            setattr(config, key, _path(key, getattr(config, key), folder))
    if config.sync.condition is not None:
        config.sync.condition = _after_colon("sync.condition", config.sync.condition, folder)
    for name in config.topics:
        merge = config.topics[name].merge
        if merge is not None and (not merge.startswith("python:") or merge.endswith(".py")):  # else it is a module, which has no folder
            config.topics[name].merge = _after_colon("merge", merge, folder)
    return config


def _after_colon(key, value, folder):
    kind, _, path = value.partition(":")
    return kind + ":" + _path(key, path, folder)


def _path(key, path, folder):
    path = path.strip()
    if path == "~" or path.startswith("~/"):
        home = os.getenv("HOME") if hasattr(os, "getenv") else None
        if home:
            return home + path[1:]
    if path.startswith("~"):
        raise UsageError("%s: %r: there is no such user here; write out the path" % (key, path))
    return path if path.startswith("/") else folder + path
