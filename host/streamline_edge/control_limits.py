"""The control socket's operations on limits, on what waits for the cloud or for readers, and on what would leave next.

Rule: whoever may open the socket may steer: it is for its user alone. Knows the connection only as what carries its answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from streamline_core.errors import UsageError
from streamline_core.plan import plan as planned
from streamline_core.resources import KINDS

from .control_wire import Header, number, text

if TYPE_CHECKING:
    from .control_server import _Connection as Connection


async def resources(connection: Connection, header: Header, body: bytes) -> Header:
    return {"resources": connection.agent.resources()}


async def limit(connection: Connection, header: Header, body: bytes) -> Header:
    """Set those of KINDS that the header has, and `policy`; `reset`: the others are the configuration's again."""
    limits = {kind: number(header, kind) for kind in KINDS if header.get(kind) is not None}
    policy = header.get("policy")
    if policy is not None and not isinstance(policy, str):
        raise UsageError(f"policy: text is wanted, not {policy!r}")
    connection.agent.limit(limits, policy, header.get("reset") is True)
    return {"resources": connection.agent.resources()}


async def queue(connection: Connection, header: Header, body: bytes) -> Header:
    return {"queue": connection.agent.node.queue.status()}


async def consumers(connection: Connection, header: Header, body: bytes) -> Header:
    return {"consumers": connection.agent.consumers()}


async def forget(connection: Connection, header: Header, body: bytes) -> Header:
    forgotten = connection.agent.node.consumers.forget(text(header, "consumer"))
    connection.agent.poke()
    return {"forgotten": forgotten}


async def plan(connection: Connection, header: Header, body: bytes) -> Header:
    return {"plan": planned(connection.agent.node, number(header, "budget"))}


OPS: dict[str, Callable[[Connection, Header, bytes], Awaitable[Header | None]]] = {
    "resources": resources,
    "limit": limit,
    "queue": queue,
    "plan": plan,
    "consumers": consumers,
    "forget": forget,
}
