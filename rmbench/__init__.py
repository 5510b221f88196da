"""The benchmark harness for reward models.

    import rmbench

    result = rmbench.evaluate("mini", "tiny")
    print(result.headline)

Names are loaded on first use, so that importing rmbench costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmbench.accuracy.aggregate import Accuracy
    from rmbench.api import check_result, compare_results, evaluate
    from rmbench.checkpoint.options import ModelOptions
    from rmbench.errors import DataError, ResultError, RmbenchError, ScorerError, SuiteError
    from rmbench.options import Options, option
    from rmbench.result.record import Result
    from rmbench.result.store import read_result, write_result
    from rmbench.scorers.contract import (
        Facts,
        Identity,
        Ledger,
        ListwiseScorer,
        MemoryLedger,
        PointwiseScorer,
        ScorerInfo,
    )
    from rmbench.scorers.functions import scorer
    from rmbench.scorers.kind import Kind
    from rmbench.scorers.registry import load_scorer
    from rmbench.suite.catalogue import list_suites, load_suite
    from rmbench.suite.comparison import Candidates, Comparison, Conversation, Message
    from rmbench.suite.definition import Suite

_HOMES = {
    "rmbench.accuracy.aggregate": ["Accuracy"],
    "rmbench.checkpoint.options": ["ModelOptions"],
    "rmbench.errors": ["DataError", "ResultError", "RmbenchError", "ScorerError", "SuiteError"],
    "rmbench.options": ["Options", "option"],
    "rmbench.result.record": ["Result"],
    "rmbench.result.store": ["read_result", "write_result"],
    "rmbench.api": ["check_result", "compare_results", "evaluate"],
    "rmbench.scorers.contract": [
        "Facts",
        "Identity",
        "Ledger",
        "ListwiseScorer",
        "MemoryLedger",
        "PointwiseScorer",
        "ScorerInfo",
    ],
    "rmbench.scorers.functions": ["scorer"],
    "rmbench.scorers.kind": ["Kind"],
    "rmbench.scorers.registry": ["load_scorer"],
    "rmbench.suite.comparison": ["Candidates", "Comparison", "Conversation", "Message"],
    "rmbench.suite.catalogue": ["list_suites", "load_suite"],
    "rmbench.suite.definition": ["Suite"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Accuracy",
    "Candidates",
    "Comparison",
    "Conversation",
    "DataError",
    "Facts",
    "Identity",
    "Kind",
    "Ledger",
    "ListwiseScorer",
    "MemoryLedger",
    "Message",
    "ModelOptions",
    "Options",
    "PointwiseScorer",
    "Result",
    "ResultError",
    "RmbenchError",
    "ScorerError",
    "ScorerInfo",
    "Suite",
    "SuiteError",
    "check_result",
    "compare_results",
    "evaluate",
    "list_suites",
    "load_scorer",
    "load_suite",
    "option",
    "read_result",
    "scorer",
    "write_result",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("rmbench")
    if name not in _HOME:
        raise AttributeError(f"module 'rmbench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
