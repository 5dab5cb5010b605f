"""Hostile bytes: every decoder, fed with anything at all, gives a value or its documented error, in bounded time and memory.

Rule: `targets.py` is the list of what takes bytes from others (a disk, a wire, a file, a person), and nothing that does is missing there.
`test_decoders.py` tries each with its seeds cut and flipped; `fuzz.py` searches on, guided by coverage; what it found once lies in
`regressions/` for ever, as `<target>-<hash>.bin`. Must not know: how a decoder does its work.
"""
