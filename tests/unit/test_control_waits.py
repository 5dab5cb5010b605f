"""Answers that wait for records: on the disk, at the cloud, through forks and failures."""

from harness import raises
from streamline_board.control_waits import Wait
from streamline_core.errors import StorageFull, StreamlineError


class Gaps:
    def __init__(self, *rows):
        self.rows = list(rows)


class State:
    def __init__(self):
        self.gaps = Gaps()


class Stream:
    topic = "t"


class Log:
    """What a wait sees of one."""

    folder, term, failure, successor, stream = "t-0/a", 1, None, None, Stream()

    def __init__(self):
        self.durable = self.acked = self.written = 0
        self.state = State()

    def moved(self, offset):
        return (self.successor, offset - 5) if self.successor is not None and offset >= 5 else None


def test_it_is_over_when_all_is_that_far():
    one, other = Log(), Log()
    wait = Wait(7, [[one, 3, 9], [other, 0, 2]], "durable", {"stored": 8})
    assert not wait.over()
    one.durable = 9
    assert not wait.over()
    other.durable = 2
    assert wait.over() and wait.answer() == {"id": 7, "ok": True, "offset": 0, "stored": 8}
    assert Wait(1, [[one, 30, 90]], "buffered", {}).over()


def test_the_cloud_has_to_have_it_and_a_loss_is_an_error():
    log = Log()
    wait = Wait(1, [[log, 3, 9]], "cloud", {})
    log.durable = log.written = 9
    assert not wait.over()
    log.acked = 9
    assert wait.over()
    log.acked, log.state.gaps = 0, Gaps((0, 3, "expired"), (8, 12, "evicted"))
    lost = raises(StreamlineError, Wait(1, [[log, 3, 9]], "cloud", {}).over)
    assert str(lost) == "record 8 of t was lost before the cloud had it: evicted"
    log.acked = 20
    raises(StreamlineError, Wait(1, [[log, 3, 9]], "cloud", {}).over)


def test_a_storage_that_failed_has_lost_it_unless_it_is_there_after_all():
    log = Log()
    wait, cloud = Wait(1, [[log, 3, 9]], "durable", {}), Wait(2, [[log, 3, 9]], "cloud", {})
    log.failure = OSError(5)
    raises(StorageFull, wait.over)
    assert not cloud.over()  # it is opened anew, and may be there
    log.failure, log.term, log.written = None, 2, 9
    raises(StorageFull, wait.over)
    assert not cloud.over()
    log.term, log.written = 3, 8
    raises(StorageFull, cloud.over)


def test_what_a_fork_has_moved_is_waited_for_where_it_lies():
    log = Log()
    wait = Wait(1, [[log, 6, 8]], "durable", {})
    log.successor = Log()
    assert not wait.over()
    log.successor.durable = 3
    assert wait.over() and wait.answer()["offset"] == 1
