"""Who may connect to the embedded broker, and to which topics: two plugins that amqtt loads by name.

Rule: a user named like a node reaches that node's branch, `streamline/1/<fleet>/n/<user>/…` and its peers' letters, and
nothing else below `streamline/`; other topics (devices' own) are free to every user. The owner reaches all.
Must not know: what the messages say. Imported only where amqtt is.
"""

import hmac
from dataclasses import dataclass, field
from typing import Any

from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session


class AccountsPlugin(BaseAuthPlugin):  # type: ignore[misc]  # amqtt may be absent where mypy runs
    """Lets everybody in where there are no accounts, else only whoever knows a password."""

    @dataclass
    class Config:
        accounts: dict[str, str] | None = field(default=None, repr=False)

    async def authenticate(self, *, session: Session) -> bool | None:
        accounts: dict[str, str] | None = self.config.accounts
        if accounts is None:
            return True
        expected = accounts.get(session.username or "")
        given = (session.password or "").encode()
        return hmac.compare_digest((expected or "").encode(), given) and expected is not None


class ConfinePlugin(BaseTopicPlugin):  # type: ignore[misc]
    """The access rules; without accounts nobody has a name, and nobody is confined."""

    @dataclass
    class Config:
        own_user: str = ""

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        user = None if session is None else session.username
        if user is None or user == self.config.own_user or topic is None:
            return True
        return may(user, topic, publish=action == Action.PUBLISH)


def may(user: str, topic: str, publish: bool) -> bool:
    """Whether `user` may publish to a topic, or subscribe to a filter and receive what comes by it."""
    levels: list[Any] = topic.split("/")
    if levels[0] in ("+", "#"):
        return False
    if levels[0] != "streamline":
        return True
    if len(levels) < 5 or levels[2] in ("+", "#"):
        return False
    branch = levels[3:]
    if branch == ["hub", "status"]:
        return not publish
    if branch[0] == "n":
        backwards = ["ask"] if publish else ["say"]  # a node is asked, and says
        return bool(branch[1] == user) and branch[2:] != backwards
    return branch[0] == "m" and len(branch) == 3 and branch[2 if publish else 1] == user
