"""Texts that say the same: equal words, or nearly the same runs of words.

Two texts are equal here if their words are, whatever case, marks and white space. They are near if
of all the runs of three words that either has, most are in both (Jaccard's index of the sets). The
candidates come from MinHash signatures in buckets (``datasketch``); each is then compared exactly.

Source: A. Broder (1997), On the resemblance and containment of documents, SEQUENCES 97:21-29.
"""

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rmbench.errors import DataError, install

__all__ = ["NEAR", "NearTexts", "digest_of", "shingles_of", "words_in"]

NEAR: Final = 0.7
"""From which index on two texts are near."""
SIZE: Final = 3
"""Words of a run."""
PERMUTATIONS: Final = 128
SLACK: Final = 0.2
"""How far below the wanted index the buckets look, so that few near texts are missed."""
FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
Shingles = npt.NDArray[np.uint64]

# A letter of a script without spaces between words is a word.
_WORD: Final = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\\W_]+")


def words_in(text: str) -> list[str]:
    """Return the words of a text, in lower case, without the marks between them."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def digest_of(words: Sequence[str]) -> bytes:
    """Return 16 bytes that two texts share when their words are the same."""
    return hashlib.blake2b("\0".join(words).encode(), digest_size=16).digest()


def shingles_of(words: Sequence[str]) -> Shingles:
    """Return a number for each different run of three words, sorted; empty for fewer words."""
    if len(words) < SIZE:
        return np.zeros(0, dtype=np.uint64)
    codes = np.fromiter((zlib.crc32(word.encode()) for word in words), np.uint64, len(words))
    runs = np.zeros(len(words) - SIZE + 1, dtype=np.uint64)
    for start in range(SIZE):  # 64 bits, beyond which numbers wrap around as they should
        runs = runs * FACTOR + codes[start : len(codes) - SIZE + 1 + start]
    return np.unique(runs)


class NearTexts:
    """Texts by number, found again by one that is near."""

    def __init__(self, near: float = NEAR) -> None:
        """Keep no text yet.

        Args:
            near: the least index of two near texts, in (0, 1].

        Raises:
            DataError: the library for it is not installed.
        """
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError:
            raise DataError(
                f"near texts: datasketch is not installed; {install('datasketch')}, or give --exact"
            ) from None
        self.near = near
        self._blank = MinHash(num_perm=PERMUTATIONS, hashfunc=int)
        # Misses weigh more than candidates that turn out to be none.
        self._buckets = MinHashLSH(
            threshold=max(near - SLACK, 0.05), num_perm=PERMUTATIONS, weights=(0.2, 0.8)
        )
        self._shingles: dict[int, Shingles] = {}
        self._sizes = (1 << 62, 0)

    def add(self, number: int, shingles: Shingles) -> None:
        """Keep a text; one of less than three words is near to none."""
        if not len(shingles):
            return
        self._shingles[number] = shingles
        self._sizes = (min(self._sizes[0], len(shingles)), max(self._sizes[1], len(shingles)))
        self._buckets.insert(number, self._signature(shingles))

    def find(self, shingles: Shingles) -> list[int]:
        """Return the numbers of the texts that are near to one, ascending."""
        shortest, longest = self._sizes
        # The index is at most the ratio of the sizes.
        if not shortest * self.near <= len(shingles) <= longest / self.near:
            return []
        candidates = self._buckets.query(self._signature(shingles))
        return sorted(i for i in candidates if _index(self._shingles[i], shingles) >= self.near)

    def _signature(self, shingles: Shingles) -> Any:
        signature = self._blank.copy()
        signature.update_batch((shingles >> np.uint64(32)).tolist())
        return signature


def _index(one: Shingles, other: Shingles) -> float:
    """Return how many of the runs that either has are in both, as a share."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)
