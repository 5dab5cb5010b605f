"""JSON is read whole or not at all, whatever the interpreter's own parser lets pass."""

from harness import raises
from streamline_core.whole_json import loads

WHOLE = ('{"a": [1, {"b": "}"}], "c": "\\"{["}', "[]", "{}", '"["', "5", "null", '{"a": {"b": 1}}')


def test_what_is_whole_is_read():
    assert [loads(text) for text in WHOLE] == [{"a": [1, {"b": "}"}], "c": '"{['}, [], {}, "[", 5, None, {"a": {"b": 1}}]


def test_what_ends_too_early_is_refused_wherever_it_ends():
    for text in WHOLE:
        if text[0] in "{[":
            for end in range(len(text)):
                raises(ValueError, loads, text[:end])
