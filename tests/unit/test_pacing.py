"""Pacing: what a limit of bytes a second comes to, however often it is asked."""

from streamline_core.pacing import Pacing

FRAME_BYTES = 300


def sent_in(secs, limit, every_ms):
    """Bytes that leave within so many seconds, where somebody asks every so many ms and always has a frame."""
    pacing, sent = Pacing(limit, 0, None, 0), 0
    for now_ms in range(0, secs * 1000, every_ms):
        while not pacing.wait_ms(now_ms):
            pacing.spent(FRAME_BYTES)
            sent += FRAME_BYTES
    return sent


def test_a_narrow_limit_holds_however_often_it_is_looked_at():
    for limit in (150, 1500, 1999, 65536, 1 << 20):
        for every_ms in (1, 3, 10, 100):
            share = sent_in(60, limit, every_ms) / (60 * limit)
            assert 0.95 < share < 1.05, (limit, every_ms, share)


def test_what_was_not_used_is_saved_for_a_fourth_of_a_second_at_the_most():
    pacing = Pacing(1000, 0, None, 0)
    assert pacing.wait_ms(60000) == 0
    pacing.spent(251)
    assert pacing.wait_ms(60000) > 0 and pacing.wait_ms(60001) == 0
