"""The receiver: exactly the next offset, whatever comes; what it hands the store adds up."""

from harness import Random, raises
from logs import pack_batch
from streamline_core.batch import batches, records
from streamline_core.codec import NONE
from streamline_core.credit import WINDOW_BYTES_MIN, CreditPool
from streamline_core.errors import ProtocolError
from streamline_core.lineage import excerpt, parting
from streamline_core.receiver import StreamReceiver
from streamline_core.store_ops import BatchQuarantined, ChunkReceived, GapReceived, StreamState, loss_of
from streamline_core.stream import StreamId


def make(next_=0):
    state = StreamState()
    state.next = state.produced = next_
    return StreamReceiver(StreamId("e", "t", 0, 1), state, CreditPool(1 << 24))


def data(receiver, first, *packed):
    raw = b"".join(packed)
    return receiver.on_data(first, NONE, len(raw), memoryview(raw))


def stored(op):
    return [(r.offset, r.value) for h, view in batches(op.data) for r in records(h, view) if r.offset >= op.first]


def test_what_is_next_is_taken_and_confirmed_after_the_commit():
    receiver = make()
    packed = pack_batch(0, [b"a", b"b"]) + pack_batch(2, [b"c"])
    (op,) = data(receiver, 0, packed)
    assert (op.first, op.next, op.count, op.data, op.state.next, op.raw_bytes) == (0, 3, 3, packed, 3, len(packed))
    assert receiver.want_row()[1] == 0
    receiver.committed(op)
    assert receiver.want_row()[1] == 3 and receiver.under_way_bytes == 0


def test_repeats_change_nothing_and_holes_ask_again():
    receiver = make()
    first, second, third = [pack_batch(i, [b"x"]) for i in range(3)]
    (op,) = data(receiver, 0, first)
    assert data(receiver, 0, first) == [] and receiver.repeats == 1
    assert data(receiver, 2, third) == ()
    assert receiver.want_row() is None  # not while something is under way
    receiver.committed(op)
    assert receiver.want_row()[4] is True
    (op,) = data(receiver, 0, first, second)  # the old one is left out
    assert (op.first, op.next, op.data) == (1, 2, second)
    receiver.committed(op)
    assert receiver.want_row()[4] is False


def test_a_have_that_what_was_sent_after_it_has_overtaken_takes_nothing_back():
    receiver = make()
    receiver.begin(1)
    receiver.on_have(1, 0, [(7, 0)], False)
    (op,) = data(receiver, 0, pack_batch(0, [b"a", b"b", b"c"], term=7))
    receiver.committed(op)
    receiver.on_have(2, 0, [(7, 0)], False)
    assert receiver.is_held(2) and receiver.want_row()[5] == [(7, 0)]
    receiver.begin(1)  # another session: a disk that was put back may hold less
    receiver.on_have(2, 0, [(7, 0)], False)
    assert receiver.is_held(1) and not receiver.is_held(2)


def test_a_batch_across_the_watermark_counts_only_what_is_new():
    receiver = make(2)
    (op,) = data(receiver, 2, pack_batch(0, [b"a", b"b", b"c", b"d"], term=9))
    assert (op.first, op.next, op.count) == (2, 4, 2) and stored(op) == [(2, b"c"), (3, b"d")]
    assert op.state.lineage == [(9, 2)]


def test_a_frame_that_goes_back_or_jumps_keeps_what_came_before():
    one, two, four = pack_batch(0, [b"a"]), pack_batch(1, [b"b"]), pack_batch(4, [b"e"])
    for bad in (one, two, four, two[:-1] + b"?", b"junk"):
        receiver = make()
        (op,) = data(receiver, 0, one, two, bad)
        assert (op.next, op.count, stored(op)) == (2, 2, [(0, b"a"), (1, b"b")])
        receiver.committed(op)
        assert receiver.want_row()[4] is True
    raises(ProtocolError, data, make(), 0, four)


def test_a_frame_of_another_length_than_promised_is_refused():
    raw = pack_batch(0, [b"a"])
    raises(ProtocolError, make().on_data, 0, NONE, len(raw) + 1, memoryview(raw))


def test_what_can_never_be_applied_is_quarantined_and_counted():
    receiver = make()
    ops = data(receiver, 0, pack_batch(0, [b"a"]), pack_batch(1, [b"?", b"?"], flags=9), pack_batch(3, [b"d"]))
    assert [type(op) for op in ops] == [ChunkReceived, BatchQuarantined, GapReceived, ChunkReceived]
    assert stored(ops[0]) == [(0, b"a")] and stored(ops[3]) == [(3, b"d")] and ops[3].first == 3
    assert ops[3].state.lost == {"refused": 2} and ops[3].state.next == 4


