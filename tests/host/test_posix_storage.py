"""The Storage port on a real file system: order, durability of what is reported, and disks that fail."""

import asyncio
import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from streamline_core.errors import StorageFull, UsageError
from streamline_edge import posix_storage, written_file
from streamline_edge.posix_storage import PosixStorage

Done = list[tuple[int, Exception | None]]


@pytest.fixture
def inline(tmp_path: Path):  # type: ignore[no-untyped-def]
    done: Done = []
    storage = PosixStorage(tmp_path / "d", lambda ticket, error: done.append((ticket, error)), inline=True)
    storage.done = done  # type: ignore[attr-defined]
    yield storage
    storage.close()


def content(storage: PosixStorage, name: str, offset: int = 0, size: int = 1 << 20) -> bytes:
    buf = bytearray(size)
    return bytes(buf[: storage.read_into(name, offset, buf)])


def test_append_sync_read(inline: PosixStorage) -> None:
    s = inline
    assert s.size("a-0/x/1.seg") == -1 and s.list("a-0") == [] and content(s, "a-0/x/1.seg") == b""
    reused = bytearray(b"abc")
    s.append("a-0/x/1.seg", reused)
    reused[:] = b"zzz"
    s.append("a-0/x/1.seg", memoryview(b"defg")[1:])
    assert s.size("a-0/x/1.seg") == 6 and s.list("a-0/x") == ["1.seg"] and s.list("a-0") == ["x"]
    ticket = s.sync("a-0/x/1.seg")
    assert s.done == []  # type: ignore[attr-defined]
    assert s.poll() == 1 and s.done == [(ticket, None)]  # type: ignore[attr-defined]
    assert content(s, "a-0/x/1.seg") == b"abcefg" and content(s, "a-0/x/1.seg", 4) == b"fg"
    assert content(s, "a-0/x/1.seg", 6) == b"" and s.list("") == ["a-0"] and s.free_bytes() > 0


