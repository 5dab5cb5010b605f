"""What is wrong with a configuration, all of it at once.

Rule: a problem names its key and says what is allowed. Knows nothing of keys.
"""

from .errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Path = tuple[str | int, ...]
    Problem = tuple[Path, str]


class ConfigError(UsageError):
    """A configuration was refused. `problems`: list of (key path, what is wrong and what is allowed)."""

    def __init__(self, problems: "list[Problem]") -> None:
        super().__init__("\n".join(["%s: %s" % (path_text(path), text) for path, text in problems]))
        self.problems = problems


def path_text(path: "Path") -> str:
    """("sync_topics", 0, "topic") as people write it: sync_topics[0].topic."""
    text = ""
    for part in path:
        text += "[%d]" % part if isinstance(part, int) else ("." if text else "") + part
    return text or "configuration"
