"""What the names of the columns say against the meaning that a suite gives them."""

import re
from collections.abc import Iterable
from typing import Final

from rmbench.errors import DataError

__all__ = ["are_twins", "check_preference", "is_verdict", "words_of"]

_TWINS: Final = ({"a", "b"}, {"1", "2"}, {"0", "1"}, {"left", "right"}, {"first", "second"})
_VERDICTS: Final = {
    "better", "choice", "label", "labels", "prefer", "preference", "preferences", "preferred",
    "verdict", "vote", "winner",
}  # fmt: skip


def check_preference(chosen: str, rejected: str, columns: Iterable[str], place: str) -> None:
    """Refuse two columns that are told apart by place alone, beside one that says which is better.

    ``response_a`` is no chosen side where a column ``winner`` may name the other.

    Args:
        chosen: the column that the suite takes for the chosen side.
        rejected: likewise.
        columns: all that the row has.
        place: of the row, for the message.

    Raises:
        DataError: the question which side is preferred is open.
    """
    if not are_twins(chosen, rejected):
        return
    named = {chosen, rejected}
    verdict = next((name for name in columns if name not in named and is_verdict(name)), None)
    if verdict is not None:
        raise DataError(
            f'{place}: "{chosen}" and "{rejected}" are taken for chosen and rejected, but'
            f' "{verdict}" stands beside them: which side is preferred? Say so with responses and'
            " preferred in [columns]; if the first always is, rename the two columns"
        )


def are_twins(first: str, second: str) -> bool:
    """Return whether two names differ in nothing but ``a`` and ``b``, ``1`` and ``2`` ..."""
    words = list(zip(words_of(first), words_of(second), strict=False))
    if len(words_of(first)) != len(words_of(second)):
        return False
    differing = [{one, other} for one, other in words if one != other]
    return len(differing) == 1 and differing[0] in _TWINS


def is_verdict(name: str) -> bool:
    """Return whether a column is called as one that says which side is better."""
    return bool(_VERDICTS & set(words_of(name)))


def words_of(name: str) -> list[str]:
    """Return the words of a name: ``responseA``, ``response_a`` and ``response1`` have two."""
    parted = re.sub(r"([a-z])([A-Z0-9])", r"\1 \2", str(name))
    return re.findall(r"[a-z]+|\d+", parted.lower())
