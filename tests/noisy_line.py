"""A serial line as a process may see it: two TCP ports that stand for its two ends, and bytes that are hurt between them by a seed.

Rule: whoever connects to an end replaces who was there; what goes to an end where nobody is, is lost, as on a wire. A helper of tests, no
test.
"""

import random
import socket
import threading

PIECE_BYTES = 4096


class NoisyLine:
    """ports: of the two ends. hurt_bytes: of what comes from each end, one of so many bytes, on average, is garbled, dropped, doubled or
    joined by another; 0: none."""

    def __init__(self, ports: tuple[int, int], seed: int) -> None:
        self.hurt_bytes = (0, 0)
        self.hurts = 0
        self.passed = [0, 0]
        self.cut = False  # nothing gets through, and nobody is told
        self._ends: list[socket.socket | None] = [None, None]
        self._closing = False
        self._listeners = []
        for end, port in enumerate(ports):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(4)
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(end, listener, seed), daemon=True).start()

    def _accept(self, end: int, listener: socket.socket, seed: int) -> None:
        while not self._closing:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            old, self._ends[end] = self._ends[end], connection
            if old is not None:
                _close(old)
            seed += 1000003
            threading.Thread(target=self._carry, args=(end, connection, random.Random(seed * 2 + end)), daemon=True).start()

    def _carry(self, end: int, source: socket.socket, rng: random.Random) -> None:
        while True:
            try:
                data = source.recv(PIECE_BYTES)
            except OSError:
                data = b""
            if not data:
                break
            self.passed[end] += len(data)
            target = self._ends[1 - end]
            if target is not None and not self.cut:
                try:
                    target.sendall(self._hurt(data, self.hurt_bytes[end], rng))
                except OSError:
                    pass
        if self._ends[end] is source:
            self._ends[end] = None
        _close(source)

    def _hurt(self, data: bytes, hurt_bytes: int, rng: random.Random) -> bytes:
        if not hurt_bytes:
            return data
        out, at = bytearray(), 0
        while True:
            step = int(rng.expovariate(1 / hurt_bytes))
            if at + step >= len(data):
                return bytes(out + data[at:])
            out += data[at : at + step]
            at += step
            self.hurts += 1
            kind = rng.randrange(4)
            if kind == 0:
                out.append(data[at] ^ 1 << rng.randrange(8))
            elif kind == 2:
                out += data[at : at + 1] + bytes([rng.choice((0, rng.randrange(256)))])
            elif kind == 3:
                out += data[at : at + 1] * 2
            at += 1  # of kind 1 nothing is left

    def close(self) -> None:
        self._closing = True
        for one in (*self._listeners, *self._ends):
            if one is not None:
                _close(one)


def _close(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    one.close()
