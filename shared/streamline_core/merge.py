"""A merge module: the user's function that makes one value of two which had not seen each other, loaded by its configured name.

Rule: what cannot work is refused here, at start and by name; nothing is half loaded. Every replica must hold the same file, so its hash
goes into the topic's definition. Knows nothing of file systems (a reader is handed in), of WebAssembly (so is its loader), or of conflicts.
"""

import hashlib

from .errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from .conflict import Merge

    # (path, bytes_max) to the first bytes_max bytes of a file; raises OSError where there is none that can be read
    Read = Callable[[str, int], bytes]
    # (name, content of the file) to the merge; raises UsageError
    LoadWasm = Callable[[str, bytes], Merge]

PYTHON = "python:"
WASM = "wasm:"
MODULE_BYTES_MAX = 1 << 20
HASH_BYTES = 8


def merge_hash(content: bytes) -> bytes:
    """The beginning of the SHA-256 of a module's file, byte for byte: TopicDefinition.merge_hash."""
    return hashlib.sha256(content).digest()[:HASH_BYTES]


def load_merge(text: str, read: "Read", search: "Sequence[str]" = (), load_wasm: "LoadWasm | None" = None) -> "tuple[Merge, bytes]":
    """The merge that `text` names, and its hash. text: `python:FILE.py`, `python:MODULE` (MODULE.py in the first folder of `search` that
    has it: sys.path) or `wasm:FILE`; read: gets paths as they are written; load_wasm: None on a target that cannot. Raises UsageError."""
    if text.startswith(PYTHON):
        name = text[len(PYTHON) :]
        content = _content(text, [name] if name.endswith(".py") else _module_paths(text, name, search), read)
        return load_python(text, content), merge_hash(content)
    if text.startswith(WASM):
        if load_wasm is None:
            raise UsageError("merge module %s: this target cannot run WebAssembly; it takes a %s module" % (text, PYTHON))
        content = _content(text, [text[len(WASM) :]], read)
        return load_wasm(text, content), merge_hash(content)
    raise UsageError("merge module %s: it must begin with %s or %s" % (text, PYTHON, WASM))


def load_python(name: str, source: bytes) -> "Merge":
    """The function `merge` of a Python source in UTF-8. It runs in a namespace of its own, never among the imported modules, so it may be
    called like any of them. name: for what is raised. Raises UsageError."""
    namespace: "dict[str, Any]" = {"__name__": name}
    try:
        exec(source.decode(), namespace)
    except (Exception, SystemExit) as error:
        raise UsageError("merge module %s: it does not load: %s: %s" % (name, type(error).__name__, error))
    function = namespace.get("merge")
    if not callable(function):
        raise UsageError("merge module %s: it has no function merge(key, earlier, later)" % name)

    def merge(key: bytes, earlier: "bytes | None", later: "bytes | None") -> "bytes | None":
        try:
            value: "bytes | None" = function(key, earlier, later)
        except SystemExit as error:  # no Exception: it would end the node
            raise RuntimeError("it called for an exit: %s" % error)
        return value

    return merge


def _module_paths(text: str, name: str, search: "Sequence[str]") -> "list[str]":
    for part in name.split("."):
        if not part or part[0].isdigit() or not all([letter == "_" or letter.isalpha() or letter.isdigit() for letter in part]):
            raise UsageError("merge module %s: %r is neither a file that ends in .py nor the name of a module" % (text, name))
    path = name.replace(".", "/") + ".py"
    return [folder + "/" + path if folder else path for folder in search]


def _content(text: str, paths: "Sequence[str]", read: "Read") -> bytes:
    why = "no folder to search"
    for path in paths:
        try:
            content = read(path, MODULE_BYTES_MAX + 1)
        except (OSError, ValueError) as error:  # ValueError: not even a path
            why = "%s: %s" % (path, error)
            continue
        if len(content) > MODULE_BYTES_MAX:
            raise UsageError("merge module %s: the file has more than %d bytes" % (text, MODULE_BYTES_MAX))
        return content
    if len(paths) > 1:
        why = "not in any of %d folders" % len(paths)
    raise UsageError("merge module %s: it cannot be read: %s" % (text, why))
