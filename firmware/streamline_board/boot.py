"""Power-on of a board without an operating system: its file system is mounted, its log's flash is found.

Rule: a file system that does not mount is reported, and nothing is written to it; only a flash that has never been written to (ones, all of
it) is given one. Must not know: any board, what is in the files.
"""

import vfs

CHECK_BYTES = 512
PAGE_BYTES = 256  # an RP2040 programs nothing but whole pages; where less is possible, this is too

log = None  # the block device of the logs
fault = None  # why there is no file system, or None


def boot(files, log_flash):
    """files, log_flash: block devices of a flash (`readblocks`, `writeblocks`, `ioctl`), which belong to nobody else."""
    global log, fault
    log = log_flash
    try:
        vfs.mount(vfs.VfsLfs2(files, progsize=PAGE_BYTES), "/")
    except OSError as error:
        if not _blank(files):
            fault = "the file system does not mount (%s); nothing was changed on it" % error
            print("streamline: " + fault)
            return
        print("streamline: the flash is new: making a file system")
        vfs.VfsLfs2.mkfs(files, progsize=PAGE_BYTES)
        vfs.mount(vfs.VfsLfs2(files, progsize=PAGE_BYTES), "/")


def _blank(device):
    """Whether every byte is as an erase leaves it."""
    buf = bytearray(CHECK_BYTES)
    ones = b"\xff" * CHECK_BYTES
    for block in range(device.ioctl(4, 0)):
        for at in range(0, device.ioctl(5, 0), CHECK_BYTES):
            device.readblocks(block, buf, at)
            if buf != ones:
                return False
    return True
