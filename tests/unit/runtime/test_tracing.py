"""Trace headers as they come, and the trace that goes on with what is sent."""

from datetime import UTC, datetime

import pytest

from services.runtime.tracing import ROOT, Trace, carried_header, carrying, invoked_in, own_trace

ID = "1-5759e988-bd862e3fe1be46a994272793"
PARENT = "53995c3f42cd8ad8"


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        (f"Root={ID};Parent={PARENT};Sampled=1", Trace(ID, PARENT, sampled=True)),
        (f"Root={ID};Parent={PARENT};Sampled=0;Lineage=1:a87bd80c:0", Trace(ID, PARENT, sampled=False)),
        (f"Self=1-67891234-12456789abcdef012345678;Root={ID}; Sampled=?", Trace(ID)),
        (f"Root={ID};Parent=nobody", Trace(ID)),
        (None, None),
        ("", None),
        ("Root", None),
        ("Root=1-2-3;Sampled=1", None),
        (f"Root={ID.upper()}", None),
        (f"Root={ID}\nSampled=1", None),
    ],
)
def test_a_header_is_read_or_is_none(header: str | None, trace: Trace | None) -> None:
    """Parts nobody knows are ignored, a part that is wrong is left out, and without a root there is no trace."""
    assert Trace.read(header) == trace


def test_what_is_written_is_read_again() -> None:
    """Also a trace that has only just begun."""
    begun = Trace.start(datetime(2026, 1, 1, tzinfo=UTC))
    assert ROOT.fullmatch(begun.root)
    for trace in (begun, Trace(ID, PARENT, sampled=True), Trace(ID, PARENT, sampled=False)):
        assert Trace.read(trace.header) == trace


def test_the_message_s_trace_goes_on_and_subsegments_stay_in_the_invocation_s() -> None:
    """Each stands for the other where there is only one; after the block there is neither."""
    message, invocation = Trace(ID), Trace(ID.replace("5", "6"), PARENT)
    with invoked_in(invocation):
        assert (carried_header(), own_trace()) == (invocation.header, invocation)
        with carrying(message):
            assert (carried_header(), own_trace()) == (message.header, invocation)
    with invoked_in(None), carrying(message):
        assert (carried_header(), own_trace()) == (message.header, message)
    assert (carried_header(), own_trace()) == (None, None)
