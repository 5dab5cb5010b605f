"""Segments on a raw NOR flash through power cuts: what was appended stays, what was removed stays removed, and all the room with it.

A cut leaves any part of a program or an erase. Then the core on top: a log, and a node that goes round.
"""

from flashes import BLOCK_BYTES, FOLDER, HEADER_BYTES, ROOM_BYTES, Files, fill, mounted, read, seg
from harness import Random, raises
from logs import Bench, read_all
from nor_flash import NorFlash, PowerCut
from world import World


class Story:
    """A workload, what it was promised, and the check of it. `whole`: what of each segment must be there; `maybe`: what was being
    appended."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.number = 0
        self.whole = {}
        self.maybe = b""
        self.head = ""  # the segment that is appended to
        self.going = ""  # the segment that is being removed
        self.gone = set()

    def step(self, storage):
        chance = self.random.below(10)
        if storage.free_bytes() < 3 * BLOCK_BYTES or (chance < 2 and len(self.whole) > 2):
            self.remove(storage, self.head if chance == 0 and self.head else sorted(self.whole)[0])
        if not self.head or chance == 9:
            # Sometimes under a name that was removed, as recovery may do.
            again = sorted(self.gone)
            self.number += 1
            self.head = again[-1] if again and self.random.below(4) == 0 else seg(self.number)
        self.append(storage, self.random.bytes(1 + self.random.below((100, 1500)[chance % 2])))

    def remove(self, storage, name):
        self.going = name
        storage.remove(name)
        del self.whole[name]
        self.gone.add(name)
        if name == self.head:
            self.head = ""
        self.going = ""

    def append(self, storage, data):
        self.gone.discard(self.head)
        self.whole.setdefault(self.head, b"")
        self.maybe = data
        storage.append(self.head, data)
        self.whole[self.head] += data
        self.maybe = b""
        storage.sync(self.head)

    def check(self, storage):
        """After a cut: all promises hold. What is there is what must be there from now on."""
        listed = set(storage.list(FOLDER))
        for name in self.gone:
            assert storage.size(name) == -1 and name[-24:] not in listed, name
        for name in sorted(self.whole):
            content, whole = read(storage, name), self.whole[name]
            maybe = self.maybe if name == self.head else b""
            if name == self.going or not whole:
                whole = whole[: len(content)]
            assert content[: len(whole)] == whole, (name, len(content), len(whole))
            rest = content[len(whole) :]
            for i in range(len(rest)):
                wanted = maybe[i] if i < len(maybe) else 0xFF
                assert rest[i] & wanted == wanted, (name, i)  # an append that was cut cleared only bits that it was to clear
            if storage.size(name) >= 0:
                self.whole[name] = content
            else:
                del self.whole[name]
                self.gone.add(name)
        assert listed == {name[-24:] for name in self.whole}
        self.head = self.going = ""
        self.maybe = b""

    def run(self, flash, steps, cut_after=0):
        """Mount and work until it is done or the power goes; returns whether it was done."""
        flash.cut_at = flash.operations + cut_after if cut_after else 0
        try:
            storage = mounted(flash)
            for _ in range(steps):
                self.step(storage)
        except PowerCut:
            flash.power_on()
            return False
        flash.cut_at = 0
        return True


def check_to_the_last_block(story, flash):
    """The room is all there, can be filled beside what is kept, and then without it."""
    storage = mounted(flash)
    used = sum([-(-storage.size(name) // ROOM_BYTES) for name in story.whole])
    fill(storage, len(flash.blocks) - used)
    for name in sorted(story.whole):
        assert read(storage, name) == story.whole[name]
    storage.remove("t-0")
    content = fill(storage, len(flash.blocks), 10**7)
    assert read(mounted(flash), seg(10**7)) == content


def test_a_power_cut_at_any_operation_loses_and_revives_nothing():
    cut_after, done = 0, False
    while not done:
        cut_after += 1
        for outcome in range(3):
            random = Random(cut_after * 10 + outcome)
            flash, story = NorFlash(10, BLOCK_BYTES, random), Story(2)
            done = story.run(flash, 45, cut_after)
            story.check(mounted(flash))
            for _ in range(3):  # and again in the first work after it
                story.run(flash, 4, 1 + random.below(12))
                story.check(mounted(flash))
            if outcome == cut_after % 3:
                check_to_the_last_block(story, flash)
    assert cut_after > 180  # so many operations go round the ring more than twice


def test_a_life_of_power_cuts_loses_and_revives_nothing():
    for seed in range(1, 7):
        random = Random(seed)
        flash, story = NorFlash(12, BLOCK_BYTES, random), Story(seed)
        for _ in range(60):
            story.run(flash, 15, 1 + random.below(60))
            story.check(mounted(flash))
        check_to_the_last_block(story, flash)


def test_a_header_one_bit_short_is_not_completed_by_a_wipe_that_is_cut():
    flash = NorFlash(1, BLOCK_BYTES)
    mounted(flash).append(seg(0), b"")
    whole = bytes(flash.blocks[0])
    # The worst of all cuts: what changes is only what brings the whole header nearer.
    flash.half_done = lambda old, after: bytes([o ^ ((o ^ a) & (o ^ w)) for o, a, w in zip(old, after, whole)])
    for bit in range(HEADER_BYTES * 8):
        if whole[bit >> 3] >> (bit & 7) & 1 == 0:
            for cut_after in (1, 2):  # struck out, zeroed
                flash.blocks[0][:] = whole
                flash.blocks[0][bit >> 3] |= 1 << (bit & 7)
                storage = mounted(flash)
                flash.cut_at = flash.operations + cut_after
                raises(PowerCut, storage.append, seg(1), b"")
                flash.power_on()
                assert mounted(flash).list(FOLDER) == [], (bit, cut_after)


def test_an_erase_of_any_stretch_of_a_header_revives_nothing():
    flash = NorFlash(1, BLOCK_BYTES)
    mounted(flash).append(seg(0), b"removed")
    mounted(flash).remove(seg(0))
    removed = bytes(flash.blocks[0])
    for start in range(HEADER_BYTES):
        for end in range(start + 1, HEADER_BYTES + 1):
            flash.half_done = lambda old, after, a=start, b=end: old[:a] + after[a:b] + old[b:]
            for cut_after in (2, 3):  # zeroed, erased
                flash.blocks[0][:] = removed
                storage = mounted(flash)
                flash.cut_at = flash.operations + cut_after
                raises(PowerCut, storage.append, seg(1), b"")
                flash.power_on()
                assert mounted(flash).list(FOLDER) == [], (start, end, cut_after)


# The core on it


def test_a_log_is_found_again_behind_blocks_that_end_in_ones():
    flash, files = NorFlash(40, BLOCK_BYTES), Files()
    count = 0
    for life in range(6):
        bench = Bench(life + 1, segment_bytes=2500, storage=mounted(flash, files))
        log = bench.open()
        assert log.next == log.durable == count, life
        assert read_all(log) == ([(i, b"%04d" % i * 20) for i in range(count)], [])
        for _ in range(12):
            bench.write(log, [b"%04d" % (count + i) * 20 for i in range(3)])
            count += 3
        assert read_all(log)[0][-1] == (count - 1, b"%04d" % (count - 1) * 20)


def test_a_log_keeps_what_was_durable_through_power_cuts():
    for seed in range(1, 6):
        random = Random(seed)
        flash, files = NorFlash(14, BLOCK_BYTES, random), Files()
        promised, first = set(), 0
        for life in range(25):
            flash.cut_at = flash.operations + 1 + random.below(70)
            try:
                bench = Bench(seed * 100 + life, segment_bytes=1800, storage=mounted(flash, files))
                log = bench.open()
                for _ in range(60):
                    while bench.storage.free_bytes() < 3 * BLOCK_BYTES:
                        first = max(first, log.segments.bases[1])
                        assert log.evict_oldest()
                        bench.settle(log)
                    at = log.next
                    bench.write(log, [b"%06d" % (at + i) * 12 for i in range(1 + random.below(4))])
                    promised.update(range(at, log.durable))
            except PowerCut:
                flash.power_on()
                files.power_cut()
            log = Bench(seed, storage=mounted(flash, files)).open()
            found, gaps = read_all(log)
            for offset, value in found:
                assert value == b"%06d" % offset * 12
            shown = set([offset for offset, _ in found])
            assert not [offset for offset in promised - shown if offset >= first], (seed, life, gaps)
            promised = shown  # what was shown once is shown again


def test_a_node_goes_round_a_small_flash_for_ever():
    flash = NorFlash(32, BLOCK_BYTES)
    world = World()
    log = {"segment_bytes": 3000, "batch_bytes": 600}
    edge = world.edge(storage=mounted(flash, Files()), log=log)
    for number in range(1500):
        edge.node.produce("t", b"%06d" % number * 12)
        world.step(10)
        if number % 400 == 399:
            edge.storage = mounted(flash, edge.storage._files)
            edge.start()
    log = edge.node.log("t")
    found, gaps = read_all(log, log.first)
    assert [offset for offset, _ in found] == list(range(log.first, 1500)) and gaps == [] and len(found) > 100
    assert min(flash.erases) >= 3 and max(flash.erases) - min(flash.erases) <= 2, flash.erases
