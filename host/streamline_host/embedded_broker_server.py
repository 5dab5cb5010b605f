"""amqtt's broker, mended: what it has acknowledged it passes on, though the publisher has gone.

Rule: amqtt acknowledges a message of QoS 1 when it is in the publisher's queue, and forgets that queue when the publisher disconnects
(seen in 0.12.1: of 3,000 messages sent in one go, half). A device that wakes up, publishes and goes would lose what it was told is there.
Must not know: what the messages say. Imported only where amqtt is.
"""

import asyncio
from typing import Any

from amqtt.broker import Broker
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler


class PatientHandler(BrokerProtocolHandler):  # type: ignore[misc]  # amqtt may be absent where mypy runs
    """Says that its client has gone only when all that came from it was taken."""

    async def wait_disconnect(self) -> Any:
        gone = await super().wait_disconnect()
        while self.session is not None and not self.session.delivered_message_queue.empty():
            await asyncio.sleep(0)  # the loop that waits for this takes one at a time
        return gone


class PatientBroker(Broker):  # type: ignore[misc]
    async def _init_handler(self, session: Any, reader: Any, writer: Any) -> PatientHandler:
        handler = PatientHandler(self.plugins_manager, loop=self._loop)
        handler.attach(session, reader, writer)
        return handler
