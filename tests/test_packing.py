"""The plan of what is computed: batches, rows, and who sees whom."""

from __future__ import annotations

import itertools
import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench.engine.packing import PackedRow, pack, plan_batches

Ints = npt.NDArray[np.int32]

# Three token ids make prefixes, duplicates and deep trees likely; sequences are one token or more.
sequence_lists = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=9).map(lambda ids: np.array(ids, np.int32)),
    min_size=1,
    max_size=14,
)
row_limits = st.integers(1, 40)

# Examples are small, and how long one takes on a busy machine is no property of the plan.
PATIENT = settings(deadline=None)


def ints(*texts: str) -> list[Ints]:
    """Return one sequence a text, one token a letter."""
    return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) for text in texts]


def visible(row: PackedRow, query: int) -> list[int]:
    """Return the keys that a query sees, key by key from the rule that packing states."""
    return [key for key in range(row.size) if key <= query < row.end[key]]


def places(rows: list[PackedRow]) -> dict[int, tuple[int, int]]:
    """Return the row and the branch of every sequence."""
    return {
        own.sequence: (r, b) for r, row in enumerate(rows) for b, own in enumerate(row.branches)
    }


def trie_size(sequences: list[Ints]) -> int:
    """Count the distinct prefixes that are not empty: the nodes of the prefix tree."""
    return len({tuple(ids[:n].tolist()) for ids in sequences for n in range(1, ids.size + 1)})


# --- Padded batches ---------------------------------------------------------------------------


@PATIENT
@given(st.lists(st.integers(0, 50)), st.integers(1, 120))
def test_batches_are_a_permutation(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget=budget)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))


@PATIENT
@given(st.lists(st.integers(0, 50)), st.integers(1, 120))
def test_only_a_batch_of_one_exceeds_the_budget(lengths: list[int], budget: int) -> None:
    for batch in plan_batches(lengths, budget=budget):
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@PATIENT
@given(st.lists(st.integers(0, 50)), st.integers(1, 120))
def test_batches_run_from_longest_to_shortest(lengths: list[int], budget: int) -> None:
    order = [lengths[i] for batch in plan_batches(lengths, budget=budget) for i in batch]
    assert order == sorted(lengths, reverse=True)


def test_batches_of_a_known_case() -> None:
    # 20 is over the budget of 10 and goes alone; 9 leaves no room for a second of 9; two of 4 are
    # 8, three would be 12; then 3 and 1 make 2 x 3.
    assert plan_batches([3, 9, 1, 4, 4, 20], budget=10) == [[5], [1], [3, 4], [0, 2]]


def test_nothing_makes_no_batch() -> None:
    assert plan_batches([], budget=1) == []


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="budget is 0"):
        plan_batches([1], budget=0)


def test_a_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        plan_batches([1, -1], budget=4)


# --- Rows -------------------------------------------------------------------------------------


def test_the_example_of_the_documentation_holds() -> None:
    (row,) = pack(ints("abcd", "abcxy", "abz"), row_tokens=100)
    assert bytes(row.tokens.astype(np.uint8)) == b"abcdxyz"
    assert row.position.tolist() == [0, 1, 2, 3, 3, 4, 2]
    assert row.end.tolist() == [7, 7, 6, 4, 6, 6, 7]


@PATIENT
@given(sequence_lists, row_limits)
def test_every_token_sees_exactly_its_own_sequence(sequences: list[Ints], limit: int) -> None:
    rows = pack(sequences, row_tokens=limit)
    for index, (r, branch) in places(rows).items():
        row = rows[r]
        for depth in range(sequences[index].size):
            seen = visible(row, row.offset(branch, depth))
            assert row.tokens[seen].tolist() == sequences[index][: depth + 1].tolist()
            assert row.position[seen].tolist() == list(range(depth + 1))


@PATIENT
@given(sequence_lists, row_limits)
def test_prefix_and_own_tokens_are_what_a_branch_sees(sequences: list[Ints], limit: int) -> None:
    for row in pack(sequences, row_tokens=limit):
        for b, own in enumerate(row.branches):
            before = [i for piece in row.prefix(b) for i in range(row.size)[piece]]
            keys = [*before, *range(own.offset, own.offset + own.length)]
            assert len(before) == own.depth
            assert keys == visible(row, row.offset(b, own.depth + own.length - 1))


@PATIENT
@given(sequence_lists, row_limits)
def test_each_sequence_stands_in_exactly_one_row(sequences: list[Ints], limit: int) -> None:
    rows = pack(sequences, row_tokens=limit)
    found = [own.sequence for row in rows for own in row.branches]
    assert sorted(found) == list(range(len(sequences)))


@PATIENT
@given(sequence_lists, row_limits)
def test_only_a_single_sequence_exceeds_the_row(sequences: list[Ints], limit: int) -> None:
    for row in pack(sequences, row_tokens=limit):
        assert row.size <= max(limit, *(sequences[own.sequence].size for own in row.branches))


@PATIENT
@given(sequence_lists, row_limits)
def test_packing_never_computes_more_than_plain_scoring(sequences: list[Ints], limit: int) -> None:
    rows = pack(sequences, row_tokens=limit)
    assert sum(row.size for row in rows) <= sum(ids.size for ids in sequences)


@PATIENT
@given(sequence_lists)
def test_one_wide_row_computes_every_distinct_prefix_once(sequences: list[Ints]) -> None:
    (row,) = pack(sequences, row_tokens=1000)
    assert row.size == trie_size(sequences)


