"""What boards/README.md says of the size of an image, beside the one that was built. A helper of tests, no test."""

import re

from board_process import ROOT

UNITS = {"KB": 1000, "MB": 1000000}
DRIFT = 0.03  # of a figure that is still true: another compiler, a few lines


def assert_told(before: str, image_bytes: int) -> None:
    """before: what stands before the size, where it stands once."""
    told = re.findall(re.escape(before) + r" ([\d.]+) (KB|MB)\b", (ROOT / "boards" / "README.md").read_text())
    assert len(told) == 1, (before, told)
    number, unit = told[0]
    assert abs(float(number) * UNITS[unit] - image_bytes) <= DRIFT * image_bytes, "%s: %s %s are told, %d bytes built" % (
        before, number, unit, image_bytes,
    )  # fmt: skip