def test_a_gap_is_taken_as_far_as_it_is_new_and_refused_where_it_makes_no_sense():
    receiver = make(5)
    op = receiver.on_gap(3, 9, "evicted", 7)
    assert (op.first, op.next, op.state.lost) == (5, 9, {"evicted": 4})
    assert receiver.on_gap(5, 9, "evicted", 7) is None and receiver.on_gap(10, 12, "torn", 7) is None
    for first, next_, cause in ((9, 9, "torn"), (9, 8, "torn"), (9, 10, "eaten"), (0, 1 << 60, "torn")):
        raises(ProtocolError, receiver.on_gap, first, next_, cause, 7)


def test_what_a_closed_epoch_owed_is_lost_by_storage_until_it_is_offered_again():
    receiver = make()
    mine = ((7, 0),)
    assert receiver.on_have(10, 0, mine, False).state.produced == 10 and receiver.on_have(10, 0, mine, False) is None
    raises(ProtocolError, receiver.on_have, (1 << 64) - 1, 0, mine, False)
    state = receiver.close().state
    assert state.closed and loss_of(state.next, state.produced, state.lost, state.closed) == {"storage": 10} and receiver.close() is None
    assert not receiver.on_have(10, 0, mine, False).state.closed


def test_what_is_promised_is_known_by_its_terms_before_it_arrives():
    receiver, offered = make(), [(7, 0), (8, 4)]
    receiver.committed(receiver.on_have(10, 0, offered, False))
    assert receiver.want_row()[5:] == (offered, 10)  # by these its sender finds out whether it still holds it


def test_an_epoch_offered_again_is_not_told_that_all_is_accounted_for_before_the_commit():
    receiver = make()
    for op in (receiver.on_have(10, 0, ((7, 0),), False), receiver.close()):
        receiver.committed(op)
    assert receiver.want_row()[1:3] == (10, [("storage", 10)])
    op = receiver.on_have(10, 0, ((7, 0),), False)
    assert receiver.want_row()[1:3] == (0, [])
    receiver.committed(op)
    assert receiver.want_row()[1:3] == (0, [])


def test_data_and_gaps_of_another_log_do_not_follow_what_was_taken_or_offered():
    receiver = make()
    receiver.on_have(4, 0, ((7, 0),), False)
    (op,) = data(receiver, 0, pack_batch(0, [b"a", b"b"]))  # not committed: the store refuses for a while
    raises(ProtocolError, data, receiver, 2, pack_batch(2, [b"?"], term=9))  # it begins exactly where this one goes on
    assert receiver.on_gap(2, 3, "torn", 9) is None and receiver.ahead.next == 2
    receiver.committed(op)
    assert receiver.want_row()[4] is True
    receiver = make()
    data(receiver, 0, pack_batch(0, [b"a", b"b"]))
    raises(ProtocolError, data, receiver, 0, pack_batch(0, [b"?", b"?"], term=9), pack_batch(2, [b"?"], term=9))  # it begins as a repeat
    assert receiver.ahead.next == 2


def test_nothing_is_taken_while_the_last_have_shows_another_log():
    receiver = make()
    data(receiver, 0, pack_batch(0, [b"a", b"b", b"c"]))
    receiver.begin(1)
    assert receiver.on_have(5, 0, ((7, 0), (9, 1)), False) is None
    assert data(receiver, 3, pack_batch(3, [b"?"], term=9)) == () and receiver.on_gap(3, 4, "torn", 9) is None
    receiver.begin(2)
    receiver.on_have(5, 0, ((7, 0),), False)
    assert data(receiver, 3, pack_batch(3, [b"d"])) and receiver.ahead.next == 4


def test_of_a_log_that_ends_before_what_was_taken_only_what_both_hold_is_taken():
    receiver = make()
    receiver.on_have(8, 0, ((7, 0),), False)
    (op,) = data(receiver, 0, pack_batch(0, [b"a", b"b"]))  # of one device, not committed
    receiver.begin(1)
    assert receiver.on_have(3, 0, ((7, 0),), False) is None  # a clone of it, whose next opening is named by no HAVE yet
    (more,) = data(receiver, 2, pack_batch(2, [b"c"]))
    assert more.state.next == 3
    for first in (3, 8):
        receiver.ahead.next = first
        assert data(receiver, first, pack_batch(first, [b"?"], term=9)) == () and receiver.on_gap(first, first + 1, "torn", 9) is None
    receiver.on_have(20, 20, ((9, 3),), False)  # when it has grown past that, it is still another log
    assert data(receiver, 8, pack_batch(8, [b"?"], term=9)) == ()
    receiver.begin(2)
    receiver.on_have(9, 0, ((7, 0),), False)
    assert data(receiver, 8, pack_batch(8, [b"i"]))


