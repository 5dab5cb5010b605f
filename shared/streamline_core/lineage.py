"""Lineage: which opening of a log wrote from which offset on; how a restored, cloned or rotten log is recognised.

Rule: a term is a random number drawn at one opening of one log, and within a term a log only grows. So two sides that
name the same term for an offset hold the same content up to it. Knows nothing of logs or frames.
"""

UNKNOWN_TERM = 0  # no opening draws it
ENTRIES_MAX = 32  # kept
ENTRIES_AROUND = 8  # of them on each side of where the other side was last

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    Lineage = list[tuple[int, int]]


def extend(lineage: "Lineage", term: int, first: int) -> bool:
    """Note that `term` writes from offset `first` on. A term that wrote nothing leaves no trace. True if it was news."""
    if lineage and lineage[-1][0] == term:
        return False
    while lineage and lineage[-1][1] >= first:
        lineage.pop()
    if lineage and lineage[-1][0] == term:  # what stood after it never became durable
        return False
    lineage.append((term, first))
    return True


def thin(lineage: "Lineage", offset: int) -> None:
    """Bring it down to ENTRIES_MAX: kept are the newest, and those around `offset`, where the other side was last; what is left out between
    them is unknown from then on. So a node that starts a hundred times without a network still knows what it had in common."""
    while len(lineage) > ENTRIES_MAX:
        at = 0
        while at + 1 < len(lineage) and lineage[at + 1][1] <= offset:
            at += 1
        if at > ENTRIES_AROUND:
            del lineage[0]
            continue
        out = at + ENTRIES_AROUND
        if lineage[out][0] == UNKNOWN_TERM:
            del lineage[out + 1]
        else:
            lineage[out] = (UNKNOWN_TERM, lineage[out][1])


def insert(lineage: "Lineage", term: int, first: int) -> None:
    """As `extend`, but keeps what is known of offsets above `first`: a receiver hears of terms before it gets what they wrote."""
    if term_at(lineage, first) == term:
        return
    at = 0
    while at < len(lineage) and lineage[at][1] <= first:
        at += 1
    lineage.insert(at, (term, first))
    if len(lineage) > ENTRIES_MAX:
        del lineage[0]


def fill(lineage: "Lineage", term: int, first: int, next_: int, end: int) -> None:
    """As `insert`, for [first, next_) only, the last of which `term` wrote: what was unknown above it, up to `end`, stays unknown. Where
    openings are known to begin in between (a gap across them), only that last offset is sure."""
    if any([first < row[1] < next_ for row in lineage]):
        first = next_ - 1
    unknown = next_ < end and term_at(lineage, next_) == UNKNOWN_TERM
    if (UNKNOWN_TERM, first) in lineage:
        lineage.remove((UNKNOWN_TERM, first))
    insert(lineage, term, first)
    if unknown and term_at(lineage, next_) == term:
        insert(lineage, UNKNOWN_TERM, next_)


def term_at(lineage: "Sequence[Sequence[int]]", offset: int) -> int:
    """The term that wrote `offset`; 0 where the lineage does not reach back so far."""
    found = 0
    for term, first in lineage:
        if first > offset:
            break
        found = term
    return found


def excerpt(lineage: "Sequence[tuple[int, int]]", offset: int, count: int) -> "Lineage":
    """At most `count` entries of it: who wrote `offset`, and the last ones; what is left out between them is unknown there."""
    at = max(0, len(lineage) - count)
    while at > 0 and lineage[at][1] > offset:
        at -= 1
    if len(lineage) - at <= count:
        return list(lineage[-count:])
    rest = len(lineage) - count + 2
    return [lineage[at], (UNKNOWN_TERM, lineage[at + 1][1])] + list(lineage[rest:])


def parting(
    mine: "Sequence[tuple[int, int]]", my_next: int, theirs: "Sequence[tuple[int, int]]", their_next: int
) -> "int | None":
    """Where two sides part, if that is below what the other one has; None if all it has is mine too.

    mine, theirs: [(term, first offset)]; my_next, their_next: the ends. Where no common term is known any more, they are held
    to part where the older of the two memories begins: a record sent twice under a new epoch is better than one lost.
    """
    if their_next == 0:
        return None
    if not theirs:
        return 0 if their_next > my_next else None
    at = their_next - 1
    last = term_at(theirs, at)
    if their_next <= my_next and last and last == term_at(mine, at):
        return None
    ends: "dict[int, int]" = {}
    for i in range(len(mine)):
        ends[mine[i][0]] = mine[i + 1][1] if i + 1 < len(mine) else my_next
    for i in range(len(theirs) - 1, -1, -1):
        term, first = theirs[i]
        # Where the term begins may differ: a side that got a gap for its first batch saw it begin later.
        if term != UNKNOWN_TERM and term in ends and first < their_next:
            end = theirs[i + 1][1] if i + 1 < len(theirs) else their_next
            return min(end, ends[term])
    return min(theirs[0][1], mine[0][1] if mine else 0, my_next)
