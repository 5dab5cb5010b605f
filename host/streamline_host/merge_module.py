"""Merge modules on a host: their files, and which runner they need.

Rule: only what is here touches files; what a module is, is the core's. Must not know: topics or conflicts.
"""

import os
import sys
from typing import TYPE_CHECKING

from streamline_core import merge
from streamline_core.errors import UsageError

if TYPE_CHECKING:
    from streamline_core.conflict import Merge


def load_merge(text: str, folder: str | os.PathLike[str]) -> "tuple[Merge, bytes]":
    """Return the merge that ``text`` names (``python:PATH.py``, ``python:MODULE``, ``wasm:PATH``) and its hash.

    Paths are relative to ``folder``; a module is looked for on ``sys.path``, as source. Raises UsageError for whatever
    does not load.
    """

    def read(path: str, bytes_max: int) -> bytes:
        with open(os.path.join(folder, path), "rb") as file:
            return file.read(bytes_max)

    return merge.load_merge(text, read, [os.path.abspath(entry) for entry in sys.path], _load_wasm)


def _load_wasm(name: str, content: bytes) -> "Merge":
    try:
        from .merge_wasm import WasmMerge
    except (ImportError, OSError, RuntimeError) as error:  # the last two: installed, and without a library for this machine
        raise UsageError("merge module %s: this target cannot run WebAssembly (package wasmtime): %s" % (name, error)) from None
    return WasmMerge(name, content)
