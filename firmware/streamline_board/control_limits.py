"""Limits over a board's control socket, what its readers have not read, and what would leave next.

Rule: a limit that a board cannot keep is refused by name. Whoever may open the socket may steer: it is for its user alone. Must not know:
sockets.
"""

from streamline_core.control_wire import number, text
from streamline_core.errors import UsageError
from streamline_core.resources import CONNECTIONS, KINDS

from . import limits_file


def _manager(node):
    """Of its resources, which knows that somebody has to get in who could raise a limit of connections."""
    node.resources.needed[CONNECTIONS] = 1 + (node.config.cloud_endpoint is not None)
    return node.resources


def resources(connection, header, body):
    manager = _manager(connection.node)
    manager.elsewhere = connection.control.door.connected
    said = manager.status()
    said["set"] = sorted(limits_file.read(connection.node.config.data_dir))
    return {"resources": said}


def limit(connection, header, body):
    """Set those of KINDS that the header has, and `policy`; `reset`: the others are the configuration's again."""
    from streamline_core.operator_limits import change, limits_of

    door, folder = connection.control.door, connection.node.config.data_dir
    limits = {kind: number(header, kind) for kind in KINDS if header.get(kind) is not None}
    policy = header.get("policy")
    if policy is not None and not isinstance(policy, str):
        raise UsageError("policy: text is wanted, not %r" % (policy,))
    limits_file.check(connection.node.config, limits)
    _manager(connection.node)
    if door.configured is None:
        door.configured = limits_of(connection.node.config)
    kept = limits_file.read(folder)
    change(
        connection.node, door.configured, kept, lambda wanted: limits_file.write(folder, wanted),
        limits, policy, header.get("reset") is True,
    )  # fmt: skip
    return resources(connection, header, body)


def forget(connection, header, body):
    return {"forgotten": connection.node.consumers.forget(text(header, "consumer"))}


def plan(connection, header, body):
    from streamline_core.plan import plan

    return {"plan": plan(connection.node, number(header, "budget"))}


OPS = {"resources": resources, "limit": limit, "forget": forget, "plan": plan}
