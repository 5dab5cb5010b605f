"""What breaks the core on purpose: every mutation, in the order in which they are tried.

Rule: each has a name of its own, by which it is asked for. Must not know: what a mutation means.
"""

from keyed_mutations import KEYED
from log_mutations import LOG
from replication_mutations import REPLICATION
from room_mutations import ROOM, WORTH

MUTATIONS = (*LOG, *ROOM, *REPLICATION, *KEYED, *WORTH)
