"""Segments on a raw NOR flash: the port, the bytes, and what may lie on a flash that was used, hurt, or used by others."""

import binascii
import errno
import struct

from flashes import BLOCK_BYTES, FOLDER, ROOM_BYTES, FailingFlash, Files, fill, mounted, read, seg
from harness import Random, raises
from nor_flash import NorFlash
from streamline_core.errors import StorageFull, UsageError


def header(name, sequence, index, removed=0xFFFFFFFF):
    """A block's header, packed by hand."""
    tail = struct.pack("<IHH", sequence, index, 20 + len(name)) + name.encode()
    return b"SLF1" + struct.pack("<II", removed, binascii.crc32(tail)) + tail


# The port


def test_bytes_come_back_from_any_place_in_portions_of_any_size():
    random, flash = Random(3), NorFlash(16, BLOCK_BYTES)
    storage, contents = mounted(flash), {seg(0): b"", seg(1): b""}
    while len(contents[seg(0)]) < 5 * ROOM_BYTES:
        name = seg(random.below(2))  # two at once: their blocks lie between each other's
        piece = random.bytes((1, 60, 256, ROOM_BYTES, 2000)[random.below(5)])
        storage.append(name, memoryview(piece))
        contents[name] += piece
        assert storage.size(name) == len(contents[name])
    for name in contents:
        for _ in range(100):
            offset, length = random.below(6 * ROOM_BYTES), random.below(2500)
            assert read(storage, name, offset, length) == contents[name][offset : offset + length]
        assert read(mounted(flash), name)[: len(contents[name])] == contents[name]
    assert storage.size(seg(2)) == -1 and read(storage, seg(2)) == b""


def test_the_blocks_are_laid_out_as_the_format_says():
    flash = NorFlash(3, BLOCK_BYTES)
    storage = mounted(flash)
    storage.append(seg(7), b"a" * ROOM_BYTES)
    storage.append(seg(7), b"bc")
    assert flash.blocks[0] == header(seg(7), 1, 0) + b"a" * ROOM_BYTES
    assert flash.blocks[1] == header(seg(7), 2, 1) + b"bc" + b"\xff" * (ROOM_BYTES - 2)
    storage.remove(seg(7))
    assert flash.blocks[0] == header(seg(7), 1, 0, 0) + b"a" * ROOM_BYTES
    assert bytes(flash.blocks[1]).startswith(header(seg(7), 2, 1, 0) + b"bc")


def test_what_was_found_at_mount_is_whole_blocks_and_is_not_appended_to():
    flash = NorFlash(4, BLOCK_BYTES)
    content = b"\xff\xff data \xff\xff\xff"
    mounted(flash).append(seg(0), content)
    storage = mounted(flash)
    assert storage.size(seg(0)) == ROOM_BYTES
    assert read(storage, seg(0)) == content + b"\xff" * (ROOM_BYTES - len(content))
    assert raises(OSError, storage.append, seg(0), b"more").errno == errno.EPERM
    assert read(mounted(flash), seg(0)) == read(storage, seg(0))
    storage.remove(seg(0))
    storage.append(seg(0), b"under the same name")  # recovery does that where a segment held no batch
    assert read(storage, seg(0)) == b"under the same name" and storage.size(seg(0)) == 19


def test_all_but_segments_goes_to_the_files_and_lists_are_merged():
    flash, files = NorFlash(8, BLOCK_BYTES), Files()
    storage = mounted(flash, files)
    storage.append(seg(0), b"0")
    storage.append(seg(9), b"9")
    storage.append("t-0/e1-0000abcc/%020d.seg" % 4, b"4")
    storage.append(FOLDER + "/notes", b"n")
    storage.replace(FOLDER + "/state.0", b"state")
    storage.replace("node.0", b"id")
    assert sorted(files.files) == ["node.0", FOLDER + "/notes", FOLDER + "/state.0"]
    assert storage.size("node.0") == 2 and read(storage, FOLDER + "/state.0") == b"state" and storage.size("x") == -1
    for _ in range(2):
        assert sorted(storage.list("")) == ["node.0", "t-0"]
        assert sorted(storage.list("t-0")) == ["e1-0000abcc", "e1-0000abcd"]
        assert sorted(storage.list(FOLDER)) == ["%020d.seg" % 0, "%020d.seg" % 9, "notes", "state.0"]
        assert storage.list("t") == [] and storage.list("nowhere") == []
        storage = mounted(flash, files)
    for name in ("t", "nowhere", "nowhere/x.seg", FOLDER + "/notes", seg(9)):
        storage.remove(name)
    assert sorted(storage.list(FOLDER)) == ["%020d.seg" % 0, "state.0"]
    storage.remove(FOLDER)
    for again in (storage, mounted(flash, files)):
        assert again.list(FOLDER) == [] and again.list("t-0") == ["e1-0000abcc"] and sorted(again.list("")) == ["node.0", "t-0"]


def test_tickets_are_one_sequence_and_bear_the_error_of_an_append():
    flash, files = FailingFlash(4, BLOCK_BYTES), Files()
    storage = mounted(flash, files)
    storage.append(seg(0), b"a")
    tickets = [storage.sync(seg(0)), storage.replace("node.0", b"id"), storage.sync(seg(0))]
    assert tickets == [1, 2, 3] and storage.waiting and storage.completed() == tickets and not storage.waiting
    flash.failing = (flash.operations + 1,)
    raises(OSError, storage.append, seg(0), b"b")
    assert storage.sync(seg(0)) == 4 and files.errors[4].errno == errno.EIO
    storage.append(seg(0), b"c")
    assert storage.sync(seg(0)) == 5 and files.errors[5] is None
    assert storage.sync(seg(1)) == 6 and files.errors[6].errno == errno.ENOENT
    assert read(storage, seg(0)) == b"abc"  # what failed was counted: nothing is programmed twice
    assert storage.replace(seg(0), b"new") == 7 and read(storage, seg(0)) == b"new"


