"""YAML text as plain values, with the line of each, and all that is wrong with the text.

Rule: hostile text costs bounded time and memory, and nothing in it is run. Knows nothing of configurations or files.
"""

from __future__ import annotations

from typing import Any

import yaml

from streamline_core.config_values import show

NODES_MAX = 100_000  # aliases may expand: the bound is on what they expand to
DEPTH_MAX = 20
SCALAR_CHARS_MAX = 4096  # far above what any key takes: a number in base 60 costs the square of its length

KeyPath = tuple[str | int, ...]


class YamlError(ValueError):
    """The text as a whole cannot be read. `line`: from 1 on, None where it is none in particular."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


class YamlValues:
    """What `text` holds. value: dicts, lists, scalars; lines: of each key path; problems: (line, key path, what is wrong and what is
    allowed). Raises: YamlError."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[tuple[int, KeyPath, str]] = []
        self._nodes = 0
        self._scalars = yaml.constructor.SafeConstructor()
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as e:
            mark = getattr(e, "problem_mark", None)
            problem = getattr(e, "problem", None) or getattr(e, "reason", None) or "cannot be read"
            raise YamlError(f"not YAML: {problem}", mark.line + 1 if mark else None) from None
        except RecursionError:
            raise YamlError("nested too deeply") from None
        except (ValueError, OverflowError):  # of chr and int, for escapes and directives
            raise YamlError("not YAML: it holds an escape or a directive with an impossible number") from None
        self.value: Any = self._value(node, ()) if node is not None else None

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._nodes += 1
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            raise YamlError(f"more than {NODES_MAX} values or {DEPTH_MAX} levels; make it smaller")
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(child, (*path, i)) for i, child in enumerate(node.value)]
        if len(node.value) > SCALAR_CHARS_MAX:
            self.problems.append((line, path, f"is {len(node.value)} characters long; use at most {SCALAR_CHARS_MAX}"))
            return None
        try:
            return self._scalars.construct_object(node)
        except Exception as e:  # PyYAML lets out whatever int, float or chr raise, and AttributeError, KeyError, IndexError of its own
            text = str(e) if isinstance(e, ValueError) else f"{show(node.value)} cannot be read"
            text = str(e.problem) if isinstance(e, yaml.MarkedYAMLError) else text
            self.problems.append((line, path, f"{text}; use plain text, a number, true or false"))
            return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "(complex key)"
            here = (*path, str(key))
            if key in found:
                self.problems.append((line, here, f"is there twice (first in line {self.lines[here]}); keep one"))
                continue
            self.lines[here] = line
            found[str(key)] = self._value(value_node, here)
        return found
