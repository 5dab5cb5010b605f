"""A mutation: one slip that a developer could make in the core, and the promise of the product that it breaks.

Rule: `old` occurs exactly once in its file, and is as short as that allows, so that it outlives changes around it. A mutation that no run
could ever tell from the core as it is does not belong here. Must not know: who is to notice.
"""

from typing import NamedTuple

# The promises, in the words of the README and docs/ARCHITECTURE.md.
DURABLE = "what was acknowledged as durable is found again after any power cut"
SILENT = "nothing is lost without its cause"
TWICE = "nothing is stored twice"
ORDER = "what one writer wrote stays in order"
UNSEEN = "nothing is shown or sent before it is durable"
CAUSE = "a loss has its true cause"
FORK = "a restored or cloned disk is recognised, and costs nothing"
CONFIRMED = "what counts as delivered is in the hub's store"
ARRIVES = "over working links everything arrives"
BOUNDED = "every limit holds"
LEDGER = "the ledger adds up, and both sides say the same"
REST = "at rest no frame leaves"
STAMPS = "a stamp is larger than all before it"
HERD = "a fleet that reconnects does not come back as one"
SESSION = "a frame of an earlier session changes nothing"
AGREE = "replicas that have heard the same show the same, by the rule that was chosen"


class Mutation(NamedTuple):
    """name: the slip, in words; file: below shared/streamline_core; old: text that is there once; new: what takes its place."""

    name: str
    file: str
    old: str
    new: str
    promise: str

    @property
    def path(self) -> str:
        return "shared/streamline_core/" + self.file