def test_a_full_flash_refuses_before_it_writes_and_gives_room_again_by_a_removal_alone():
    flash = NorFlash(6, BLOCK_BYTES)
    storage = mounted(flash)
    storage.append(seg(0), b"a" * ROOM_BYTES)
    storage.append(seg(1), b"b")
    operations = flash.operations
    raises(StorageFull, storage.append, seg(1), b"b" * (5 * ROOM_BYTES))
    raises(StorageFull, storage.append, seg(2), b"c" * (4 * ROOM_BYTES + 1))
    assert flash.operations == operations and storage.size(seg(1)) == 1 and storage.size(seg(2)) == -1
    content = fill(storage, 4)
    raises(StorageFull, storage.append, seg(3), b"")
    storage.append(seg(1), b"b" * (ROOM_BYTES - 1))  # there is room in its own block
    storage.remove(seg(0))
    fill(storage, 1, 8)
    assert read(mounted(flash), seg(10**6)) == content and read(mounted(flash), seg(1)) == b"b" * ROOM_BYTES


def test_a_name_of_any_topic_and_node_fits_and_a_longer_one_is_refused():
    flash = NorFlash(4, BLOCK_BYTES)
    storage = mounted(flash)
    name = "%s-1023/%s-0123abcd/%020d.seg" % ("t" * 128, "n" * 64, 5)
    storage.append(name, b"long")
    assert read(mounted(flash), name)[:5] == b"long\xff"
    assert raises(OSError, storage.append, "x" * 233 + ".seg", b"").errno == errno.EINVAL
    raises(UsageError, mounted, NorFlash(4, 256))


# What may lie on a flash


def test_garbage_is_free_room():
    random = Random(5)
    for kind in range(3):
        flash = NorFlash(5, BLOCK_BYTES)
        for block in flash.blocks:
            block[:] = (random.bytes(BLOCK_BYTES), bytes(BLOCK_BYTES), b"SLF1" + b"\xff" * (BLOCK_BYTES - 4))[kind]
        storage = mounted(flash)
        content = fill(storage, 5)
        assert read(mounted(flash), seg(10**6)) == content


def test_a_header_cut_at_any_bit_is_free_room():
    good = header(seg(0), 1, 0)
    for bit in range(len(good) * 8):
        flash = NorFlash(1, BLOCK_BYTES)
        flash.blocks[0][: len(good)] = good
        flash.blocks[0][bit >> 3] ^= 1 << (bit & 7)
        assert mounted(flash).list(FOLDER) == [] and mounted(flash).free_bytes() > 0, bit


def test_a_rotten_header_leaves_a_hole_and_the_rest_in_its_place():
    for rotten in range(3):
        flash = NorFlash(5, BLOCK_BYTES)
        content = Random(7).bytes(3 * ROOM_BYTES)
        mounted(flash).append(seg(0), content)
        flash.blocks[rotten][30] ^= 1
        storage = mounted(flash)
        start = rotten * ROOM_BYTES
        left = content[:start] + (b"\xff" * ROOM_BYTES + content[start + ROOM_BYTES :] if rotten < 2 else b"")
        assert read(storage, seg(0)) == left and storage.size(seg(0)) == len(left)
        storage.remove(seg(0))
        fill(mounted(flash), 5)


def test_a_block_that_the_device_failed_to_take_is_not_used_and_does_not_come_back():
    for failing in range(1, 5):  # struck out, zeroed, erased, given its header
        flash = FailingFlash(4, BLOCK_BYTES)
        storage = mounted(flash)
        storage.append(seg(0), b"a" * ROOM_BYTES)
        flash.failing = (flash.operations + failing,)
        raises(OSError, storage.append, seg(0), b"b")
        storage.append(seg(0), b"c" * ROOM_BYTES)
        for again in (storage, mounted(flash), mounted(flash)):
            assert read(again, seg(0)) == b"a" * ROOM_BYTES + b"c" * ROOM_BYTES, failing
        again.remove(seg(0))
        assert mounted(flash).list(FOLDER) == []


def test_a_removal_that_the_device_failed_gives_no_block_back_twice():
    flash = FailingFlash(4, BLOCK_BYTES)
    storage = mounted(flash)
    storage.append(seg(0), b"a" * (3 * ROOM_BYTES))
    flash.failing = (flash.operations + 2,)
    raises(OSError, storage.remove, seg(0))
    storage.append(seg(1), b"b" * ROOM_BYTES)
    storage.remove(seg(0))
    assert storage.list(FOLDER) == ["%020d.seg" % 1]
    fill(storage, 3)
    assert read(mounted(flash), seg(1)) == b"b" * ROOM_BYTES


def test_wear_is_even_while_segments_rotate():
    random, flash = Random(11), NorFlash(13, BLOCK_BYTES)
    storage, numbers = mounted(flash), []
    for number in range(400):
        storage.append(seg(number), bytes(1 + random.below(3 * ROOM_BYTES)))
        numbers.append(number)
        while storage.free_bytes() < 3 * BLOCK_BYTES:
            storage.remove(seg(numbers.pop(0)))
        if random.below(10) == 0:
            storage = mounted(flash)
    assert min(flash.erases) > 40 and max(flash.erases) - min(flash.erases) <= 2, flash.erases


def test_wear_is_even_where_each_life_leaves_nothing():
    flash = NorFlash(5, BLOCK_BYTES)
    for number in range(33):
        storage = mounted(flash)
        storage.append(seg(number), b"x")
        storage.remove(seg(number))
    assert sorted(flash.erases) == [6, 6, 7, 7, 7]
