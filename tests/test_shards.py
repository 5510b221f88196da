"""A run in parts: cut between prompts, and put together as if it had been one."""

from rmbench.answers.shards import cut, join_facts
from rmbench.scorers.contract import Facts
from rmbench.suite.comparison import Conversation, Message


def conversations(*prompts: str) -> list[Conversation]:
    return [Conversation((Message("user", prompt),), f"r{i}") for i, prompt in enumerate(prompts)]


def test_parts_end_between_prompts() -> None:
    asked = conversations("a", "a", "b", "b", "b", "c", "d", "d", "e")
    shards = list(cut(asked, 2))
    assert [(shard.start, len(shard.questions)) for shard in shards] == [(0, 5), (5, 3), (8, 1)]
    assert [item for shard in shards for item in shard.questions] == asked


def test_counts_are_summed_and_the_largest_is_the_largest() -> None:
    one = Facts(
        audit={"overflowed": 2, "longest": 90, "rechecked": {"comparisons": 8, "difference": 1e-7}},
        timing={"score": 1.5, "tokens": 100, "tokens_per_second": 66.0},
        environment={"device": "cpu"},
    )
    other = Facts(
        audit={"overflowed": 1, "longest": 70, "rechecked": {"comparisons": 8, "difference": 3e-7}},
        timing={"score": 2.5, "tokens": 200, "tokens_per_second": 80.0},
        environment={"device": "cuda"},
        is_final=False,
    )
    found = join_facts([(0, one), (4, other)])
    assert found.audit == {
        "overflowed": 3,
        "longest": 90,
        "rechecked": {"comparisons": 16, "difference": 3e-7},
    }
    assert found.timing == {"score": 4.0, "tokens": 300}
    assert found.environment == {"device": ["cpu", "cuda"]}
    assert not found.is_final


def test_numbers_of_a_part_become_those_of_the_run() -> None:
    one = Facts(unanswered={1: "cut off"}, inputs=[0, 0, 1])
    other = Facts(unanswered={0: "refused"}, inputs=[0, -1])
    found = join_facts([(0, one), (3, other)])
    assert found.unanswered == {1: "cut off", 3: "refused"}
    assert found.inputs == [0, 0, 1, 3, -1]
    assert join_facts([(0, one), (3, Facts())]).inputs is None
