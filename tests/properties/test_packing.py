"""Messages come out of a unit as they went in, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import MalformedMessageError
from transport.amst.packing import pack, unpack


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_messages_come_out_as_they_went_in(messages: list[bytes]) -> None:
    unit = pack(messages)

    assert unpack(unit) == messages
    for damaged in (unit[:-1], unit + b"x"):
        with pytest.raises(MalformedMessageError):
            unpack(damaged)


@given(st.binary(max_size=40))
def test_whatever_comes_is_messages_or_malformed(unit: bytes) -> None:
    try:
        messages = unpack(unit)
    except MalformedMessageError:
        return
    assert pack(messages) == unit


def test_a_unit_that_lies_about_its_count_costs_nothing() -> None:
    with pytest.raises(MalformedMessageError, match="no unit of"):
        unpack(b"\xff\xff\xff\xff" + bytes(100))
