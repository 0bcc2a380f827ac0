"""The decisions, one by one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.chunk_jobs import HealthLimits, KeyColumn
from contracts.chunks import ChunkKeys
from contracts.runs import RunState
from services.chunk_worker.core.admission import Admission, admission
from services.chunk_worker.core.attempts import Step, comes_again, retry_delay_s, step_of
from services.chunk_worker.core.health import hold_back_s, is_limited, over_limit
from services.chunk_worker.core.pace import is_marked, pace_after
from services.chunk_worker.core.words import rate_in_words, size_in_words, updated_in_words
from services.chunk_worker.ports import Health
from services.runtime.chunking.ports import ChunkState


@pytest.mark.parametrize(
    ("attempts", "chunk", "single", "part"),
    [
        (1, Step.TRY, Step.TRY, Step.TRY),
        (2, Step.TRY, Step.TRY, Step.TRY),
        (3, Step.TRY, Step.TRY, Step.GIVE_UP),
        (4, Step.SPLIT, Step.TRY, Step.GIVE_UP),
        (5, Step.SPLIT, Step.GIVE_UP, Step.GIVE_UP),
    ],
)
def test_the_next_step(attempts: int, chunk: Step, single: Step, part: Step) -> None:
    """By attempts: of a chunk with several keys, of one with a single key, and of a part."""
    assert step_of(attempts, is_part=False, can_split=True) is chunk
    assert step_of(attempts, is_part=False, can_split=False) is single
    assert step_of(attempts, is_part=True, can_split=False) is part


def test_a_failed_attempt_comes_again_three_times() -> None:
    """After 2, 4 and 8 seconds."""
    assert [comes_again(n) for n in (1, 2, 3, 4)] == [True, True, True, False]
    assert [retry_delay_s(n) for n in (0, 1, 2, 3, 90)] == [2.0, 2.0, 4.0, 8.0, 8.0]


@pytest.mark.parametrize("run", RunState)
@pytest.mark.parametrize("chunk", ChunkState)
@pytest.mark.parametrize("paused", [False, True])
def test_what_a_message_means(run: RunState, chunk: ChunkState, *, paused: bool) -> None:
    """Work is begun only for a chunk that is planned, in a run that goes on."""
    decided = admission(run, chunk, paused=paused)
    goes_on = run in {RunState.PLANNING, RunState.RUNNING}
    assert (decided is Admission.WORK) == (goes_on and not paused and chunk is ChunkState.PLANNED)
    assert (decided is Admission.CANCELLED) == (run is RunState.CANCELLED)
    if run is not RunState.CANCELLED:
        assert (decided is Admission.REPEAT) == (chunk is ChunkState.DONE)


def test_pace_follows_the_newest_chunk() -> None:
    """Half of it is the last chunk's; a chunk without rows says nothing."""
    assert pace_after(None, 100, 2.0) == 50.0
    assert pace_after(50.0, 150, 1.0) == 100.0
    assert pace_after(50.0, 0, 1.0) == 50.0
    assert pace_after(None, 10, 0.0) is None


def test_who_is_marked() -> None:
    """The first chunk of a process, a chunk that will take long, and every chunk if the job says so."""
    assert is_marked(1, None, 2.0)
    assert not is_marked(10_000, 20_000.0, 2.0)
    assert is_marked(50_000, 20_000.0, 2.0)
    assert is_marked(1, 1e9, 0)


@given(receives=st.integers(0, 1_000))
@settings(max_examples=50)
def test_nobody_is_held_back_for_longer_than_a_state_machine_waits(receives: int) -> None:
    """Longer each time, and five minutes at most."""
    assert 5.0 <= hold_back_s(receives) <= hold_back_s(receives + 1) <= 300.0


def test_health_in_words() -> None:
    """Every limit that is exceeded is named; what cannot be said is no reason."""
    limits = HealthLimits(replication_lag_s=60, lock_waits=20, dead_tuple_ratio=0.5, tables=["t"])
    assert over_limit(limits, Health(60.0, 20, 0.5)) is None
    assert over_limit(limits, Health(None, 0, None)) is None
    assert over_limit(limits, Health(61.25, 21, 0.625)) == (
        "a replica is 61.2 s behind, and the limit is 60 s; 21 sessions wait for a lock, and the limit is 20; "
        "62% of a table's rows are dead, and the limit is 50%"
    )
    none = HealthLimits(replication_lag_s=None, lock_waits=None)
    assert is_limited(limits)
    assert not is_limited(none)
    assert over_limit(none, Health(1e9, 1_000, 1.0)) is None


def test_words_never_hold_values() -> None:
    """Rows, and how many values each column has; a column without a plural goes by its name."""
    keys = ChunkKeys(columns=["d", "s"], values=[["2026-01-01"] * 3, ["1", "2", None]], rows=[1, 2, 3])
    columns = {"d": KeyColumn(type="date", plural="dates"), "s": KeyColumn(type="text")}
    assert size_in_words("5", 6, keys, columns) == "Chunk 5: 6 estimated rows, 1 dates, 3 s"
    assert size_in_words("whole", 6, None, columns) == "Chunk whole: 6 estimated rows, all keys"
    assert updated_in_words("5", 500, 45.23) == "Chunk 5: Updated 500 rows in 45.23 seconds"
    assert rate_in_words("5", 500, 45.23) == "Chunk 5: Throughput: 11.1 rows/sec"
    assert "too fast" in rate_in_words("5", 500, 0.0)
