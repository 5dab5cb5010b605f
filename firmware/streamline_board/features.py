"""What an image was built without: a configuration that asks for it is refused by name, before anything is opened.

Rule: what is there is loaded by this as the node would load it, so that asking costs nothing. It is loaded at the start, and let go of.
Must not know: any board, any manifest.
"""

from streamline_core.errors import UsageError

DOWN = ("cloud_to_edge", "bidirectional")


def check(config):
    """config: an EdgeConfig. Raises UsageError."""
    for name in config.topics:
        topic, what = config.topics[name], ""
        try:
            if topic.kind == "keyed":
                what = "keyed topics"
                from streamline_core import tables  # noqa: F401
            if topic.direction in DOWN:
                what = topic.direction
                from streamline_core import downlink  # noqa: F401
        except ImportError:
            raise UsageError("topic %s: this image was built without %s; change the topic, or use an image that has it" % (name, what))


def no_link(endpoint):
    """The UsageError for a cloud_endpoint that this image has no link for."""
    other = "mqtt://HOST" if endpoint.startswith("serial") else "serial://UART"
    return UsageError("cloud_endpoint %s: this image was built without it; use %s, or an image that has it" % (endpoint, other))
