"""Subsegments as the X-Ray daemon receives them, and work that goes on without one."""

import json
import socket

import pytest
from structlog.testing import capture_logs

from services.runtime.aws.telemetry import telemetry_of
from services.runtime.aws.xray import Daemon, xray_recorder
from services.runtime.failures import BadDeclarationError
from services.runtime.telemetry import correlated
from services.runtime.tracing import Trace, carrying, invoked_in
from tests.fakes.xray import FakeDaemon

ROOT = "1-5759e988-bd862e3fe1be46a994272793"
INVOCATION = Trace(ROOT, "53995c3f42cd8ad8", sampled=True)


def test_in_lambda_a_block_is_a_child_of_the_invocation() -> None:
    """With the ids of its log lines as annotations, and nothing else of them."""
    daemon = FakeDaemon()
    ids = correlated(run_id="r1", pipeline="visits", message_id="m", segment_id=["a", "b"])
    with invoked_in(INVOCATION), ids, daemon.recorder().in_subsegment("commit"):
        pass
    (block,) = daemon.documents
    assert block.pop("id") != INVOCATION.parent
    assert block == {
        "name": "commit",
        "type": "subsegment",
        "trace_id": ROOT,
        "parent_id": INVOCATION.parent,
        "start_time": 1.0,
        "end_time": 2.0,
        "annotations": {"run_id": "r1", "pipeline": "visits", "segment_id": "['a', 'b']"},
    }


def test_a_worker_s_block_brings_a_segment_of_the_service() -> None:
    """In the message's trace; blocks inside are children of the block."""
    daemon = FakeDaemon()
    recorder = daemon.recorder("fetcher", in_lambda=False)
    with carrying(Trace(ROOT)), recorder.in_subsegment("get"), recorder.in_subsegment("page"):
        pass
    page, get, segment = daemon.documents
    assert (segment["name"], "type" in segment, "parent_id" in segment) == ("fetcher", False, False)
    assert (get["parent_id"], page["parent_id"]) == (segment["id"], get["id"])
    assert {document["trace_id"] for document in daemon.documents} == {ROOT}


def test_what_goes_wrong_in_a_block_is_told_and_raised() -> None:
    """The fault is the block's and that of all around it; the next block is whole again."""
    daemon = FakeDaemon()
    recorder = daemon.recorder()
    with invoked_in(INVOCATION):
        with pytest.raises(ZeroDivisionError), recorder.in_subsegment("merge"), recorder.in_subsegment("put"):
            raise ZeroDivisionError("nothing left")
        with recorder.in_subsegment("list"):
            pass
    put, merge, later = daemon.documents
    assert put["cause"]["exceptions"][0] | {"id": ""} == {
        "id": "",
        "type": "ZeroDivisionError",
        "message": "nothing left",
    }
    assert (put["fault"], merge["fault"], "fault" in later) == (True, True, False)


@pytest.mark.parametrize("trace", [None, Trace(ROOT, "53995c3f42cd8ad8", sampled=False), Trace(ROOT)])
def test_what_is_not_sampled_is_not_sent(trace: Trace | None) -> None:
    """Nor what belongs to no segment of Lambda's."""
    daemon = FakeDaemon()
    recorder = daemon.recorder()
    with invoked_in(trace), recorder.in_subsegment("get"), recorder.in_subsegment("page"):
        pass
    assert daemon.documents == []


def test_a_real_datagram_arrives() -> None:
    """At the address that the environment names."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        telemetry = telemetry_of("merger", {"AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{server.getsockname()[1]}"})
        with carrying(Trace(ROOT)), telemetry.segment("put"):
            pass
        head, _, body = server.recv(65_536).partition(b"\n")
    assert (json.loads(head)["format"], json.loads(body)["name"]) == ("json", "put")


def test_without_a_daemon_the_work_goes_on() -> None:
    """A port where nobody listens, a host that does not exist and a datagram that is too large say so once at most."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for daemon in (Daemon("127.0.0.1", port), Daemon("no-such-host.invalid", 2000)):
        with capture_logs() as lines:
            for _ in range(3):
                daemon(b"{}")
                daemon(b" " * 100_000)
        assert [line["log_level"] for line in lines] == ["warning"]


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"}, ("127.0.0.1", 2000)),
        ({"AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000"}, ("169.254.79.129", 2000)),
        ({"AWS_XRAY_DAEMON_ADDRESS": "tcp:10.0.0.1:1 udp:10.0.0.2:2"}, ("10.0.0.2", 2)),
        ({"AWS_XRAY_DAEMON_ADDRESS": "udp:10.0.0.2:2 tcp:10.0.0.1:1"}, ("10.0.0.2", 2)),
    ],
)
def test_where_the_daemon_is(environ: dict[str, str], address: tuple[str, int]) -> None:
    """As the environment says, else where Lambda and a sidecar have it."""
    recorder = xray_recorder("merger", environ)
    assert recorder is not None
    assert isinstance(recorder.send, Daemon)
    assert recorder.send.address == address


@pytest.mark.parametrize("environ", [{}, {"AWS_XRAY_DAEMON_ADDRESS": ""}, {"LOG_LEVEL": "INFO"}])
def test_tracing_is_off_elsewhere(environ: dict[str, str]) -> None:
    """Outside Lambda nothing is traced unless a daemon's address is set."""
    assert xray_recorder("merger", environ) is None


@pytest.mark.parametrize("address", ["nowhere", ":2000", "host:", "host:port", " "])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    """In one line that names the variable and what it holds."""
    with pytest.raises(BadDeclarationError, match="AWS_XRAY_DAEMON_ADDRESS"):
        xray_recorder("merger", {"AWS_XRAY_DAEMON_ADDRESS": address})
