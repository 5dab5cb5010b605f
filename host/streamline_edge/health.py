"""Is the agent well? What an operator should look at, in words.

Rule: a backlog that does not shrink while the cloud is connected is an alarm, and so is every loss; being offline is a
state of an edge, told only once it lasts. Knows only what status and ledger say.
"""

from __future__ import annotations

from typing import Any

from streamline_core.gaps import EXPIRED

OFFLINE_SECS = 60.0
STUCK_SECS = 30.0


class Health:
    """Fed now and then with `observe`; `report` may be asked at any time. Times are seconds of one steady clock."""

    def __init__(self, now: float) -> None:
        self._connected_at = now
        self._moved_at = now
        self._delivered = -1
        self._status: dict[str, Any] = {}
        self._ledger: list[dict[str, Any]] = []

    def observe(self, now: float, status: dict[str, Any], ledger: list[dict[str, Any]]) -> None:
        self._status, self._ledger = status, ledger
        link = status.get("link")
        if link is None or link["connected"]:
            self._connected_at = now
        delivered = sum(row["delivered"] for row in ledger)
        idle = not any(row["pending"] for row in ledger)
        away = link is None or not link["connected"] or status.get("state") == "paused"
        if delivered != self._delivered or idle or away:
            self._delivered, self._moved_at = delivered, now

    def report(self, now: float) -> dict[str, Any]:
        """{"healthy": bool, "problems": [text, …]} with what was last observed."""
        problems = []
        pending = sum(row["pending"] for row in self._ledger)
        link = self._status.get("link")
        if link is not None and now - self._connected_at > OFFLINE_SECS:
            secs = int(now - self._connected_at)
            problems.append(f"no connection to {link['endpoint']} for {secs} s ({link['reason']}); {pending} records wait")
        if now - self._moved_at > STUCK_SECS:
            problems.append(f"connected, but {pending} records have not moved for {int(now - self._moved_at)} s")
        for row in self._ledger:
            for cause, count in sorted([*row["lost"].items(), *row["unconfirmed"].items()]):
                if count and not (row.get("local") and cause == EXPIRED):  # that is what was asked for
                    problems.append(f"{row['topic']}/{row['partition']}: {count} records lost: {cause}")
            if row.get("refused"):
                problems.append(f"{row['topic']}/{row['partition']}: the cloud refuses it: {row['refused']}")
        for row in self._status.get("feeds", ()):
            if row["refused"]:
                problems.append(f"{row['topic']}/{row['partition']}: {row['refused']} from the cloud could not be used: {row['why']}")
            elif row["why"]:
                problems.append(f"{row['topic']}/{row['partition']}: what the cloud sends has to wait: {row['why']}")
        for row in self._status.get("tables", ()):
            if row["merge_failures"]:
                problems.append(f"{row['topic']}: its merge module failed {row['merge_failures']} times; every version is shown")
            if row.get("unlogged"):
                problems.append(f"{row['topic']}: {row['unlogged']} conflicts could not be written to the conflict_log")
            if row["unreadable"]:
                problems.append(f"{row['topic']}: {row['unreadable']} versions cannot be read")
        problems += [f"storage failed: {text}" for text in self._status.get("storage_failures", ())]
        return {"healthy": not problems, "problems": problems}
