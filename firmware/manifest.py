"""What is frozen into an image: the core and the shell around it, by feature. Included by the manifests of boards/, executed by the build.

Rule: what a board leaves out is refused by name where a configuration asks for it. The features of the specification: `edge-lite` is what
is always in (logs, limits, local consumers), `sync` is edge-sync (the session with the cloud, and a link). Must not know: any board.

Options, all True or False: sync, keyed (tables, conflicts), mqtt (a link over a socket), serial (a link over a line), control (the
control socket), flash (the log on a raw flash), board (a board without an operating system), wifi, asyncio.
"""

import os

options.defaults(sync=True, keyed=True, mqtt=True, serial=True, control=True, flash=False, board=False, wifi=False, asyncio=False)

CORE = "../shared/streamline_core"
SHELL = "streamline_board"

NEVER = ("hub*", "feed_filter", "ports")  # the cloud's side, and types
ONLY_FOR = {  # modules of the core that nothing else needs
    "sync": (
        "link", "session", "handshake", "offers", "sender", "receiver", "outlet", "schedule", "credit", "downlink", "feed", "log_feed",
        "recut", "gate", "sync_windows", "pacing",
    ),
    "mqtt": ("mqtt*",),
    "serial": ("serial_*",),
    "control": ("control_wire", "operator_limits", "plan"),
    "keyed": ("tables", "keyed", "table", "conflict", "conflict_log", "carry_over", "merge", "explain"),
}  # fmt: skip
SHELL_ONLY_FOR = {
    "sync": ("answers",),
    "mqtt": ("link", "secure", "tcp"),
    "serial": ("serial_*",),
    "keyed": ("merges",),
    "control": ("control*", "door", "limits_file"),
    "flash": ("flash_*",),
    "board": ("boot", "board_*", "readings", "safe_mode", "watchdog"),
    "wifi": ("wifi", "dns", "name_server", "time_server"),
    "asyncio": ("aio",),
}
SHELL_NOT_WITH = {"board": ("__main__", "sources")}  # what needs an operating system


def _fits(name, patterns):
    return any(name.startswith(p[:-1]) if p.endswith("*") else name == p for p in patterns)


def _chosen(folder, left_out):
    """The files of a package that are frozen, each by its name."""
    return tuple(sorted(f for f in os.listdir(folder) if f.endswith(".py") and not _fits(f[:-3], left_out)))


def _left_out(table):
    return [pattern for feature in table if not getattr(options, feature) for pattern in table[feature]]


_NO_SYSTEM = [pattern for feature in SHELL_NOT_WITH if getattr(options, feature) for pattern in SHELL_NOT_WITH[feature]]

package("streamline_core", files=_chosen(CORE, NEVER + tuple(_left_out(ONLY_FOR))), base_path="../shared", opt=2)
package("streamline_board", files=_chosen(SHELL, _left_out(SHELL_ONLY_FOR) + _NO_SYSTEM), base_path=".", opt=2)
if options.asyncio:
    include("$(MPY_DIR)/extmod/asyncio")
