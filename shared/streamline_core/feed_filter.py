"""Which keys of a topic a node is sent.

Rule: a filter is part of the topic's definition, so both sides know it. Knows nothing else of topics.
"""


def wanted_by(feed_filter: str, node: str, key: "bytes | None") -> bool:
    """Whether a node is sent this key: {node} is the node's name, and * anything at all; without a filter, every key."""
    if not feed_filter:
        return True
    return key is not None and _matches(feed_filter.replace("{node}", node).encode().split(b"*"), key)


def _matches(parts: "list[bytes]", text: bytes) -> bool:
    """Whether `text` is these parts with anything between them."""
    if len(parts) == 1:
        return text == parts[0]
    if not text.startswith(parts[0]) or not text.endswith(parts[-1]):
        return False
    at, end = len(parts[0]), len(text) - len(parts[-1])
    for part in parts[1:-1]:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return at <= end
