"""The heap, of which there is one: kept in one piece by collecting early, and watched.

Rule: what was in use after a collection is what is needed; the rest is garbage. Must not know: who uses it.
"""

import gc

peak_bytes = 0  # garbage included
live_peak_bytes = 0  # the most that was in use after a collection


def collect():
    """Collect, and remember what there was before and after."""
    global peak_bytes, live_peak_bytes
    peak_bytes = max(peak_bytes, gc.mem_alloc())
    gc.collect()
    live_peak_bytes = max(live_peak_bytes, gc.mem_alloc())


def figures():
    """For a status."""
    global peak_bytes
    now_bytes = gc.mem_alloc()
    peak_bytes = max(peak_bytes, now_bytes)
    return {
        "heap_bytes": now_bytes, "heap_free_bytes": gc.mem_free(),
        "heap_peak_bytes": peak_bytes, "heap_live_peak_bytes": live_peak_bytes,
    }  # fmt: skip
