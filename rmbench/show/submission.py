"""What a pull request that adds results brings: records, rewards, card entry, and its words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rmbench.files import write_text
from rmbench.result.record import Result
from rmbench.result.store import write_result
from rmbench.result.verify import verify
from rmbench.show.formats import format_table
from rmbench.show.model_card import model_index, to_yaml
from rmbench.show.result import result_table
from rmbench.suite.catalogue import load_suite

__all__ = ["Submission", "prepare"]

WORDS: Final = "PULL_REQUEST.md"
CARD: Final = "model-index.yaml"


@dataclass(frozen=True, slots=True)
class Submission:
    """What was written.

    Attributes:
        records: of each result, its rewards beside it.
        card: the entry of the model's card.
        words: the pull request's text.
    """

    records: tuple[Path, ...]
    card: Path
    words: Path


def prepare(results: Sequence[Result], folder: Path) -> Submission:
    """Check results as a results repository does, and write what a pull request brings.

    Nothing is written when one of them does not pass.

    Args:
        results: of one model, with their rewards.
        folder: of the submission; records go to ``results/`` in it, so that it may be a clone.

    Raises:
        ResultError: a result does not pass, as `rmbench.result.verify.verify` says; results of
            several models; a file cannot be written.
    """
    for result in results:
        verify(result)
    suites = {result.suite["name"]: load_suite(result.suite["name"]) for result in results}
    index = to_yaml(model_index(results, suites))
    records = tuple(write_result(result, folder / "results") for result in results)
    tables = [
        format_table(result_table(result, suites[result.suite["name"]]), "markdown")
        for result in results
    ]
    words = "\n\n".join([f"# {results[0].model['id']}", *tables])
    write_text(folder / CARD, index)
    write_text(folder / WORDS, words + "\n")
    return Submission(records, folder / CARD, folder / WORDS)
