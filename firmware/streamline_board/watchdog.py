"""The hardware watchdog, which resets a board whose loop has stopped turning.

Rule: it is fed once a turn, and only by a turn that did its work: never by an interrupt or a timer, which would go on where the loop does
not. What takes longer than a turn may (reading a flash at a start, erasing blocks) feeds by its progress, a bounded number of times.
Must not know: what a turn does.
"""

TIMEOUT_MS = 8000  # rp2 can do no more than 8388
TIMEOUT_MS_MIN = 4000  # of which the loop's longest wait is a fourth
OPENING_STEPS = 1 << 17  # operations on the flash that feed while the agent opens; a read is some 0.1 ms
HANDS_MS = 170000  # for somebody at the console, where no timer can feed
TURN_STEPS = 64  # as many within a turn; an erase is at most 400 ms


def start(timeout_ms=TIMEOUT_MS):
    """The board's, running from now on: it cannot be stopped. timeout_ms: at least TIMEOUT_MS_MIN, 0 for none. Where the board has no
    watchdog, one that does nothing. Raises ValueError where the board cannot do that time."""
    device = None
    if timeout_ms:
        if timeout_ms < TIMEOUT_MS_MIN:
            raise ValueError("a watchdog of %d ms: at least %d" % (timeout_ms, TIMEOUT_MS_MIN))
        try:
            from machine import WDT

            device = WDT(timeout=timeout_ms)
        except (ImportError, AttributeError):
            pass
    return Watchdog(device)


class Watchdog:
    """device: something with `feed()`, or None. It begins in the middle of an opening: see `step`."""

    def __init__(self, device):
        self._device = device
        self._steps = OPENING_STEPS

    @property
    def running(self):
        return self._device is not None

    def feed(self):
        """A turn has done its work."""
        self._steps = TURN_STEPS
        if self._device is not None:
            self._device.feed()

    def step(self):
        """Something has got on that may take long in all. After OPENING_STEPS of these at a start, or TURN_STEPS in one turn, they count
        no longer: what never ends gets on, too."""
        if self._steps:
            self._steps -= 1
            if self._device is not None:
                self._device.feed()

    def keep(self):
        """Somebody at the console has stopped the agent, and nothing turns any more: a timer feeds from now on, where there is one, or
        there are HANDS_MS, where that can be set, so that the board is not taken from under his hands. Returns whether either is so."""
        if self._device is None:
            return True
        if hasattr(self._device, "timeout_ms"):
            self._device.timeout_ms(HANDS_MS)
            return True
        try:
            from machine import Timer
        except ImportError:
            return False
        for number in (-1, 0):  # the software timer, where the port has such
            try:
                timer = Timer(number)
                timer.init(period=TIMEOUT_MS_MIN // 4, mode=Timer.PERIODIC, callback=self._tick)
                self._timer = timer
                return True
            except (ValueError, TypeError, OSError, AttributeError):
                pass
        return False

    def _tick(self, timer):
        self._device.feed()


class SteppingDevice:
    """A block device whose every operation is a step."""

    def __init__(self, device, watchdog):
        self._device = device
        self._step = watchdog.step

    def readblocks(self, block, buf, offset=0):
        self._step()
        return self._device.readblocks(block, buf, offset)

    def writeblocks(self, block, buf, offset=0):
        self._step()
        return self._device.writeblocks(block, buf, offset)

    def ioctl(self, op, arg):
        self._step()
        return self._device.ioctl(op, arg)
