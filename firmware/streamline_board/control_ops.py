"""What can be asked on a board's control socket: how it is, and steering its sync. What is larger is loaded when it is asked for.

Rule: an operation returns its answer, or what gives its answers one by one: (header, body) as soon as there is one, None where it has to
wait; or nothing, where the answer comes later. Must not know: sockets.
"""

from streamline_core.answer import health, said
from streamline_core.errors import UsageError

RECORDS_AT_ONCE = 128  # of one produce request
SAID = ("status", "ledger", "health", "topics", "queue", "consumers")
LARGER = {
    "produce": "records", "producer_last": "records", "consume": "records", "commit": "records", "get": "keyed", "set": "keyed",
    "delete": "keyed", "keys": "keyed", "conflicts": "keyed", "explain": "keyed", "watch": "keyed", "resources": "limits",
    "limit": "limits", "forget": "limits", "plan": "limits",
}  # fmt: skip


def serve(connection, header, body):
    """Raises UsageError for what is not known, and whatever the operation does."""
    op = str(header.get("op"))
    if op in SAID:
        return {op: _said(connection.control, op)} if op != "topics" else _topics(connection)
    if op == "sync":
        return _sync(connection, header)
    if op not in LARGER:
        known = sorted(SAID + ("sync",) + tuple(LARGER))
        raise UsageError("unknown operation %r; known are %s" % (header.get("op"), ", ".join(known)))
    module = __import__("streamline_board.control_" + LARGER[op], None, None, (op,))
    return module.OPS[op](connection, header, body)


def _status(control):
    from .status import status

    return status(control.node, control.link)


def _said(control, op):
    node = control.node
    if op == "health":
        keeper = control.link or control.door
        report, keeper.seen = health(node, _status(control), keeper.seen)
        return report
    return said(node, op, {"status": lambda: _status(control)})


def _topics(connection):
    """takes: how many records, and bytes of them, a produce request may have."""
    takes = {"records": RECORDS_AT_ONCE, "bytes": connection.control.bodies.bytes_max}
    return {"topics": _said(connection.control, "topics"), "takes": takes}


def _sync(connection, header):
    node, action = connection.node, header.get("action")
    if action == "now":
        node.link.sync_now()
    elif action == "pause":
        node.pause()
    elif action == "resume":
        node.resume()
    else:
        raise UsageError("sync: the action is one of now, pause, resume")
    return {"state": node.status()["state"]}
