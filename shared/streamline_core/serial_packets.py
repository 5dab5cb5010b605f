"""What the packets of a serial line say: a board's greeting, a gateway's state; and when they are said.

Rule: any bytes give a value or a ProtocolError. Either side says all it has to say again and again, so a lost packet costs time and nothing
else; that a side has started anew shows in the numbers it draws. Must not know: how packets travel, what is in a frame, a question or an
answer.
"""

from . import cbor
from .errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .ports import Buffer

LINE_VERSION = 1

# Kinds of packets.
GREETING = 1  # board to gateway
STATE = 2  # gateway to board
FRAME = 3  # both ways, not opened
ASK = 4  # gateway to board: a question
SAY = 5  # board to gateway: a piece of an answer

GREET_MS = 1000
"""A board that no gateway has answered greets so often; one that is known greets once for each STATE it hears."""
STATE_MS = 2000
"""A gateway says its state so often, and at each change."""
SILENT_MS = 10000
"""Who has heard nothing for so long takes the line to be down."""
PACKET_SHARE = 4
"""A packet takes at most this part of SILENT_MS on the line: nobody is taken for dead behind one."""

BITS_PER_BYTE = 10  # on the line, with start and stop
BAUD = 115200
TEXT_CHARS_MAX = 128
CONTROL_BYTES_MAX = 768
"""Of a greeting, a state, a question: what every end takes, however small its frames."""
_U32 = 0xFFFFFFFF


class Greeting:
    """life: a number drawn by the board at its start; payload_bytes_max: the largest packet it takes."""

    def __init__(self, life: int, node_id: str, fleet: str, payload_bytes_max: int, version: int = LINE_VERSION) -> None:
        self.life, self.node_id, self.fleet = life, node_id, fleet
        self.payload_bytes_max, self.version = payload_bytes_max, version


class LineState:
    """life: of the greeting that is answered, 0: none was heard. connection: another number for each one that there was to the broker,
    0: there is none, and `reason` says why. online, boot: what the hub said last on it; online is None before it said anything."""

    def __init__(
        self, life: int, connection: int, reason: str = "", online: "bool | None" = None, boot: str = "", version: int = LINE_VERSION
    ) -> None:
        self.life, self.connection, self.reason = life, connection, reason
        self.online, self.boot, self.version = online, boot, version


def encode_greeting(said: Greeting) -> bytes:
    return cbor.encode([said.version, said.life, said.node_id, said.fleet, said.payload_bytes_max])


def decode_greeting(data: "Buffer") -> Greeting:
    """Names in it are text, and not checked. Raises ProtocolError."""
    said = _array(data, 5)
    version, life, node_id, fleet, most = said[:5]
    if not (_number(version) and _number(life) and life and _text(node_id) and _text(fleet) and _number(most)):
        raise ProtocolError("a greeting of the wrong shape")
    return Greeting(life, node_id, fleet, most, version)


def encode_state(said: LineState) -> bytes:
    return cbor.encode([said.version, said.life, said.connection, said.reason[:TEXT_CHARS_MAX], said.online, said.boot[:TEXT_CHARS_MAX]])


def decode_state(data: "Buffer") -> LineState:
    """Raises ProtocolError."""
    said = _array(data, 6)
    version, life, connection, reason, online, boot = said[:6]
    if not (_number(version) and _number(life) and _number(connection) and _text(reason) and _text(boot)):
        raise ProtocolError("a state of the wrong shape")
    if not (online is None or online is True or online is False):
        raise ProtocolError("a state of the wrong shape")
    return LineState(life, connection, reason, online, boot, version)


def payload_bytes_of(baud: int) -> int:
    """The largest payload that a line of that speed carries in time (PACKET_SHARE), its overhead set aside."""
    return baud * SILENT_MS // (BITS_PER_BYTE * PACKET_SHARE * 1000) * 99 // 100


def _array(data: "Buffer", items: int) -> "Any":
    if len(data) > CONTROL_BYTES_MAX:
        raise ProtocolError("a control packet of %d bytes; at most %d are allowed" % (len(data), CONTROL_BYTES_MAX))
    said = cbor.decode(bytes(data))
    if not isinstance(said, list) or len(said) < items:
        raise ProtocolError("a control packet is an array of %d or more" % items)
    return said


def _number(value: object) -> bool:
    return type(value) is int and 0 <= value <= _U32


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= TEXT_CHARS_MAX
