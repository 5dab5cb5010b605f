"""Sessions with keyed topics and feeds: a node whose hub says anything, a hub whose node says anything; and differences on the wire.

Rule: neither ever raises, what it sends is frames, and a good peer afterwards is served as always: what it writes is shown on the other
side. What `lengthen` gives is as long as was allowed at most. Must not know: carriers, disks.
"""

from fuzz import packing
from fuzz.feed_making import (
    BOTH,
    DEFINITIONS,
    DOWN,
    HUB,
    KEYED,
    KEYS,
    LONG,
    TOPICS,
    feed_frame_from,
    pieces_from,
    value_from,
    versions_from,
    write_versions,
)
from fuzz.fields import Fields, Script
from fuzz.frame_making import NODE, TOPIC, frame_from, write_frame
from fuzz.session_targets import ANSWER_MS_MAX, GOOD_NODE, GOOD_VALUE, STEPS_MAX, HubBench, LinkBench, check_good_session
from fuzz.target import REFUSED, Target, attempt
from streamline_core import frames
from streamline_core.delta import Deltas, lengthen, shorten
from streamline_core.errors import ProtocolError, QueueFull, StorageFull, UsageError
from streamline_core.extension import pack_own, pack_writer
from streamline_core.frames import DIFFERENCE, HAVE
from streamline_core.record_encoder import encode_record

GOOD_KEY = b"a good key"
NODE_MS_MAX = 6 * ANSWER_MS_MAX  # of virtual time, until what is odd is read again and what is good is there
EPOCHS = (5, 0, 6, 1 << 31)
BYTES_MAX = (0, 64, 4096, 1 << 20)


def run_lengthen(data: bytes) -> None:
    """Pieces, and a side that has a base or not."""
    fields = Fields(data)
    bytes_max, have = fields.pick(BYTES_MAX), fields.byte()
    how = fields.below(3)
    if how == 0:
        raw = fields.rest()
    else:
        raw = pieces_from(fields, versions_from(fields, 0, EPOCHS), EPOCHS)

    def bases(key: bytes, writer: bytes, offset: int) -> "bytes | None":
        assert 0 < len(key) <= bytes_max and 5 <= len(writer) <= 80 and offset >= 0
        return LONG if have >> (offset & 7) & 1 else None

    found = attempt(ProtocolError, lengthen, raw, bytes_max, bases)
    assert found is REFUSED or found is None or len(found) <= bytes_max
    assert attempt(ProtocolError, lengthen, memoryview(bytearray(raw)), bytes_max, bases) == found


def lengthen_seeds() -> list[bytes]:
    raw = bytes(shortened_parts([(LONG, LONG[:100] + b"!" + LONG[100:])])[1] or b"")
    pieces = Script().byte(3, 255, 1).raw(bytes(write_versions(Script(), ((b"value", HUB, 3),)))).byte(2, 1).number(200).byte(60, 1, 0, 0)
    return [bytes(Script().byte(3, 255, 0).raw(raw)), bytes(Script().byte(3, 254, 0).raw(raw)), bytes(pieces.number(1).blob(b"")) + b"\0"]


def shortened_parts(pairs: list[tuple[bytes, bytes]], acked: int = 1 << 40) -> tuple[bytes, bytes | None, dict[int, bytes]]:
    """A batch of values that were written on top of others, shortened: (the batch, what shorten makes of it, bases by offset)."""
    deltas, bases, body = Deltas(None), {}, b""
    for i in range(len(pairs)):
        base, value = pairs[i]
        bases[1000 + i] = base
        deltas.add(i, base, value, pack_writer(HUB, 5), 1000 + i)
        body += encode_record(0, 0, 0, value, b"key %d" % i, (("h", b"1"),) if i & 1 else (), None, False, pack_own("edge", {}))
    raw = packing.batch(body, 0, len(pairs), len(pairs), 0)
    return raw, shorten(raw, 0, deltas, acked), bases


def run_shortened(data: bytes) -> None:
    """What `shorten` makes of a batch, `lengthen` makes the batch again; broken in one place, it gives a batch whose checksum tells."""
    fields = Fields(data)
    pairs = []
    for _ in range(1 + fields.below(4)):
        base = value_from(fields)
        at, size = fields.unsigned(12) % (len(base) + 1), fields.unsigned(6)
        pairs.append((base, base[:at] + fields.blob() + base[at + size :] if fields.below(4) else value_from(fields)))
    raw, short, bases = shortened_parts(pairs)
    if short is None:
        return
    assert len(short) < len(raw)

    def base_of(key: bytes, writer: bytes, offset: int) -> "bytes | None":
        return bases.get(offset)

    assert lengthen(short, len(raw), base_of) == raw
    assert attempt(ProtocolError, lengthen, short, len(raw) - 1, base_of) is REFUSED
    assert lengthen(short, len(raw), lambda key, writer, offset: None) is None
    broken = bytearray(short)
    broken[fields.unsigned(12) % len(broken)] ^= 1 << fields.below(8)
    found = attempt(ProtocolError, lengthen, broken, len(raw), base_of)
    assert found is REFUSED or found is None or len(found) <= len(raw)


