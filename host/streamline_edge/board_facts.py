"""What a board at the end of a port is: asked of it by a few lines that run on it.

Rule: what a board can do is tried on it, never told by its name; it is left as it was. Must not know: how it is reached, configurations.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from streamline_core.errors import UsageError

KEYED, DOWN, MQTT, SERIAL = "keyed topics", "topics that flow down", "links over MQTT", "serial links"
PARTS = (  # what an image may be built without, by what a configuration that asks for it loads first
    (KEYED, "streamline_core.tables"),
    (DOWN, "streamline_core.downlink"),
    (MQTT, "streamline_board.link"),
    (SERIAL, "streamline_board.serial_link"),
)

# Runs on MicroPython, where the agent was interrupted or was never there: so it takes little, and frees it again. TLS is begun with nobody:
# what that takes of the heap is what a connection's buffers take, or next to nothing where the port keeps them elsewhere.
SNIPPET = """
def _():
    import gc, json, os, sys
    def have(name):
        try:
            return __import__(name)
        except ImportError:
            return None
    def tls_bytes():
        tls = have('tls')
        if not tls:
            return None
        import io
        gc.collect()
        before = gc.mem_alloc()
        try:
            context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
            socket = context.wrap_socket(io.BytesIO(), server_hostname='x', do_handshake_on_connect=False)
            return gc.mem_alloc() - before
        except MemoryError:
            return -1
    impl, core, network = sys.implementation, have('streamline_core'), have('network')
    log = fault = None
    if core and have('streamline_board.boot'):
        boot = sys.modules['streamline_board.boot']
        log, fault = boot.log, getattr(boot, 'fault', None)
    try:
        files, names = os.statvfs('/') if hasattr(os, 'statvfs') else (1, 1, 0, 0), os.listdir('/')
    except OSError as error:
        files, names = (1, 1, 0, 0), ()
        fault = fault or 'the file system cannot be read (%s)' % error
    try:
        with open('/edge.json') as file:
            given = json.load(file)
        node = given.get('edge', given).get('node_id')
    except (OSError, ValueError, AttributeError):
        node = None
    tls = tls_bytes()
    lacks = []
    for part, name in PARTS if core else ():
        try:
            if not have(name):
                lacks.append(part)
        except MemoryError:
            pass
    gc.collect()
    print(json.dumps({
        'machine': getattr(impl, '_machine', sys.platform), 'micropython': '.'.join([str(n) for n in impl[1][:3]]),
        'streamline': core.VERSION if core else None, 'node_id': node,
        'heap_bytes': gc.mem_alloc() + gc.mem_free(), 'tls_bytes': tls,
        'socket': have('socket') is not None, 'wifi': hasattr(network, 'WLAN'), 'wifi_file': 'wifi.json' in names,
        'files_bytes': files[1] * files[2], 'files_free_bytes': files[0] * files[3],
        'fault': fault, 'lacks': lacks,
        'log_blocks': log.ioctl(4, 0) if log else None, 'log_block_bytes': log.ioctl(5, 0) if log else None,
    }))
_()
del _
""".replace("PARTS", repr(PARTS))


@dataclass(frozen=True)
class BoardFacts:
    """streamline: version of what is on it, None where there is nothing; node_id: it was provisioned as; heap_bytes: of the whole heap;
    tls_bytes: what one TLS connection takes of it, None where there is no TLS, -1 where it did not fit; log_*: of the flash that only logs
    use, None where logs are files; fault: why there is no file system, None where there is one; lacks: of PARTS, what is not on it."""

    machine: str
    micropython: str
    streamline: str | None
    node_id: str | None
    heap_bytes: int
    tls_bytes: int | None
    socket: bool
    wifi: bool
    wifi_file: bool
    files_bytes: int
    files_free_bytes: int
    log_blocks: int | None
    log_block_bytes: int | None
    fault: str | None = None
    lacks: Sequence[str] = ()

    @classmethod
    def read(cls, text: str) -> BoardFacts:
        """Of what SNIPPET has printed, after whatever else was on the line. Raises: UsageError where it is not there."""
        for line in reversed(text.splitlines()):
            if line.startswith("{"):
                try:
                    found = cls(**json.loads(line))
                    # A full littlefs counts some blocks twice, and tells less than none as 2^32 - 4 of them.
                    return found if found.files_free_bytes <= found.files_bytes else replace(found, files_free_bytes=0)
                except (TypeError, ValueError):
                    break
        raise UsageError(f"the board does not say what it is; it says: {text.strip()[-200:] or 'nothing'}")

    @property
    def log_bytes(self) -> int | None:
        """Of the flash that only logs use."""
        return None if self.log_blocks is None or self.log_block_bytes is None else self.log_blocks * self.log_block_bytes

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"log_bytes": self.log_bytes}
