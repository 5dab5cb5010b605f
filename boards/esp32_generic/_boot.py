"""First at every start: the partitions of an ESP32 that partitions.csv sets apart, found by their names and handed over.

Rule: it replaces MicroPython's own, which formats what it cannot mount. Must not know: what lies in the flash.
"""

from esp32 import Partition

from streamline_board.boot import boot


def partition(label):
    found = Partition.find(Partition.TYPE_DATA, label=label)
    if not found:
        raise OSError("the flash has no partition %r: write the whole image, with its partition table" % label)
    return found[0]


boot(partition("files"), partition("log"))
