"""amqtt's broker, mended: what it has acknowledged it passes on, though the publisher has gone.

Rule: amqtt acknowledges a message of QoS 1 when it is in the publisher's queue, and forgets that queue when the publisher disconnects
(seen in 0.12.1: of 3,000 messages sent in one go, half). A device that wakes up, publishes and goes would lose what it was told is there.
Must not know: what the messages say. Imported only where amqtt is.
"""

import asyncio
from typing import Any

from amqtt.broker import Broker


class PatientBroker(Broker):  # type: ignore[misc]  # amqtt may be absent where mypy runs
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