def test_a_sender_that_parted_is_not_asked_to_send_again_before_the_store_knows_why():
    receiver = make()
    op = receiver.on_have(5, 0, ((7, 0),), False)
    receiver.begin(1)
    receiver.on_have(5, 5, ((9, 0),), False)
    assert data(receiver, 0, pack_batch(0, [b"?"], term=9)) == () and receiver.want_row() is None
    receiver.committed(op)
    assert receiver.want_row()[4:] == (True, [(7, 0)], 5)


def test_what_another_device_has_ended_is_taken_from_one_that_still_holds_it():
    receiver = make()
    data(receiver, 0, pack_batch(0, [b"a", b"b"]))
    receiver.on_have(9, 0, ((7, 0),), False)
    receiver.begin(1)
    assert receiver.on_have(2, 0, ((7, 0),), True).state.closed  # a clone that has forked
    receiver.begin(2)
    assert not receiver.on_have(6, 0, ((7, 0),), False).state.closed  # the first one, whose disk has lost its end
    assert data(receiver, 2, pack_batch(2, [b"c"])) and receiver.want_row()[1] == 0


def test_a_have_that_its_own_data_has_overtaken_holds_nothing_up():
    receiver = make()
    receiver.on_have(2, 0, ((7, 0),), False)
    data(receiver, 0, pack_batch(0, [b"a", b"b"]), pack_batch(2, [b"c"]))
    receiver.on_have(2, 2, ((7, 0),), False)
    assert data(receiver, 3, pack_batch(3, [b"d"]))


def test_a_gap_across_two_openings_is_known_by_the_term_of_its_end():
    mine, receiver = [(7, 0), (8, 4)], make()
    data(receiver, 0, pack_batch(0, [b"a", b"b"]))
    state = receiver.on_gap(2, 8, "evicted", 8).state
    assert parting(mine, 10, state.lineage, state.produced) is None


def test_a_have_that_names_only_later_openings_does_not_wedge_the_stream():
    mine, receiver = [(i, 5 * i - 5) for i in range(1, 21)], make(5)
    receiver.ahead.lineage = receiver.applied.lineage = [(1, 0)]
    assert receiver.on_have(100, 0, mine[-8:], False) is None  # it may be another log: nothing is taken up before it has shown more
    assert data(receiver, 5, pack_batch(5, [b"x"], term=2)) == () and receiver.want_row()[5] == [(1, 0)]
    receiver.on_have(100, 0, excerpt(mine, 4, 8), False)
    for first in range(5, 100):
        term = first // 5 + 1
        if term == 7:
            op = receiver.on_gap(first, first + 1, "corrupt", term)
        else:
            (op,) = data(receiver, first, pack_batch(first, [b"x"], term=term))
        receiver.committed(op)
        row = receiver.want_row()
        assert row[1] == first + 1 and parting(mine, 100, row[5], row[6]) is None
    assert receiver.ahead.lineage == mine


def test_a_stream_with_nothing_to_send_is_promised_credit_and_holds_none():
    receiver = make()
    assert receiver.want_row()[3] == WINDOW_BYTES_MIN and receiver.window.size == 0
    receiver.on_have(5, 0, ((7, 0),), False)
    assert receiver.want_row()[3] == WINDOW_BYTES_MIN == receiver.window.size


def test_any_order_of_frames_gives_every_record_once():
    for seed in range(1, 30):
        random = Random(seed)
        packed, base = [], 0
        for _ in range(20):
            n = 1 + random.below(4)
            packed.append((base, pack_batch(base, [b"%d" % (base + i) for i in range(n)])))
            base += n
        receiver, rows = make(), {}
        for _ in range(2000):
            if receiver.ahead.next == base:
                break
            i = random.below(20)
            run = packed[i : i + 1 + random.below(4)]
            for op in data(receiver, run[0][0], *[p for _, p in run]):
                for offset, value in stored(op):
                    assert offset not in rows
                    rows[offset] = value
                receiver.committed(op)
        assert rows == {i: b"%d" % i for i in range(base)}, seed


def test_data_beyond_what_the_pool_can_grant_is_not_taken_and_is_asked_for_again():
    receiver = StreamReceiver(StreamId("e", "t", 0, 1), StreamState(), CreditPool(100))
    assert receiver.on_have(9, 0, ((7, 0),), False)
    assert data(receiver, 0, pack_batch(0, [b"x" * 200])) == ()
    assert receiver.ahead.next == 0 and receiver.want_row()[4] is True
    assert data(receiver, 0, pack_batch(0, [b"x"])) != ()
