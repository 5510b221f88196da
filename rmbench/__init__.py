"""The benchmark harness for reward models.

    import rmbench

    result = rmbench.evaluate("mini", rmbench.load_scorer("tiny"))
    print(result.headline)

Names are loaded on first use, so that importing rmbench costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmbench.accuracy.aggregate import Accuracy
    from rmbench.checkpoint.options import ModelOptions
    from rmbench.errors import DataError, ResultError, RmbenchError, ScorerError, SuiteError
    from rmbench.result.record import Result
    from rmbench.result.store import read_result, write_result
    from rmbench.run import evaluate
    from rmbench.scorers.contract import Scored, Scorer, ScorerInfo
    from rmbench.scorers.registry import load_scorer
    from rmbench.suite.comparison import Comparison, Conversation, Message
    from rmbench.suite.definition import Suite, list_suites, load_suite

_HOMES = {
    "rmbench.accuracy.aggregate": ["Accuracy"],
    "rmbench.checkpoint.options": ["ModelOptions"],
    "rmbench.errors": ["DataError", "ResultError", "RmbenchError", "ScorerError", "SuiteError"],
    "rmbench.result.record": ["Result"],
    "rmbench.result.store": ["read_result", "write_result"],
    "rmbench.run": ["evaluate"],
    "rmbench.scorers.contract": ["Scored", "Scorer", "ScorerInfo"],
    "rmbench.scorers.registry": ["load_scorer"],
    "rmbench.suite.comparison": ["Comparison", "Conversation", "Message"],
    "rmbench.suite.definition": ["Suite", "list_suites", "load_suite"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Accuracy",
    "Comparison",
    "Conversation",
    "DataError",
    "Message",
    "ModelOptions",
    "Result",
    "ResultError",
    "RmbenchError",
    "Scored",
    "Scorer",
    "ScorerError",
    "ScorerInfo",
    "Suite",
    "SuiteError",
    "evaluate",
    "list_suites",
    "load_scorer",
    "load_suite",
    "read_result",
    "write_result",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'rmbench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
