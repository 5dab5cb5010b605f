"""The watchdog of a board: who may feed it, and how often. The device is a stand-in that counts."""

from flashes import FOLDER, Files, seg
from harness import MICROPYTHON, raises
from nor_flash import NorFlash
from streamline_board import watchdog
from streamline_board.flash_storage import FlashStorage
from streamline_board.watchdog import OPENING_STEPS, TURN_STEPS, SteppingDevice, Watchdog


class StandIn:
    """What machine.WDT is on a board."""

    def __init__(self):
        self.fed = 0

    def feed(self):
        self.fed += 1


def test_steps_feed_while_it_opens_and_then_a_bounded_number_in_each_turn():
    device = StandIn()
    dog = Watchdog(device)
    for _ in range(OPENING_STEPS + 100):
        dog.step()
    assert device.fed == OPENING_STEPS, "an opening that never ends must end in a reset"
    for _ in range(3):
        dog.feed()
        before = device.fed
        for _ in range(TURN_STEPS + 100):
            dog.step()
        assert device.fed == before + TURN_STEPS


def test_a_board_without_a_watchdog_runs_without():
    dog = Watchdog(None)
    dog.feed()
    dog.step()
    assert not dog.running and dog.keep()
    assert not watchdog.start(0).running
    if MICROPYTHON and not hasattr(__import__("machine"), "WDT"):  # where there is one, it would run from now on
        assert not watchdog.start().running


def test_a_time_that_the_loop_may_wait_for_by_itself_is_refused():
    error = raises(ValueError, watchdog.start, 1000)
    assert "1000" in str(error) and "4000" in str(error)


def test_reading_a_whole_flash_at_a_start_feeds_as_it_goes():
    flash, files = NorFlash(300, 1024), Files()
    plain = FlashStorage(flash, files)
    for i in range(5):
        plain.append(seg(i), bytes(3000))
    device = StandIn()
    storage = FlashStorage(SteppingDevice(flash, Watchdog(device)), files)
    assert device.fed >= 300, "each block is a step"
    assert sorted(storage.list(FOLDER)) == sorted(plain.list(FOLDER))
    dog = Watchdog(device)
    dog.feed()
    storage = FlashStorage(SteppingDevice(flash, dog), files)
    before = device.fed
    storage.append(seg(9), bytes(40000))  # some forty erases in one go
    assert TURN_STEPS >= device.fed - before >= 0