def test_what_is_on_its_way_to_the_disk_is_read_from_every_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork moves what is not synced; taken for rotten, it would be lost."""
    go_on = threading.Event()
    write_all = written_file.write_all

    def slow(fd: int, chunks: list[bytes]) -> None:
        assert go_on.wait(20)
        write_all(fd, chunks)

    async def run() -> None:
        done: Done = []
        s = PosixStorage(tmp_path / "d", lambda ticket, error: done.append((ticket, error)), asyncio.get_running_loop())
        whole = b"on the disk, under way, waiting, queued"

        def check() -> None:
            assert s.size("f") == len(whole)
            for begin in range(len(whole) + 2):
                for size in (1, 2, 9, 100):
                    assert content(s, "f", begin, size) == whole[begin : begin + size], (begin, size)

        go_on.set()
        s.append("f", b"on the disk, ")
        s.sync("f")
        while len(done) < 1:
            await asyncio.sleep(0.01)
        go_on.clear()
        s.append("f", b"under ")
        s.append("f", b"way, ")
        s.sync("f")
        s.append("f", b"waiting, ")
        s.sync("f")
        s.append("f", b"queued")
        check()
        go_on.set()
        s.sync("f")
        check()  # while it is being written
        while len(done) < 4:
            await asyncio.sleep(0.01)
        check()
        go_on.clear()
        s.append("new", b"not even a file")
        assert content(s, "new") == b"not even a file"
        s.sync("new")
        assert content(s, "new", 4) == b"even a file"
        s.remove("new")
        assert content(s, "new") == b""
        go_on.set()
        s.close()

    monkeypatch.setattr(written_file, "write_all", slow)
    asyncio.run(run())


def test_modes(inline: PosixStorage) -> None:
    inline.append("t-0/f", b"x")
    inline.sync("t-0/f")
    for path, mode in ((inline.root, 0o700), (inline.root / "t-0", 0o700), (inline.root / "t-0/f", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_replace_and_remove(inline: PosixStorage) -> None:
    s = inline
    for data in (b"first, longer", b"second"):
        s.replace("slot", data)
        assert s.size("slot") == len(data) and content(s, "slot") == data
    s.append("slot", b"+")
    s.sync("slot")
    assert content(s, "slot") == b"second+"
    s.remove("slot")
    s.remove("slot")
    assert s.size("slot") == -1 and content(s, "slot") == b"" and s.list("") == []
    s.append("t/a/1", b"x")
    s.sync("t/a/1")
    s.append("t/a/2", b"never written")
    s.remove("t")
    assert s.list("t") == [] and s.size("t/a/2") == -1
    s.append("t/a/1", b"new")
    s.sync("t/a/1")
    assert content(s, "t/a/1") == b"new"


def test_goes_on_in_a_file_that_is_there(tmp_path: Path) -> None:
    for i in range(3):
        s = PosixStorage(tmp_path, inline=True)
        assert s.size("f") == (i if i else -1)
        s.append("f", b"%d" % i)
        s.sync("f")
        s.close()
    assert (tmp_path / "f").read_bytes() == b"012"


def test_many_files_stay_within_the_bounds(inline: PosixStorage) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for i in range(300):
        inline.append(f"f{i}", b"%d" % i)
        inline.sync(f"f{i}")
        inline.poll()
        assert content(inline, f"f{i}") == b"%d" % i
    assert len(os.listdir("/proc/self/fd")) - before <= posix_storage.FILES_MAX + posix_storage.READ_FDS_MAX
    assert content(inline, "f0") == b"0"


def test_more_chunks_than_one_call_takes_and_short_writes(inline: PosixStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, parts: real(fd, [b"".join(map(bytes, parts))[:1000]]))
    expected = b"".join(b"%d," % i for i in range(5000))
    for part in expected.split(b",")[:-1]:
        inline.append("f", part + b",")
    inline.sync("f")
    assert content(inline, "f") == expected


def test_a_second_agent_is_refused(inline: PosixStorage) -> None:
    with pytest.raises(UsageError, match=f"{inline.root} is in use by process {os.getpid()}"):
        PosixStorage(inline.root, inline=True)


def test_no_place_for_data(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="data directory"):
        PosixStorage(tmp_path / "file", inline=True)


def test_a_strangers_folder_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "letter.txt").write_text("")
    PosixStorage(tmp_path, inline=True).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_full_disk_is_reported_and_gets_over(inline: PosixStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    s, done = inline, inline.done  # type: ignore[attr-defined]
    s.append("f", b"good")
    s.sync("f")
    real, room = os.writev, [3]

    def writev(fd: int, parts: list[bytes]) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        data = b"".join(map(bytes, parts))[: room[0]]
        room[0] -= len(data)
        return real(fd, [data])

    monkeypatch.setattr(os, "writev", writev)
    s.append("f", b"does not fit")
    first = s.sync("f")
    s.append("f", b"dropped")
    second = s.sync("f")
    s.poll()
    assert [ticket for ticket, error in done[1:] if isinstance(error, StorageFull)] == [first, second]
    assert s.size("f") == 7 and content(s, "f") == b"gooddoe"  # the torn tail is for the core to see
    room[0] = 1000
    s.append("f", b"!")
    s.sync("f")
    s.poll()
    assert done[-1][1] is None and content(s, "f") == b"gooddoe!"


def test_a_failed_fsync_is_never_forgotten(inline: PosixStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    s, done = inline, inline.done  # type: ignore[attr-defined]

    def fsync(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fsync)
        s.append("f", b"x")
        s.sync("f")
        s.replace("slot", b"1")
        s.poll()
    assert [error.errno for _, error in done] == [errno.EIO, errno.EIO]
    s.sync("f")
    s.replace("slot", b"2")  # written whole, so nothing of before is believed
    s.append("other", b"y")
    s.sync("other")
    s.poll()
    assert [error is None for _, error in done[2:]] == [False, True, True]
    s.remove("f")
    s.append("f", b"z")
    s.sync("f")
    s.poll()
    assert done[-1][1] is None and content(s, "f") == b"z"


def run(tmp_path: Path, test: Callable[[PosixStorage, Done, asyncio.Event], object]) -> None:
    async def main() -> None:
        done: Done = []
        event = asyncio.Event()

        def synced(ticket: int, error: Exception | None) -> None:
            done.append((ticket, error))
            event.set()

        storage = PosixStorage(tmp_path / "d", synced, asyncio.get_running_loop())
        try:
            await asyncio.wait_for(test(storage, done, event), 30)  # type: ignore[arg-type]
        finally:
            storage.close()

    asyncio.run(main())


def test_workers_keep_the_order_of_each_file(tmp_path: Path) -> None:
    async def test(s: PosixStorage, done: Done, event: asyncio.Event) -> None:
        tickets: dict[str, list[int]] = {f"t-{i}/f": [] for i in range(8)}
        for i in range(50):
            for name in tickets:
                s.append(name, b"%d," % i)
                tickets[name].append(s.sync(name))
            assert not any(ticket == tickets[name][-1] for name in tickets for ticket, _ in done)
            await asyncio.sleep(0)
        while len(done) < 400:
            event.clear()
            await event.wait()
        order = [ticket for ticket, error in done if error is None]
        for name, mine in tickets.items():
            assert [ticket for ticket in order if ticket in mine] == mine
            assert (s.root / name).read_bytes() == b"".join(b"%d," % i for i in range(50))

    run(tmp_path, test)


def test_what_is_removed_while_it_is_written_stays_away(tmp_path: Path) -> None:
    async def test(s: PosixStorage, done: Done, event: asyncio.Event) -> None:
        for i in range(50):
            s.append(f"t/{i}", b"x" * 100_000)
            s.sync(f"t/{i}")
            s.remove(f"t/{i}")
        while len(done) < 50:
            event.clear()
            await event.wait()
        for _ in range(100):
            if not os.path.exists(s.root / "t") or not os.listdir(s.root / "t"):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(os.listdir(s.root / "t"))

    run(tmp_path, test)


def test_close_finishes_what_was_handed_over(tmp_path: Path) -> None:
    async def test(s: PosixStorage, done: Done, event: asyncio.Event) -> None:
        s.append("f", b"x" * 1_000_000)
        s.sync("f")

    run(tmp_path, test)
    assert (tmp_path / "d" / "f").stat().st_size == 1_000_000
