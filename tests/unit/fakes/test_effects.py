import pytest

from contracts.segments import Disposition, Verdict
from services.runtime.failures import ConflictError, UnreachableError
from services.runtime.objects import IF_ABSENT
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.fakes.network import Fate, ScriptedNetwork
from tests.fakes.objects import FakeObjects
from tests.fakes.occurrences import FakeOccurrences

VERDICT = Verdict(occurrence="o1", disposition=Disposition.FILTERED)


async def process(objects: FakeObjects, occurrences: FakeOccurrences) -> None:
    """Two effects, and a third on the way out."""
    try:
        await objects.put("plain", "a", b"1")
        await occurrences.claim("visits", VERDICT, segment_id="s1", epoch=0)
    finally:
        await objects.delete("plain", "a")


async def killed_at(place: int | None) -> tuple[FakeObjects, FakeOccurrences, KillSwitch]:
    """Run the process on a fresh world until it is killed at a place; the world it leaves behind."""
    objects, occurrences, switch = FakeObjects(), FakeOccurrences(), KillSwitch(place)
    effects = Effects(switch)
    try:
        await process(objects.seen_by(effects), occurrences.seen_by(effects))
    except KilledError:
        assert switch.dead
    return objects, occurrences, switch


async def test_every_place_between_effects_is_reached() -> None:
    """A run that ends normally records the place before and after each of its effects, in order."""
    _, _, switch = await killed_at(None)
    assert switch.places == [
        f"{when} {what}"
        for what in ("put s3://plain/a", "claim o1 for s1", "delete s3://plain/a")
        for when in ("before", "after")
    ]


@pytest.mark.parametrize(
    ("place", "put", "claimed", "deleted"),
    [
        (1, False, False, False),
        (2, True, False, False),
        (3, True, False, False),
        (4, True, True, False),
        (5, True, True, False),
        (6, True, True, True),
    ],
)
async def test_a_killed_process_does_nothing_more(place: int, *, put: bool, claimed: bool, deleted: bool) -> None:
    """Effects before the place happened, those after it did not, not even the ones in ``finally``."""
    objects, occurrences, switch = await killed_at(place)
    assert switch.dead
    assert bool(objects.puts) is put
    assert (("visits", "o1", 0) in occurrences.marks) is claimed
    assert (await objects.head("plain", "a") is None) is (deleted or not put)


async def test_a_hook_may_fail_one_call() -> None:
    """An error from the hook before an effect is the caller's, and the effect does not happen."""

    def refuse(place: str) -> None:
        if place == "before put s3://plain/b":
            raise UnreachableError(place)

    objects = FakeObjects(effects=Effects(refuse))
    await objects.put("plain", "a", b"1")
    with pytest.raises(UnreachableError):
        await objects.put("plain", "b", b"1")
    assert [info.key async for info in objects.list("plain")] == ["a"]


async def test_a_repeated_effect_happens_twice() -> None:
    """What the SDK sends twice is performed twice, and the caller sees the second answer."""
    network = ScriptedNetwork()
    objects = FakeObjects(effects=Effects(network=network))
    network.next(Fate.REPEATED)
    with pytest.raises(ConflictError):
        await objects.put("plain", "a", b"1", if_match=IF_ABSENT)
    assert objects.effects.performed == ["put s3://plain/a"] * 2
    assert len(objects.puts) == 1
