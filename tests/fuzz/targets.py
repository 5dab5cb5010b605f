"""Every decoder, by name.

Rule: whatever takes bytes from a disk, a wire, a file or a person stands here, and each name once: regressions are named by it. Must not
know: how any of it is fuzzed.
"""

from fuzz import (
    ask_targets,
    batch_targets,
    control_targets,
    feed_targets,
    keyed_targets,
    line_targets,
    log_targets,
    session_targets,
    text_targets,
    wire_targets,
)
from fuzz.target import Target

GROUPS = (
    wire_targets, batch_targets, keyed_targets, log_targets, session_targets, feed_targets, text_targets, control_targets,
    ask_targets, line_targets,
)  # fmt: skip
TARGETS: dict[str, Target] = {target.name: target for group in GROUPS for target in group.TARGETS}
assert len(TARGETS) == sum(len(group.TARGETS) for group in GROUPS)