@PATIENT
@given(sequence_lists, row_limits)
def test_rows_are_the_cheapest_cut_of_the_sorted_sequences(
    sequences: list[Ints], limit: int
) -> None:
    # Brute force: every way to cut the sorted list, each part costing the size of its tree.
    ordered = sorted(ids.tolist() for ids in sequences[:7])
    parts = [np.array(ids, np.int32) for ids in ordered]
    cheapest = min(
        sum(trie_size(group) for group in groups)
        for groups in cuts(parts)
        if all(trie_size(group) <= max(limit, *(s.size for s in group)) for group in groups)
    )
    assert sum(row.size for row in pack(parts, row_tokens=limit)) == cheapest


def cuts(parts: list[Ints]) -> list[list[list[Ints]]]:
    """Return every way to cut a list into runs of neighbours."""
    result = []
    for inside in itertools.product([False, True], repeat=len(parts) - 1):
        places_ = [0, *(i + 1 for i, cut in enumerate(inside) if cut), len(parts)]
        result.append([parts[i:j] for i, j in itertools.pairwise(places_)])
    return result


@PATIENT
@given(sequence_lists, sequence_lists)
def test_a_pair_that_fits_a_row_shares_its_prefix(left: list[Ints], right: list[Ints]) -> None:
    # Conversations of distinct prompts: 9 and the pair's number keep the prompts apart, and only
    # the two sides of a pair have their prompt in common.
    pairs = [(a, b) for a, b in zip(left, right, strict=False)]
    head = [np.array([9, 100 + n, 7, 7], np.int32) for n in range(len(pairs))]
    sides = [np.concatenate([head[n], ids]) for n, pair in enumerate(pairs) for ids in pair]
    rows = pack(sides, row_tokens=max(trie_size(sides[i : i + 2]) for i in range(0, len(sides), 2)))
    where = places(rows)
    for chosen in range(0, len(sides), 2):
        (r, a), (s, b) = where[chosen], where[chosen + 1]
        assert r == s
        assert rows[r].offset(a, 3) == rows[s].offset(b, 3)


@PATIENT
@given(sequence_lists, row_limits)
def test_equal_sequences_are_read_at_one_place(sequences: list[Ints], limit: int) -> None:
    rows = pack([*sequences, *sequences], row_tokens=limit)
    where = places(rows)
    for index, ids in enumerate(sequences):
        (r, a), (s, b) = where[index], where[index + len(sequences)]
        assert (r, rows[r].offset(a, ids.size - 1)) == (s, rows[s].offset(b, ids.size - 1))


@PATIENT
@given(sequence_lists, row_limits)
def test_rows_run_from_longest_to_shortest(sequences: list[Ints], limit: int) -> None:
    sizes = [row.size for row in pack(sequences, row_tokens=limit)]
    assert sizes == sorted(sizes, reverse=True)


def test_a_sequence_is_read_inside_one_that_continues_it() -> None:
    (row,) = pack(ints("abcd", "ab"), row_tokens=10)
    assert row.size == 4
    assert row.offset([own.sequence for own in row.branches].index(1), 1) == 1


def test_best_of_n_stands_as_one_tree() -> None:
    # A prompt of 6 and answers of 3, 2 and 1 tokens that begin differently: 6 + 3 + 2 + 1.
    (row,) = pack(ints("promptabc", "promptde", "promptf"), row_tokens=12)
    assert row.size == 12
    assert sorted(own.depth for own in row.branches) == [0, 6, 6]


def test_a_three_by_three_matrix_shares_its_prompt_nine_times() -> None:
    # A prompt of 6 tokens, nine answers of 2; answers of one style begin alike: 6 + 3 x (1 + 3).
    (row,) = pack(ints(*(f"prompt{a}{b}" for a in "abc" for b in "xyz")), row_tokens=100)
    assert row.size == 18


def test_a_tree_too_large_for_a_row_repeats_its_prefix() -> None:
    # 6 + 4 x 3 = 18 tokens do not fit 12; two rows of 6 + 2 x 3 do.
    rows = pack(ints("promptaaa", "promptbbb", "promptccc", "promptddd"), row_tokens=12)
    assert [row.size for row in rows] == [12, 12]


def test_nothing_makes_no_row() -> None:
    assert pack([], row_tokens=1) == []


def test_an_empty_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="sequence 1 is empty"):
        pack([*ints("ab"), np.array([], np.int32)], row_tokens=4)


def test_a_row_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="row_tokens is 0"):
        pack(ints("ab"), row_tokens=0)


@pytest.mark.parametrize("depth", [-1, 2])
def test_a_token_beyond_its_sequence_is_refused(depth: int) -> None:
    (row,) = pack(ints("ab", "abc"), row_tokens=9)
    with pytest.raises(IndexError, match=f"sequence 0 has no token at depth {depth}"):
        row.offset(0, depth)


def test_a_whole_suite_is_planned_in_seconds() -> None:
    # 1,500 pairs of 280 + 280 tokens, 1.7 M in all; ten times what a slow core takes fails. Each
    # prompt begins with its own number and each side with its own, so only prompts are shared.
    draw = np.random.default_rng(0)
    prompts = draw.integers(0, 50_000, (1500, 280), dtype=np.int32)
    answers = draw.integers(0, 50_000, (2, 1500, 280), dtype=np.int32)
    prompts[:, 0] = np.arange(1500)
    answers[:, :, 0] = [[0], [1]]
    sides = [np.concatenate([prompts[n], side[n]]) for n in range(1500) for side in answers]
    start = time.process_time()
    rows = pack(sides, row_tokens=4096)
    assert time.process_time() - start < 3.0
    assert sum(row.size for row in rows) == 1500 * 3 * 280
