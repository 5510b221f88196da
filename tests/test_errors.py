"""The tree of errors, and how what a library raises becomes one of them."""

import pytest

from rmbench.errors import DataError, ScorerError, enclosed


class PanicError(BaseException):
    """What Rust code raises through pyo3: no Exception."""


@pytest.mark.parametrize("raised", [Exception("bare"), PanicError("panic"), MemoryError()])
def test_whatever_a_library_raises_is_explained(raised: BaseException) -> None:
    with (
        pytest.raises(ScorerError, match="m: broken"),
        enclosed(lambda error: ScorerError(f"m: broken: {error}; fix it")),
    ):
        raise raised


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(3), DataError("a line")])
def test_what_ends_the_program_or_is_explained_already_goes_through(raised: BaseException) -> None:
    with pytest.raises(type(raised)), enclosed(lambda _: ScorerError("other")):
        raise raised
