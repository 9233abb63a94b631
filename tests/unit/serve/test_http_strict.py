"""The second look of the strict reader: taken only where it can matter, and never fooled."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.serve.refusal import Refusal
from understudy.serve.strict import read_activate, read_decide, read_decides, read_reward, read_rewards

TAKEN = [
    b'{"context":{"at":"12:30:00"}}',
    b'{"context":{"a\\"b":"x:\\"y\\":"}}',
    b'{"context":{"a" : 1 , "b"\n:2},"allowed":null,"t":0,"deferred":false,"time":null}',
    '{"context":{"città":"Zürich: 時"}}'.encode(),
    b'{"context":{"a":"\\ud83d\\ude00"}}',
    b'{"context":{"a":"\\\\u0000"}}',
    b'{"context":{}}',
]


@pytest.mark.parametrize("body", TAKEN)
def test_what_only_looks_odd_is_taken(body: bytes) -> None:
    """Colons and escapes in texts, and fields that spell out their default."""
    assert read_decide(body).context == json.loads(body)["context"]


NAMES = st.text(max_size=4).map(lambda text: text.replace("\0", ""))
VALUES = st.none() | st.booleans() | st.integers(-9, 9) | NAMES


@given(st.dictionaries(NAMES, VALUES, max_size=6), st.data())
def test_a_key_that_stands_twice_is_found_wherever_it_is(context: dict, data: st.DataObject) -> None:
    """Any context is taken as it is, and refused once any of its keys, plain or escaped, is said again."""
    escape = data.draw(st.booleans())
    text = json.dumps({"context": context}, ensure_ascii=escape)
    assert read_decide(text.encode()).context == context
    if context:
        key = json.dumps(data.draw(st.sampled_from(sorted(context))), ensure_ascii=not escape)
        again = text[:-2] + f", {key}: {json.dumps(data.draw(VALUES))}" + "}}"
        with pytest.raises(Refusal) as refused:
            read_decide(again.encode())
        assert refused.value.status == 400


@pytest.mark.parametrize("read, body", [
    (read_decide, b'{"context":{},"t":1,"t":0}'),
    (read_reward, b'{"decision_id":"a","value":1,"name":"reward","name":"cost"}'),
    (read_activate, b'{"decision_id":"a","decision_id":"b"}'),
    (read_decides, b'[{"context":{}},{"context":{"a":1},"context":{}}]'),
    (read_rewards, b'[{"decision_id":"a","value":1},{"decision_id":"a","value":1,"value":2}]'),
])  # fmt: skip
def test_a_field_that_stands_twice_is_refused(read, body: bytes) -> None:
    """Also where the last one spells out the default, and inside batches."""
    with pytest.raises(Refusal) as refused:
        read(body)
    assert refused.value.status == 400 and "twice" in refused.value.error.what
