"""The sender: never beyond durable or the limit, rewinds when asked and once per round trip."""

from logs import Bench
from streamline_core.lineage import term_at
from streamline_core.recovery import recover
from streamline_core.sender import StreamSender


def built(n=8):
    bench = Bench(segment_bytes=4096)
    log = bench.open()
    for i in range(n):
        bench.write(log, [b"%d" % i * 40])  # batches of 102 bytes
    return bench, log, StreamSender(0, log)


def want(sender, number, next_, limit=100000, resend=False, echo=0, have=1, lineage=None, lost=(), produced=0):
    if lineage is None:
        lineage = sender.log.state.lineage if next_ else ()
    if not sender.wanted:
        sender.lineage()  # the HAVE that it answers
    return sender.on_want(number, echo, next_, lost, limit, resend, lineage, produced, have)


def drain(sender, bytes_max=1):
    got = []
    buf = bytearray(4096)
    while sender.ready:
        got.append((sender.sent, sender.take(buf, bytes_max).next))
    return got


def test_nothing_goes_before_a_want_and_no_more_than_the_limit():
    bench, log, sender = built()
    assert not sender.ready and sender.pending
    assert want(sender, 0, 0, 250)[0]
    assert drain(sender) == [(0, 1), (1, 2), (2, 3)]  # 204 bytes are within it, the third passes it
    want(sender, 1, 2, 250)
    assert drain(sender) == [(3, 4), (4, 5)]
    want(sender, 2, 5, 0)
    assert not sender.ready


def test_a_confirmed_stream_asks_until_the_first_want_of_its_session():
    bench, log, sender = built()
    log.state.acked = log.durable
    assert sender.pending  # the hub may have been restored since, and know less
    want(sender, 0, 8)
    assert not sender.pending


def test_old_wants_are_ignored():
    bench, log, sender = built()
    want(sender, 5, 4)
    assert want(sender, 5, 8) == want(sender, 3, 8) == (False, False, None) and log.acked == 4


def test_a_resend_rewinds_once_per_round_trip():
    bench, log, sender = built()
    want(sender, 0, 0)
    drain(sender)
    assert sender.sent == 8
    assert want(sender, 1, 3, resend=True, echo=1, have=4)[1] and sender.sent == 3
    drain(sender)
    assert not want(sender, 2, 3, resend=True, echo=3, have=5)[1] and sender.sent == 7
    assert want(sender, 3, 3, resend=True, echo=4, have=5)[1] and sender.sent == 3


def test_put_back_undoes_a_take():
    bench, log, sender = built()
    want(sender, 0, 0)
    buf = bytearray(4096)
    sender.take(buf, 1)
    before = sender.sent, sender._under_way_bytes, list(sender._under_way)
    assert sender.take(buf, 4096).next == 8
    sender.put_back()
    assert (sender.sent, sender._under_way_bytes, sender._under_way) == before
    assert drain(sender) == [(i, i + 1) for i in range(1, 8)]


def test_a_log_just_opened_and_not_yet_synced_is_no_fork():
    bench, log, sender = built()
    lineage = list(log.state.lineage)
    log = bench.open(settled=False)
    assert log.durable == 0 and log.written == 8
    sender = StreamSender(0, log)
    assert want(sender, 0, 8, lineage=lineage) == (True, False, None)
    assert want(StreamSender(0, log), 0, 9, lineage=lineage)[2].at == 8


def test_a_log_that_has_failed_is_no_fork_either():
    bench, log, sender = built()
    lineage = list(log.state.lineage)
    log.failure = OSError("EIO")
    log.written = log.durable = 0
    assert want(sender, 0, 8, lineage=lineage) == (False, False, None)
    recover(log, bench.entropy)
    assert want(sender, 1, 8, lineage=lineage)[2] is None and log.acked == 8


def test_gaps_that_both_sides_know_are_forgotten():
    bench, log, sender = built()
    log.note_gap(2, 4, "corrupt")
    want(sender, 0, 0)
    assert drain(sender, 4096) == [(0, 2), (2, 4), (4, 8)]
    want(sender, 1, 8, lost=(("corrupt", 2),))
    assert log.state.lost == {"corrupt": 2} and log.state.gaps.rows == [(2, 4, "corrupt")]  # still held, so still unreadable
    assert not sender.pending


def test_after_a_hole_few_pieces_are_under_way_and_twice_as_many_each_round_trip():
    bench, log, sender = built(40)
    for i in range(0, 40, 2):
        log.note_gap(i, i + 1, "corrupt" if i % 4 else "torn")  # gaps have no bytes: no limit in bytes holds them
    want(sender, 0, 0)
    assert len(drain(sender)) == 40
    want(sender, 1, 3, resend=True, have=7)
    assert drain(sender) == [(i, i + 1) for i in range(3, 7)]
    want(sender, 2, 7)
    assert drain(sender) == [(i, i + 1) for i in range(7, 15)]
    want(sender, 3, 15)
    assert drain(sender)[-1] == (30, 31)


def test_a_have_shows_more_of_the_lineage_when_the_receiver_knows_the_log_from_long_ago():
    bench, log, sender = built(2)
    for _ in range(20):
        log = bench.open()
        bench.write(log, [b"x"])
    sender = StreamSender(0, log)
    mine = log.state.lineage
    sender.lineage()
    assert want(sender, 0, 5, lineage=mine[:4]) == (True, True, None)  # that HAVE named the last openings only: another has to follow
    said = sender.lineage()
    assert len(said) == 8 and term_at(said, 4) == term_at(mine, 4) and said[-6:] == mine[-6:]
    assert not want(sender, 1, 5, lineage=mine[:4])[1]
