"""Telemetry records for benchmarks and tests: JSON, 213 bytes each, the same for a seed on every Python.

Rule: only integer arithmetic and `getrandbits`, whose values no Python release changes. Devices report in no order, their
readings drift slowly and their status is nearly always good, as a plant's are: so they compress as such data does
(about 44 bytes a record with zstd level 3, 32 with level 19 in large blocks). Must not know: who stores or sends them.

Usage: python tools/records.py COUNT [--seed N]
"""

import argparse
import sys
from random import Random

RECORD_BYTES = 213
DEVICES = 1000
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
_DAY_MS = 86_400_000

STATUSES = ("nominal", "warning", "standby", "stopped")  # of one length

# (name, lowest, highest, largest step, decimals): fixed-point readings that walk between their bounds; both bounds
# have equally many digits.
READINGS = (
    ("temp", 180000, 940000, 7000, 4),
    ("mbar", 1008000, 1035000, 2000, 3),
    ("humidity", 30000, 70000, 2500, 3),
    ("rpm", 1440, 1520, 25, 0),
    ("flow", 200000, 600000, 8000, 4),
    ("volts", 226000, 234000, 1500, 3),
    ("amps", 10000, 99000, 3000, 3),
    ("vibration", 1000, 9000, 990, 4),
)


class _Device:
    def __init__(self, number: int, bits: Random) -> None:
        self.number = number
        self.sequence = 1_000_000 + bits.getrandbits(19)
        self.readings = [low + bits.getrandbits(24) % (high - low + 1) for _, low, high, _, _ in READINGS]
        self.status = 0
        self.status_left = 0

    def step(self, draw: int) -> None:
        """Move on by one report; `draw` holds 160 random bits."""
        self.sequence += 1
        for i, (_, low, high, largest, _) in enumerate(READINGS):
            value = self.readings[i] + (draw & 0x3FFF) % (2 * largest + 1) - largest
            self.readings[i] = min(high, max(low, value))
            draw >>= 14
        if self.status_left:
            self.status_left -= 1
        else:
            self.status = (draw & 0xFF) % 3 + 1 if draw >> 8 & 0xFFF < 6 else 0
            self.status_left = 20 if self.status else 0


def generate(count: int, seed: int = 1) -> list[bytes]:
    """`count` records, each of exactly RECORD_BYTES bytes. A longer list of a seed begins with the shorter one."""
    bits = Random(seed)
    devices = [_Device(number, bits) for number in range(DEVICES)]
    time_ms = START_MS
    records = []
    for _ in range(count):
        draw = bits.getrandbits(160)
        device = devices[(draw >> 144) % DEVICES]
        time_ms += draw >> 136 & 63
        device.step(draw)
        records.append(_record(device, time_ms))
    return records


def _record(device: _Device, time_ms: int) -> bytes:
    seconds, milliseconds = divmod(time_ms % _DAY_MS, 1000)
    minutes, second = divmod(seconds, 60)
    date = "%02d" % (1 + (time_ms - START_MS) // _DAY_MS % 31)  # a month of days, then again: the length stays
    readings = ",".join(['"%s":%s' % (row[0], _decimal(value, row[4])) for row, value in zip(READINGS, device.readings, strict=True)])
    time = "2026-01-%sT%02d:%02d:%02d.%03dZ" % (date, minutes // 60, minutes % 60, second, milliseconds)
    text = '{"device":"pump-%04d","time":"%s","seq":%07d,%s,"status":"%s"}' % (
        device.number, time, device.sequence % 10_000_000, readings, STATUSES[device.status],
    )  # fmt: skip
    return text.encode()


def _decimal(value: int, decimals: int) -> str:
    if not decimals:
        return str(value)
    whole, part = divmod(value, 10**decimals)
    return "%d.%0*d" % (whole, decimals, part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", metavar="COUNT", type=int, help="how many")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="default: 1")
    arguments = parser.parse_args()
    out = sys.stdout.buffer
    try:
        for record in generate(arguments.count, arguments.seed):
            out.write(record + b"\n")
        out.flush()
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()


if __name__ == "__main__":
    main()