def shortened_seeds() -> list[bytes]:
    one = Script().byte(0, 3).number(0).blob(b"").number(100, 1).blob(b"!").byte(1)
    two = Script().byte(1, 3).number(20).blob(b"").number(30, 9).blob(b"ab").byte(1).byte(3).number(0).blob(b"1").number(0, 40).blob(b"")
    return [bytes(one), bytes(two.byte(1).number(77).byte(3))]


# A node


def run_feeds(data: bytes) -> None:
    """A hub that has welcomed a node says anything of feeds; then the node comes to a good hub, and each is shown what the other writes."""
    fields = Fields(data)
    bench = LinkBench(fields.below(4) != 3, sync_topics=[{"topic": TOPIC}, *TOPICS])
    node = bench.node
    own = node.log(KEYED).stream.epoch
    for i in range(3):
        node.produce(KEYED, LONG + b"%d" % i, KEYS[0])
    node.produce(BOTH, b"said")
    bench.edge.clock.advance(10)
    bench.turn()
    bench.welcome(fields, DIFFERENCE)
    for _ in range(STEPS_MAX):
        if not fields.left:
            break
        what = fields.below(12)
        if what == 0:
            bench.turn()
        elif what == 1:
            bench.edge.clock.advance(fields.unsigned(14))
            bench.turn()
        elif what == 2:
            bench.turn()
            bench.welcome(fields, DIFFERENCE)
        elif what == 3:
            attempt((QueueFull, StorageFull), node.produce, KEYED, value_from(fields)[:400], fields.pick(KEYS[:2]))
        elif what == 4:
            attempt((QueueFull, StorageFull), node.delete, KEYED, fields.pick(KEYS[:2]))
        elif what == 5:
            bench.node.link.receive(frame_from(fields, bench.session))
        else:
            bench.node.link.receive(feed_frame_from(fields, bench.session, HUB, (0, own, 5, 6)))
    bench.turn()
    node.status()
    node.ledger()
    for key in node.tables.keys(KEYED):
        node.tables.resolve(KEYED, key)
    check_good_feeds(bench)


def check_good_feeds(bench: LinkBench) -> None:
    world, edge, node = bench.world, bench.edge, bench.node
    for topic in sorted(DEFINITIONS):
        world.hub.define(topic, DEFINITIONS[topic])
    edge.disconnect()
    edge.connect()
    node.produce(KEYED, GOOD_VALUE, GOOD_KEY + b" up")
    node.produce(BOTH, GOOD_VALUE)
    world.hub.produce(KEYED, GOOD_VALUE, GOOD_KEY)
    for topic in (DOWN, BOTH):
        world.hub.produce(topic, GOOD_VALUE)

    def shown(topic: str) -> bool:
        consumer, items = node.consumer(topic, feed=True), True
        while items:
            items = consumer.take()
            if any([getattr(item, "value", b"") == GOOD_VALUE for item in items]):
                return True
        return False

    def done() -> bool:
        stored = [key for key in world.store.values if key[0] == NODE and GOOD_VALUE in world.store.values[key].values()]
        there = {key[1] for key in stored} >= {KEYED, BOTH} and world.store.load_siblings(KEYED, 0, GOOD_KEY + b" up")
        return bool(there) and node.tables.get(KEYED, GOOD_KEY) == GOOD_VALUE and shown(DOWN) and shown(BOTH)

    world.run_until(done, NODE_MS_MAX, 20)


def feeds_seeds() -> list[bytes]:
    begin = Script().byte(0, 0, 0, 0)
    have = Script().byte(6, 0, 2)
    for topic in range(3):
        have.byte(topic, 0, 0, 0).number(9).byte(0)
    have.number(1)
    want = bytes(frames_of_want(3))
    version = bytes(write_versions(Script().byte(6, 1, 0, 0).number(0).byte(1, 1), ((b"from afar", HUB, 0), (LONG, HUB, 1)))) + b"\0"
    plain = bytes(packing.write_batch(Script().byte(6, 1, 1, 0).number(0).byte(1, 0), [b"one", b"two"])) + b"\0"
    gap = bytes(Script().byte(6, 2, 1).number(2, 3).byte(0, 7))
    state = bytes(Script().byte(6, 3, 0, 0, 0, 0, 0, 0, 1))
    diff = bytes(write_versions(Script().byte(6, 4, 0, 1, 1), ((b"", HUB, 4),), True)) + bytes(Script().byte(1, 0, 1, 0).number(0).byte(0))
    later = b"\1\x0a"
    talk = bytes(begin) + bytes(have) + want + version + later + plain + later + gap + later + state + diff + later
    return [talk, bytes(begin) + bytes(have) + diff, bytes(begin) + bytes(have) + want + version * 2 + later + state]


def frames_of_want(rows: int) -> Script:
    """The script of a WANT that confirms nothing of so many streams."""
    found = [(handle, 0, [], 65536, False, [], 0) for handle in range(rows)]
    return write_frame(Script().byte(5), frames.WANT, (1, 1, found))


# A hub


