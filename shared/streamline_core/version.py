"""Versions of a key: what several nodes wrote, what each of them had seen, and which of it still stands.

Rule: only what its writer had seen supersedes a version, never a clock; what nobody has superseded stands side by side (the siblings).
Joining two sets of siblings is commutative, associative and idempotent, so replicas that have heard the same hold the same. Source:
Preguica, Baquero, Almeida, Fonte, Goncalves, "Dotted Version Vectors" (2010). Knows nothing of logs, or of which sibling is shown.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Sequence

    Context = dict[tuple[str, int], int]  # (origin, epoch): the offset after the last one of it that was seen
    Standing = tuple[str, int, int, bool]  # origin, epoch, offset, whether it is demoted

SIDES = ("edge", "cloud")
WRITERS_MAX = 16  # in one context


class Version:
    """One write of a key. origin, epoch, offset: its dot, which names it everywhere; side: one of SIDES, where it was written; hlc,
    trusted: its stamp; context: what its writer had seen of the key; value: bytes, or None where the key was deleted; demoted: the hub
    holds its stamp for absurd, so that it counts as one of a clock that nobody had set, on every replica."""

    def __init__(
        self,
        origin: str,
        epoch: int,
        offset: int,
        side: str,
        hlc: int,
        trusted: bool,
        context: "Context",
        value: "bytes | None",
        demoted: bool = False,
    ) -> None:
        self.origin = origin
        self.epoch = epoch
        self.offset = offset
        self.side = side
        self.hlc = hlc
        self.trusted = trusted
        self.context = context
        self.value = value
        self.demoted = demoted

    @property
    def dot(self) -> "tuple[str, int, int]":
        return self.origin, self.epoch, self.offset

    @property
    def standing(self) -> "Standing":
        """What replicas that hold the same agree on, of all that stands (digest.py)."""
        return self.origin, self.epoch, self.offset, self.demoted

    @property
    def order(self) -> "tuple[bool, int, str, int, int]":
        """Larger for what counts as later, on every replica alike: a clock that was set before one that was not, then the stamp."""
        return self.trusted and not self.demoted, self.hlc, self.origin, self.epoch, self.offset

    def __repr__(self) -> str:
        return "%s/%08x@%d" % self.dot


def supersedes(one: Version, other: Version) -> bool:
    """Whether the writer of `one` had seen `other`. Everybody has seen what he wrote before."""
    if one.origin == other.origin and one.epoch == other.epoch:
        return one.offset > other.offset
    return one.context.get((other.origin, other.epoch), 0) > other.offset


def join(*replicas: "Iterable[Version]") -> "list[Version]":
    """The siblings of what the replicas hold together, the earliest first."""
    found = {}
    for versions in replicas:
        for version in versions:
            if version.demoted or version.dot not in found:  # once demoted, for good
                found[version.dot] = version
    versions = list(found.values())
    siblings = [one for one in versions if not any([supersedes(other, one) for other in versions])]
    siblings.sort(key=_order)
    return siblings


def _order(version: Version) -> "tuple[bool, int, str, int, int]":
    return version.order


def seen(siblings: "Sequence[Version]") -> "Context":
    """What the next write on top of these siblings (as `join` gives them) has to say that it has seen: at most WRITERS_MAX writers. Where
    there are more, those of whom nothing stands any more are left out first; at worst something superseded comes to stand beside it again,
    and nothing is lost."""
    context: "Context" = {}
    for version in siblings:
        for writer in version.context:
            context[writer] = max(version.context[writer], context.get(writer, 0))
        own = (version.origin, version.epoch)
        context[own] = max(version.offset + 1, context.get(own, 0))
    if len(context) > WRITERS_MAX:
        latest = {}  # of each writer of whom something stands; the siblings come in this order
        for i in range(len(siblings)):
            latest[siblings[i].origin, siblings[i].epoch] = i
        writers = sorted(context, key=lambda writer: (latest.get(writer, -1), writer))
        for writer in writers[: len(writers) - WRITERS_MAX]:
            del context[writer]
    return context


def latest_hlc(siblings: "Sequence[Version]") -> int:
    """The stamp that a write on top of these siblings (as `join` gives them) has to be later than, so that it wins over all that they have
    won over; 0 where none was given by a clock that is believed."""
    return siblings[-1].hlc if siblings and siblings[-1].trusted and not siblings[-1].demoted else 0


def why_unsound(version: Version, me: str, heads: "Context") -> "str | None":
    """Why a version cannot be what a sound node wrote: it claims to have seen itself, or what `me` has never written. heads: where those
    logs of `me` end of which that is known for sure; others may have been on a disk that is gone. None if nothing speaks against it. Such
    a one would supersede what is still to be written."""
    for origin, epoch in version.context:
        next_ = version.context[origin, epoch]
        if origin == version.origin and epoch == version.epoch and next_ > version.offset:
            return "%r claims to have seen its own writer up to offset %d" % (version, next_)
        head = heads.get((origin, epoch))
        if origin == me and head is not None and next_ > head:
            return "%r claims to have seen offset %d of %s/%08x, which ends at %d" % (version, next_ - 1, me, epoch, head)
    return None
