"""The codecs of DATA frames: names and ids on the wire, which one to choose, and the two that a board can have.

Rule: a codec gives back exactly the bytes that the frame promised or a ProtocolError, and never makes more than one
byte beyond them, whatever it is fed. "none" is always there, so two nodes always have one in common. deflate is a raw
stream (RFC 1951: batches have their own CRC) with a 4 KB window, because the receiver's window is RAM on a board.
Must not know: frames, sessions, or host libraries (those codecs live in the hosts' package).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Protocol, Union

    Buffer = Union[bytes, bytearray, memoryview]

    class Codec(Protocol):
        """One way to make the bytes of a DATA frame fewer."""

        @property
        def name(self) -> str: ...
        @property
        def id(self) -> int: ...
        @property
        def can_compress(self) -> bool: ...
        def compress(self, data: "Buffer") -> "Buffer": ...
        def decompress(self, data: "Buffer", raw_bytes: int) -> "Buffer": ...


import io

from .errors import ProtocolError, UsageError

try:
    import deflate

    if not hasattr(deflate, "DeflateIO"):  # a package of that name exists for CPython
        deflate = None
except ImportError:
    deflate = None

NONE_ID = 0
DEFLATE_ID = 1
ZSTD_ID = 2
NAMES = ("none", "deflate", "zstd")
"""The name of a codec, by its id."""
DEFLATE_WINDOW_BITS = 12
"""Every deflate sender stays within a window of 4 KB; a receiver need not have more."""


class NoneCodec:
    """The codec that changes nothing: it hands on the very buffer it was given."""

    name = "none"
    id = NONE_ID
    can_compress = True

    def compress(self, data: "Buffer") -> "Buffer":
        """Return ``data`` itself."""
        return data

    def decompress(self, data: "Buffer", raw_bytes: int) -> "Buffer":
        """Return ``data`` itself. Raises ProtocolError unless it is ``raw_bytes`` long."""
        if len(data) != raw_bytes:
            raise ProtocolError("codec none: wrong length")
        return data


NONE = NoneCodec()


class DeviceDeflateCodec:
    """Raw deflate (RFC 1951) by MicroPython's ``deflate`` module; most builds can only decompress."""

    name = "deflate"
    id = DEFLATE_ID

    def __init__(self) -> None:
        """Raises UsageError where the interpreter has no ``deflate.DeflateIO``."""
        if deflate is None:
            raise UsageError("no deflate module in this build")
        # The class shows no write() where the build leaves compression out; a trial is the documented test.
        self.can_compress = False
        try:
            self.can_compress = len(self._compress(b"try")) > 0
        except (AttributeError, OSError):
            pass

    def compress(self, data: "Buffer") -> "Buffer":
        """Return ``data`` as a raw deflate stream. Raises UsageError where ``can_compress`` is False."""
        if not self.can_compress:
            raise UsageError("this build's deflate cannot compress")
        return self._compress(data)

    def _compress(self, data: "Buffer") -> bytes:
        out = io.BytesIO()
        stream: "Any" = deflate.DeflateIO(out, deflate.RAW, DEFLATE_WINDOW_BITS)
        stream.write(data)
        stream.close()
        return out.getvalue()

    def decompress(self, data: "Buffer", raw_bytes: int) -> "Buffer":
        """Return the ``raw_bytes`` bytes that ``data`` holds; the caller has bounded ``raw_bytes`` by its own memory.

        Raises ProtocolError when ``data`` is no raw deflate stream, or holds fewer or more bytes, or goes on after its
        end.
        """
        raw = bytearray(raw_bytes)
        view = memoryview(raw)
        source = io.BytesIO(data)
        stream: "Any" = deflate.DeflateIO(source, deflate.RAW, DEFLATE_WINDOW_BITS)
        at = 0
        try:
            while at < raw_bytes:
                count = stream.readinto(view[at:])
                if not count:
                    raise ProtocolError("deflate: too few bytes")
                at += count
            if stream.read(1) or source.read(1):
                raise ProtocolError("deflate: too many bytes")
        except (OSError, EOFError):
            raise ProtocolError("deflate: not a deflate stream")
        return raw


class Codecs:
    """The codecs of one node, the preferred first; at most one of each id."""

    def __init__(self, *codecs: "Codec") -> None:
        """Takes codecs in order of preference; "none" is added at the end if it is not among them.

        Raises UsageError when two share an id.
        """
        mine: "list[Codec]" = list(codecs)
        if not any([codec.id == NONE_ID for codec in mine]):
            mine.append(NONE)
        if len({codec.id for codec in mine}) != len(mine):
            raise UsageError("two codecs with one id")
        self._codecs = mine

    @property
    def names(self) -> "tuple[str, ...]":
        """What this node can receive, for HELLO: the preferred first."""
        return tuple([codec.name for codec in self._codecs])

    @property
    def compresses(self) -> bool:
        """Whether this node can make a frame smaller at all."""
        return any([codec.can_compress and codec.id != NONE_ID for codec in self._codecs])

    def by_id(self, codec_id: int) -> "Codec":
        """Return the codec that a frame names. Raises ProtocolError when this node never offered it."""
        for codec in self._codecs:
            if codec.id == codec_id:
                return codec
        raise ProtocolError("codec %r was not offered" % (codec_id,))

    def choose(self, peer_names: "Iterable[object]") -> "Codec":
        """Return the first of mine that can compress and that the peer named; "none" where there is no other."""
        names = list(peer_names)
        for codec in self._codecs:
            if codec.can_compress and codec.name in names:
                return codec
        return NONE


def device_codecs() -> Codecs:
    """Return what this interpreter can do without any library: deflate where it is built in, and "none"."""
    if deflate is None:
        return Codecs()
    return Codecs(DeviceDeflateCodec())
