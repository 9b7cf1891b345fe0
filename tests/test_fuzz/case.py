"""A mutation of what a user hands in, with the outcome that it must have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

REFUSED = 'refused'
"""Exit code 2 and the message alone, before the first step."""
TRAINS = 'trains'
"""Exit code 0, and weights that have been trained."""
SAME = 'same'
"""Exit code 0, and the losses, or the output, of the unchanged input to the last bit."""
EITHER = 'either'
"""One of these: of a bit that is flipped nobody knows before."""
OUTCOMES = (REFUSED, TRAINS, SAME, EITHER)


class Deleted:
    """Stands for the value of a key that is taken out."""

    def __repr__(self) -> str:
        return 'DELETED'


DELETED = Deleted()


@dataclass(frozen=True)
class Case:
    """A mutation.

    Attributes:
        part: What is mutated: the module ``configs``, ``annotations`` or ``checkpoints``.
        mutation: Its name, by which cases are counted.
        outcome: One of ``OUTCOMES``.
        change: What is changed; its meaning depends on the part.
        says: Words of which the message of a refusal has one, in any case.
        use: What the mutated file is given to: ``train``, or for checkpoints see ``checkpoints.USES``.
    """

    part: str
    mutation: str
    outcome: str
    change: Any
    says: tuple[str, ...] = ()
    use: str = 'train'
