"""How long Lambda bills a piece of work: measured CPU seconds and round trips, times what is assumed here.

What is assumed about AWS stands in this module and nowhere else.
"""

from collections.abc import Mapping
from typing import Any

from bench.costs import prices

VCPU_MB = 1_769
"""Memory at which Lambda gives a function one whole vCPU; with less it gets less in proportion."""
PROCESSOR = 1.0
"""Assumed: seconds that Lambda's processor takes for one of the machine that was measured on."""
LATENCY_S: Mapping[str, float] = {"s3": 0.05, "dynamodb": 0.005, "sqs": 0.015, "sns": 0.015, "secrets": 0.02}
"""Assumed: seconds from asking to the answer, from a function in the same region, by service."""
COPY_BYTES_S = 100e6
"""Assumed: how fast S3 copies a range inside itself; several ranges are copied side by side."""

CPU, ELSEWHERE, INVOCATIONS, WAITS = "cpu s", "elsewhere s", "invocations", "waits "
"""Names under which measured seconds, invocations, and round trips by service, stand among a piece's units."""


def share(service: str) -> float:
    """The part of a vCPU that a service's function can use; our work is one thread's, so never more than one."""
    return min(1.0, prices.MEMORY_GB[service] * 1024 / VCPU_MB)


def billed_s(service: str, asked: Mapping[str, float]) -> float:
    """Seconds that Lambda bills for work that took so many CPU seconds and round trips, none beside another."""
    waits = sum(latency * asked.get(WAITS + kind, 0.0) for kind, latency in LATENCY_S.items())
    return asked.get(CPU, 0.0) * PROCESSOR / share(service) + waits + asked.get(ELSEWHERE, 0.0)


def flat(took: Mapping[str, Any]) -> dict[str, float]:
    """What a service took in one scenario: its units, its measured seconds and its round trips, by name."""
    trips = {WAITS + kind: float(count) for kind, count in took["round_trips"].items()}
    seconds = {CPU: took["cpu_s"], ELSEWHERE: took["elsewhere_s"]}
    return {**took["units"], **trips, **seconds, INVOCATIONS: float(took["invocations"])}
