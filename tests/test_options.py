"""An option is declared once: its field says all that the command line and the docs repeat."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from rmbench.errors import ScorerError
from rmbench.options import OptionField, Options, option


class Sample(Options):
    word: Literal["left", "right"] = option("left", help="Which side.", flag=True)
    most: Annotated[int, Field(ge=1)] | None = option(None, help="At most so many.")
    share: Annotated[float, Field(ge=0, le=1)] = option(0.5, help="A share.", moves="reading")
    loud: bool = option(False, help="Say more.", moves="nothing")
    file: str | None = option(None, help="Where.", metavar="FILE")


def field(name: str) -> OptionField:
    return next(item for item in Sample.fields() if item.name == name)


def test_a_field_says_what_the_command_line_needs() -> None:
    assert [item.name for item in Sample.fields()] == ["word", "most", "share", "loud", "file"]
    assert field("word").choices == ("left", "right")
    assert (field("word").type, field("word").flag, field("word").default) == (
        str,
        "--word",
        "left",
    )
    assert (field("most").type, field("most").bounds) == (int, (1, None))
    assert (field("share").type, field("share").bounds) == (float, (0, 1))
    assert (field("loud").type, field("loud").moves) == (bool, "nothing")
    assert (field("file").metavar, field("file").help) == ("FILE", "Where.")


def test_texts_of_the_command_line_become_values() -> None:
    given = Sample(most="3", share="0.25", loud="true")
    assert (given.most, given.share, given.loud) == (3, 0.25, True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"word": "lft"}, 'word "lft" is unknown; did you mean "left"?'),
        ({"wrd": "left"}, 'option "wrd" is unknown; did you mean "word"?'),
        ({"most": 0}, "most = 0: it must be a whole number, 1 or more; give it with -o most"),
        ({"share": "much"}, "share = much: it must be a number from 0 to 1; give it with -o share"),
    ],
)
def test_what_is_wrong_is_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(ScorerError) as error:
        Sample(**values)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_an_option_without_a_default_must_be_given() -> None:
    class Needy(Options):
        reference: str = option(help="The other model.")

    with pytest.raises(ScorerError, match=r"option reference is missing; give it with -o ref"):
        Needy()
    assert next(Needy.fields()).required


def test_options_part_by_what_they_can_change() -> None:
    given = Sample(loud=True)
    assert given.that_move("answers") == {"word": "left", "most": None, "file": None}
    assert given.that_move("reading", "nothing") == {"share": 0.5, "loud": True}


def test_changed_options_are_checked_like_all_others() -> None:
    assert Sample(most=2).changed(word="right") == Sample(most=2, word="right")
    with pytest.raises(ScorerError, match="did you mean"):
        Sample().changed(word="rigth")