def run_keyedhub(data: bytes) -> None:
    """A node that has greeted and offered its streams says anything; its hub may have been rolled back; then another node is served."""
    fields, bench = Fields(data), HubBench()
    for topic in sorted(DEFINITIONS):
        bench.hub.define(topic, DEFINITIONS[topic])
    bench.hub.produce(KEYED, LONG, KEYS[0])
    bench.hub.produce(DOWN, b"to all")
    bench.turn()
    session = bench.greet(NODE, b"12345678")
    bench.hub.receive(NODE, offer(session, NODE))
    bench.turn()
    if fields.below(2):
        bench.hub.feeds.rolled_back[KEYED, 0] = True
    for step in range(STEPS_MAX):
        if not fields.left:
            break
        what = fields.below(12)
        if what == 0:
            bench.turn()
        elif what == 1:
            bench.clock.advance(fields.unsigned(24))
            bench.turn(OSError("disk") if fields.below(2) else None)
        elif what == 2:
            session = bench.greet(NODE, b"nonce %02d" % step)
        elif what == 3:
            attempt((QueueFull, UsageError), bench.hub.produce, KEYED, value_from(fields) if fields.below(4) else None, fields.pick(KEYS))
        elif what == 4:
            bench.hub.receive(NODE, frame_from(fields, session))
        else:
            bench.hub.receive(NODE, feed_frame_from(fields, session, NODE, EPOCHS))
    bench.clock.advance(2000)
    bench.turn()
    bench.hub.status()
    check_good_session(bench)
    check_good_version(bench)


def offer(session: bytes, node: str) -> bytes:
    """Its streams of all topics, by handle; nothing is in them yet."""
    rows = []
    for i in range(len(TOPICS)):
        topic = TOPICS[i]["topic"]
        rows.append((i, 0, 0, 0, topic, 0, node, EPOCHS[0], list(DEFINITIONS[topic].to_wire()), [], [], False))
    return frames.encode(HAVE, session, (1, rows))


def check_good_version(bench: HubBench) -> None:
    """A node writes a key, and what it wrote stands; and what the hub writes then stands instead."""
    session = bench.greet(GOOD_NODE, b"good one")
    bench.hub.receive(GOOD_NODE, offer(session, GOOD_NODE))
    body = encode_record(0, 0, 0, GOOD_VALUE, GOOD_KEY, (), None, False, pack_own("edge", {}))
    payload = packing.batch(bytes(body), 0, 1, 1, 0)
    head = bytearray(frames.DATA_HEADER_BYTES)
    frames.pack_data_header(head, session, 0, 0, len(payload), 0)
    bench.hub.receive(GOOD_NODE, bytes(head) + payload)
    bench.turn()
    bench.turn()
    rows = bench.store.versions[KEYED, 0]
    assert (GOOD_NODE, EPOCHS[0], 0) in rows, "a good version does not stand"
    bench.hub.produce(KEYED, b"on top", GOOD_KEY)
    bench.turn()
    standing = [dot for dot in bench.store.versions[KEYED, 0] if bench.store.versions[KEYED, 0][dot][1].key == GOOD_KEY]
    assert len(standing) == 1 and standing[0][0] == HUB, "what the hub writes does not take the place of what it had seen"


def keyedhub_seeds() -> list[bytes]:
    version = bytes(write_versions(Script().byte(5, 1, 0, 0).number(0).byte(1, 1), ((b"mine", NODE, 0), (LONG, NODE, 1)))) + b"\0"
    state = bytes(Script().byte(5, 3, 0, 0, 0, 0, 0, 0, 1))
    diff = bytes(write_versions(Script().byte(5, 4, 0, 1, 1), ((b"", HUB, 4),))) + b"\0\0"
    gap = bytes(Script().byte(5, 2, 1).number(0, 3).byte(0, 7))
    want = bytes(frames_of_want(3)).replace(b"\x05", b"\x04", 1)
    talk = version + b"\0" + gap + b"\0" + want + state + diff + b"\0"
    names = ((b"one", NODE, 0), (b"other", NODE, 0))  # one name for two versions, under two keys
    twice = bytes(write_versions(Script().byte(5, 1, 0, 0).number(0).byte(1, 1), names, keys=2)) + b"\0\0"
    forgotten = bytes(write_versions(Script().byte(5, 4, 0, 1, 1), ((b"one", "e9", 4), (b"other", "e9", 4)), keys=2)) + b"\0\0\0"
    return [b"\0" + talk, b"\1" + talk + diff, b"\0" + version + b"\2" + talk, b"\0" + twice, b"\1" + forgotten]


TARGETS = (
    Target("lengthen", run_lengthen, lengthen_seeds, "lengthen: pieces and differences from bases that are here or not"),
    Target("shortened", run_shortened, shortened_seeds, "shorten and lengthen of batches of large values; one place broken"),
    Target("feeds", run_feeds, feeds_seeds, "Node.receive with feeds and keyed topics: frames of any content", costly=True),
    Target("keyedhub", run_keyedhub, keyedhub_seeds, "Hub.receive with keyed topics: frames of any content", costly=True),
)
