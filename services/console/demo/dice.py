"""Chance that is the same on every Python version.

Of ``random.Random``, Python promises the same sequence for the same seed only for ``random()``; everything here is
made of that one method.
"""

from collections.abc import Sequence
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


class Dice:
    """A seeded source of decisions."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed).random  # noqa: S311 - sample data, no secrets

    def chance(self, share: float) -> bool:
        """True in this share of all calls."""
        return self._random() < share

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self._random() * (high - low + 1))

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[int(self._random() * len(choices))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in a new order."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.between(0, last)
            order[last], order[other] = order[other], order[last]
        return order


class Deck(Generic[T]):
    """Deals every item once before any item again, so that a short sample shows all of them."""

    def __init__(self, items: Sequence[T], dice: Dice) -> None:
        self._items = items
        self._dice = dice
        self._left: list[T] = []

    def deal(self) -> T:
        """The next item."""
        if not self._left:
            self._left = self._dice.shuffled(self._items)
        return self._left.pop()
