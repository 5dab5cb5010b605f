"""A value is a set of lines: the merged value has every line of both, once, the earlier value's first.

Where one side deleted, the other side's lines stand. The same function in WebAssembly is union_of_lines.wat beside this file.
"""


def merge(key, earlier, later):
    if earlier is None:
        return later
    if later is None:
        return earlier
    lines = []
    seen = set()  # only asked, never listed: its order differs between interpreters
    for line in earlier.split(b"\n") + later.split(b"\n"):
        if line and line not in seen:
            seen.add(line)
            lines.append(line + b"\n")
    return b"".join(lines)
