"""Is the tokenizer, as it was loaded, the one that its file describes?"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rmbench.checkpoint.chat import Template
from rmbench.checkpoint.explain import foreign, muted
from rmbench.checkpoint.findings import OK, REFUSED, Check
from rmbench.checkpoint.text_findings import PROBE
from rmbench.checkpoint.writing import library_ids, render, render_all, token_ids
from rmbench.errors import ScorerError
from rmbench.suite.comparison import Conversation

__all__ = ["check_tokenizer", "differing", "read_plain", "watched"]

# Digits, runs of spaces, contractions, line breaks, capitals, accents, and other scripts.
TEXTS: Final = (
    "In 1999 she paid 12345.67 for   three cats; they'll DON'T\n\n\tdo\r\n it, I'm 100% sure!  ",
    " naïve café — Привет мир, 你好世界 مرحبا नमस्ते 👩‍🔬 x_1 = (a+b)**2;",
)
STRIDE: Final = 97
MOST_COMPARED: Final = 32
"""So many of a run's conversations are compared, spread over its first few thousand."""
_REMEDY: Final = (
    'if the model was trained with tokenizer.json as it stands, write "tokenizer_class":'
    ' "PreTrainedTokenizerFast" in tokenizer_config.json; else save again the tokenizer that'
    " it was trained with"
)


def check_tokenizer(tokenizer: Any, template: Template, folder: Path, *, place: str) -> Check:
    """Refuse a tokenizer that gives other ids than the file beside the weights describes.

    transformers may rebuild a class around its own rules of splitting, whatever tokenizer.json
    says.

    Args:
        tokenizer: transformers'.
        template: the model's.
        folder: the model's.
        place: what messages call the model.

    Raises:
        ScorerError: the file cannot be used, or the tokenizer fails on a short conversation.
    """
    name = "tokenizer"
    texts = [*TEXTS, *_rendered(template, tokenizer)]
    with _at(place), foreign(place, "tokenizer"), muted():
        plain = read_plain(folder)
        ids = token_ids(texts, tokenizer, add_special=False, place=place)
        tokenizer.decode(ids[-1].tolist())
        found = [] if plain is None else list(differing(tokenizer, plain, texts))
    kind = type(tokenizer).__name__
    if plain is None:
        return Check(name=name, status=OK, seen=f"{kind}, without a tokenizer.json to compare")
    if not found:
        return Check(name=name, status=OK, seen=f"{kind}, ids as tokenizer.json gives them")
    return Check(
        name=name,
        status=REFUSED,
        seen=f"{kind} gives other token ids than tokenizer.json for {found[0][:40]!r}",
        remedy=_REMEDY,
    )


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Put the model's place before what is told of a trial text."""
    try:
        yield
    except ScorerError as error:
        text = str(error)
        raise error if text.startswith(place) else ScorerError(f"{place}: {text}") from None


def _rendered(template: Template, tokenizer: Any) -> list[str]:
    try:
        return [render(PROBE, template, tokenizer)]
    except ScorerError:
        return []  # the checks of the template tell


def watched(
    conversations: Iterable[Conversation],
    tokenizer: Any,
    template: Template,
    folder: Path,
) -> Iterator[Conversation]:
    """Pass conversations on, and compare the tokens of some with those that tokenizer.json gives.

    Args:
        conversations: of a run.
        tokenizer: the model's.
        template: the model's.
        folder: the tokenizer's.

    Raises:
        ScorerError: they differ.
    """
    sample: list[Conversation] = []
    is_compared = False
    for number, conversation in enumerate(conversations):
        if number % STRIDE == 0 and not is_compared:
            sample.append(conversation)
            if len(sample) == MOST_COMPARED:
                _compare(sample, tokenizer, template, folder)
                is_compared = True
        yield conversation
    if sample and not is_compared:
        _compare(sample, tokenizer, template, folder)


def _compare(
    sample: Sequence[Conversation], tokenizer: Any, template: Template, folder: Path
) -> None:
    texts = render_all(sample, template, tokenizer)
    with foreign(str(folder), "tokenizer"):
        plain = read_plain(folder)
        found = [] if plain is None else list(differing(tokenizer, plain, texts))
    for text in found:
        name = sample[texts.index(text)].name
        kind = type(tokenizer).__name__
        raise ScorerError(f"{name}: {kind} gives other token ids than tokenizer.json; {_REMEDY}")


def read_plain(folder: Path) -> Any:
    """Return the tokenizer that tokenizer.json describes; None where there is no such file."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    plain = Tokenizer.from_file(str(path))
    plain.no_truncation()
    plain.no_padding()
    return plain


def differing(tokenizer: Any, plain: Any, texts: Iterable[str]) -> Iterable[str]:
    """Yield the texts whose token ids differ, special tokens aside.

    Texts with tokens that other files of the model add (tokenizer_config.json) are passed over.
    """
    added = set(tokenizer.get_added_vocab())
    added -= {token.content for token in plain.get_added_tokens_decoder().values()}
    kept = [text for text in texts if not any(token in text for token in added)]
    loaded = token_ids(kept, tokenizer, add_special=False, place="a text of the run")
    for text, own, given in zip(kept, loaded, library_ids(kept, plain.to_str()), strict=True):
        if own.tolist() != given.tolist():
            yield text
