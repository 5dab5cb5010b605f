"""Frames that a wire repeats or reorders, and those of a peer that is broken, of a later build, or means no good."""

import hashlib

from streamline_core import cbor, frames
from streamline_core.extension import pack_carried
from streamline_core.version import Version
from table_world import at_rest, converged, hub_keys, value, world_of
from world import World, produce


def test_garbage_and_old_sessions_are_counted_and_the_session_goes_on():
    world = World()
    edge = world.edge().connect()
    values = produce(edge, 50)
    world.run_until(world.drained)
    old = frames.encode(frames.HAVE, b"12345678", (1, ()))
    for junk in (b"", b"\xff" * 40, bytes([frames.DATA]) * 30, old, bytes([frames.HELLO]) + bytes(8) + b"\x80", b"\x05" * 70000):
        world.hub.receive("e1", junk)
        edge.node.link.receive(junk)
    assert world.hub.counters["refused_frames"] == 6 and edge.node.link.counters["refused_frames"] == 6
    values += produce(edge, 50, 50)
    world.run_until(world.drained)
    assert world.values() == [values]


def test_a_replayed_hello_does_not_end_the_session():
    world = World()
    edge = world.edge().connect()
    hello = None
    while hello is None:
        edge.settle()
        hello = edge.node.link.next_frame()
    world.hub.receive("e1", hello)
    edge.up.put(hello)
    values = produce(edge, 20)
    world.run_until(world.drained)
    sessions = edge.node.link.counters["sessions"]
    for _ in range(5):
        world.hub.receive("e1", hello)
        world.run(50)
    values += produce(edge, 20, 20)
    world.run_until(world.drained)
    assert world.values() == [values] and edge.node.link.counters["sessions"] == sessions


def test_a_have_that_a_newer_one_has_overtaken_changes_nothing():
    world = World()
    edge = world.edge().connect()
    produce(edge, 4)
    world.run_until(world.drained)
    log, session = edge.node.log("t"), world.hub.nodes["e1"].current

    def have(number, next_, sealed):
        row = (0, 0, next_, 0, "t", 0, "e1", log.stream.epoch, log.definition, log.state.lineage, (), sealed)
        world.hub.receive("e1", frames.encode(frames.HAVE, session.id, (number, (row,))))

    have(1000, 10, False)
    have(1002, 4, True)  # it has parted and ends before what was promised
    have(1001, 10, False)
    world.run(50)
    state = world.store.states[log.stream.key()]
    assert state.closed and (state.next, state.produced) == (4, 10)


def test_a_hub_answers_a_greeting_of_another_version_by_name():
    world = World()
    edge = world.edge().connect()
    hello = bytes([frames.HELLO]) + bytes(8) + cbor.encode((2, "e1", "whatever comes then"))
    world.hub.receive("e1", hello)
    name, answer = world.hub.next_frame()
    frame = frames.decode(answer)
    assert name == "e1" and frame.type == frames.ERROR and frame.fields[0] == "version" and "speaks 1" in frame.fields[1]
    values = produce(edge, 5)
    world.run_until(world.drained)
    assert world.values() == [values]


def test_fields_that_a_later_build_appends_are_passed_over():
    longer = (1, ((0, 0, 5, 0, "t", 0, "e1", 7, (0, 0, 1, 0, b""), ((1, 0, 9),), None, True, "new"),), "new")
    frame = frames.decode(frames.encode(frames.HAVE, b"12345678", longer))
    assert frame.fields == [1, [[0, 0, 5, 0, "t", 0, "e1", 7, [0, 0, 1, 0, b""], [[1, 0]], None, True]]]


def test_gaps_without_end_wedge_nobody_else():
    world = World()
    edge = world.edge().connect()
    other = world.edge("e2").connect()
    values = produce(edge, 5)
    world.run_until(world.drained)
    session, first = world.hub.nodes["e1"].current.id, 5
    for _ in range(100):
        world.hub.receive("e1", frames.encode(frames.GAP, session, (0, first, first + (1 << 48), "evicted", 7)))
        first += 1 << 48
    world.hub.receive("e1", frames.encode(frames.GAP, session, (0, first, 1 << 63, "evicted", 7)))
    others = produce(other, 5)
    world.run_until(lambda: other.node.ledger()[0]["delivered"] == 5)
    assert world.values("e2") == [others] and world.values("e1") == [values]


def test_data_of_an_earlier_session_is_not_taken():
    world = World()
    edge = world.edge().connect()
    produce(edge, 5)
    world.run_until(world.drained)
    produce(edge, 5, 5)
    old = None
    while old is None or old[0] != frames.DATA:
        edge.settle()
        old = edge.node.link.next_frame()
        old = bytes(old) if old is not None else None
        world.clock.advance(5)
        edge.clock.advance(5)
    edge.disconnect()
    edge.connect()
    world.hub.receive("e1", old)  # its session is still the current one: it counts
    world.run(50)
    edge.node.produce("t", b"value 10")
    world.run_until(world.drained)
    refused, commits = world.hub.counters["refused_frames"], world.hub.commits.commits
    world.hub.receive("e1", old)
    assert world.hub.counters["refused_frames"] == refused + 1
    world.run(50)
    assert world.hub.commits.commits == commits and world.values() == [[b"value %d" % i for i in range(11)]]


def test_a_welcome_that_answers_another_hello_opens_nothing():
    world = World()
    edge = world.edge().connect()
    while edge.node.link.session is None:
        edge.settle()
    edge.node.link.next_frame()
    for nonce, session in ((b"other one", None), (None, b"12345678")):
        ours = edge.node.link.session._nonce
        fields = (1, "cloud", 1, b"hubnonce", b"hubstore", ("none",), 4096, 65536, (), "x", nonce[:8] if nonce else ours, None)
        right = hashlib.sha256(b"streamline session" + ours + b"hubnonce").digest()[:8]
        edge.node.link.receive(frames.encode(frames.WELCOME, session or right, fields))
        assert edge.node.link.state == "hello" and "another HELLO" in edge.node.link.why_refused


def test_one_name_for_versions_of_two_keys_is_refused_and_nobody_else_waits():
    world = world_of()
    one, two = world.edges["e0"], world.edges["e1"]
    log = one.node.log("state")
    for key in (b"k", b"other"):
        carried = pack_carried(Version("e0", log.stream.epoch, 0, "edge", 1 << 56, True, {}, b""))
        log.append_full(b"bad", key, (), None, 0, 0, False, carried)
    two.node.produce("state", b"good", b"good")
    at_rest(world)
    assert world.hub.table.refused == len(world.store.refused) == 1 and b"other" not in hub_keys(world)
    assert value(one, b"good") == b"good" and one.node.ledger()[0]["pending"] == 0


def test_a_feed_is_offered_under_one_handle():
    world = world_of(1)
    edge = world.edges["e0"]
    converged(world)
    session = edge.node.link.session
    definition = edge.node.log("state").definition
    for number in range(100, 400):
        row = (number, 0, 9, 0, "state", 0, "cloud", 0, definition, ((7, 0),), None, False)
        edge.node.link.receive(frames.encode(frames.HAVE, session.id, (number, (row,))))
    assert len(session.receivers) == 1 and len(session.reconcilers.by_handle) == 1
    assert edge.node.link.counters["refused_frames"] == 300
    edge.node.produce("state", b"good", b"k")
    converged(world)
