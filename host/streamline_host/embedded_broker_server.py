"""amqtt's broker, mended: what it has acknowledged it passes on, though the publisher has gone.

Rule: amqtt acknowledges a message of QoS 1 when it is in the publisher's queue, and forgets that queue when the publisher disconnects
(seen in 0.12.1: of 3,000 messages sent in one go, half). A device that wakes up, publishes and goes would lose what it was told is there.
Who connects with another's client id, and has the password, takes its place, and the other is disconnected (MQTT 3.1.1, 3.1.4-2); amqtt
would only make it deaf, and do so before it asks for the password.
Must not know: what the messages say. Imported only where amqtt is.
"""

import asyncio
from typing import Any

from amqtt.broker import Broker

REFUSED = "-"  # what a client that was refused is called from then on: it takes nobody's place


class PatientBroker(Broker):  # type: ignore[misc]  # amqtt may be absent where mypy runs
    async def _delete_session(self, client_id: str) -> None:
        """Not yet: amqtt would do so before it has asked who this is."""

    async def _authenticate(self, session: Any, listener: Any) -> bool:
        if not await super()._authenticate(session, listener):
            if session.clean_session:
                session.client_id = REFUSED
            return False
        if session.clean_session:
            former, handler = self._sessions.get(session.client_id, (None, None))
            await super()._delete_session(session.client_id)
            if former is not None and former.transitions.is_connected():
                await handler.handle_connection_closed()  # its will is published
                await handler.stop()
        return True

    async def _client_message_loop(self, client_session: Any, handler: Any) -> None:
        """Takes one message after the other, until `wait_disconnect` returns: which here is not before all are taken."""
        wait_disconnect, queue = handler.wait_disconnect, client_session.delivered_message_queue

        async def wait_until_taken() -> Any:
            gone = await wait_disconnect()
            while not queue.empty():
                await asyncio.sleep(0)
            return gone

        handler.wait_disconnect = wait_until_taken
        await super()._client_message_loop(client_session, handler)
