"""Limits that an operator sets: all or none, before the configuration's, and never ignored."""

from harness import raises
from streamline_core.errors import StorageFull, UsageError
from streamline_core.operator_limits import change, lay, limits_of, parse
from world import World


def edge_of():
    return World().edge("e1", sync_topics=["t"], resources={"max_storage": 100000}, log={"segment_bytes": 4096})


class Kept:
    """Where limits are kept; error: what is raised instead."""

    def __init__(self, error=None):
        self.limits = {}
        self.error = error

    def __call__(self, wanted):
        if self.error is not None:
            raise self.error
        self.limits = wanted


def set_(edge, configured, kept, limits, policy=None, reset=False):
    change(edge.node, configured, kept.limits, kept, limits, policy, reset)


def test_what_is_set_holds_and_a_reset_gives_back_what_was_configured():
    edge, kept = edge_of(), Kept()
    resources, configured = edge.node.config.resources, limits_of(edge.node.config)
    set_(edge, configured, kept, {"storage": 50000}, "reject")
    set_(edge, configured, kept, {"connections": 4})
    assert kept.limits == {"storage": 50000, "connections": 4, "eviction_policy": "reject"}
    assert (resources.max_storage, resources.max_connections, resources.eviction_policy) == (50000, 4, "reject")
    other = edge_of()
    lay(other.node.config, kept.limits)
    assert limits_of(other.node.config) == limits_of(edge.node.config)
    set_(edge, configured, kept, {"connections": 5}, None, True)
    assert kept.limits == {"connections": 5} and resources.max_storage == 100000 and resources.eviction_policy == "oldest"


def test_what_cannot_be_kept_changes_nothing():
    edge, kept = edge_of(), Kept()
    configured = limits_of(edge.node.config)
    assert "at least 8192" in str(raises(UsageError, set_, edge, configured, kept, {"connections": 3, "storage": 100}))
    raises(UsageError, set_, edge, configured, kept, {"connections": 3}, "none")
    raises(OSError, set_, edge, configured, Kept(OSError(28)), {"storage": 50000}, "reject")
    assert limits_of(edge.node.config) == configured and not kept.limits


def fill(edge):
    for _ in range(60):
        edge.node.produce_many("t", [bytes(200)] * 4)
        edge.settle()
        edge.settle()
    assert edge.node.evictor.stored_bytes > 40000


def lost(edge):
    edge.settle()
    return edge.node.ledger()[0]["unconfirmed"]


def test_a_policy_that_is_set_with_a_limit_decides_what_goes_for_it():
    edge, kept = edge_of(), Kept()
    fill(edge)
    set_(edge, limits_of(edge.node.config), kept, {"storage": 20000}, "reject")
    assert lost(edge) == {}  # more than it may be; nothing of it may go
    raises(StorageFull, edge.node.produce, "t", b"x")


def test_where_limits_cannot_be_kept_nothing_has_gone_for_them():
    edge = edge_of()
    fill(edge)
    raises(OSError, set_, edge, limits_of(edge.node.config), Kept(OSError(28)), {"storage": 20000})
    assert lost(edge) == {}


def test_a_file_of_limits_is_read_whole_or_refused():
    assert parse(b'{"storage": 5, "eviction_policy": "reject"}') == {"storage": 5, "eviction_policy": "reject"}
    for text in (b"", b"[]", b"{", b'{"storage": "5"}', b'{"storage": true}', b'{"eviction_policy": 5}', b'{"room": 5}'):
        raises(ValueError, parse, text)
