"""Generative judges: a model that is asked in words which response is better, or how good one is.

Its replies are kept in the ledger as they come, sample by sample; answers are read from them again
in each run. So reading them otherwise costs no call, and a run that was killed asks only for what
is missing. A reply that cannot be read, was cut off, was refused, or never came is counted as what
it is, and is no answer.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, cast

from pydantic import BeforeValidator, Field

from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.options import option, same_option
from rmbench.scorers.batch import BatchChat
from rmbench.scorers.calls import Caller, CallOptions, FailedCallError, in_flight
from rmbench.scorers.chat import Chat, Sampling, ServerChat
from rmbench.scorers.contract import Facts, Identity, Ledger, Scorer, ScorerInfo
from rmbench.scorers.examined import Examined, examine_by_asking
from rmbench.scorers.judge_file import JudgeFile, load_judge, render_question
from rmbench.scorers.kind import Kind
from rmbench.scorers.local_chat import LocalChat
from rmbench.scorers.opened import folder_name, own_options
from rmbench.scorers.tally import Tally
from rmbench.scorers.verdict import Reply, read
from rmbench.suite.comparison import Candidates, Comparison, Conversation, Key, Message

if TYPE_CHECKING:
    from rmbench.scorers.plan import Plan

__all__ = ["KIND", "JudgeOptions", "ListwiseJudge", "PointwiseJudge", "open_judge"]

_LOCAL: Final = frozenset(
    {"revision", "dtype", "device", "device_map", "attention", "template", "trust_remote_code"}
    | {"trust_pickle"}
)
"""Options of a judge that runs here."""
_log = logging.getLogger("rmbench")
MILLION: Final = 1_000_000


def _from_json(value: Any) -> Any:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError('it must be a JSON object, such as {"top_p": 0.9}')
    return found


class JudgeOptions(CallOptions):
    """How a judge is asked, and how its replies are read."""

    revision: str | None = same_option(ModelOptions, "revision")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = same_option(ModelOptions, "dtype")
    device: str = same_option(ModelOptions, "device")
    device_map: Literal["auto"] | None = same_option(ModelOptions, "device_map")
    attention: str | None = same_option(ModelOptions, "attention")
    template: str = same_option(ModelOptions, "template")
    trust_remote_code: bool = same_option(ModelOptions, "trust_remote_code")
    trust_pickle: bool = same_option(ModelOptions, "trust_pickle")

    prompt: str = option(
        "rewardbench", help="A judge's file: a name of `docs/judges.md`, or a path.", metavar="FILE"
    )
    verdict: str | None = option(
        None,
        help="Another file, whose [verdict] says how replies are read; kept ones are read again.",
        moves="reading",
        metavar="FILE",
    )
    url: str | None = option(
        None,
        help="A server that speaks OpenAI's chat completions, up to and with /v1; without it"
        " replies are generated here.",
        metavar="URL",
    )
    batch: str | None = option(
        None,
        help="A folder for OpenAI batch files: requests are written, outputs are read.",
        moves="nothing",
        metavar="DIR",
    )
    orders: Literal["both", "once"] = option(
        "both", help="Whether two responses are shown in both orders.", flag=True
    )
    samples: Annotated[int, Field(ge=1)] = option(
        1, help="Replies to one question; their mean is the answer.", moves="reading"
    )
    temperature: Annotated[float, Field(ge=0)] = option(
        0.0, help="0 for the likeliest reply; several samples need more."
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = option(
        None, help="Of a reply, its thought included; by default what the judge's file says."
    )
    seed: int = option(
        0, help="Of the first sample of a question, and of the places of several candidates."
    )
    extra: Annotated[dict[str, Any], BeforeValidator(_from_json)] = option(
        {}, help="Further fields of a request, as JSON.", metavar="JSON"
    )
    repeat: Annotated[int, Field(ge=1)] = option(
        1,
        help="Identical runs; from the second on only to tell how far they agree.",
        moves="audit",
    )
    price_in: Annotated[float, Field(ge=0)] | None = option(
        None, help="Price of a million prompt tokens, in any currency.", moves="nothing"
    )
    price_out: Annotated[float, Field(ge=0)] | None = option(
        None, help="Price of a million tokens of replies.", moves="nothing"
    )
    max_cost: Annotated[float, Field(gt=0)] | None = option(
        None, help="Stop when so much is spent; needs both prices.", moves="nothing"
    )
    max_failed: Annotated[float, Field(ge=0, le=1)] = option(
        0.01,
        help="Share of questions that may have no reply before the run is an error.",
        moves="nothing",
    )


class _Question(NamedTuple):
    """One question with its number in the run; ``keys`` say which responses it shows."""

    number: int
    prompt: tuple[Message, ...]
    responses: tuple[str, ...]
    keys: tuple[Key, ...]
    name: str


_Place = tuple[int, int]
"""Of a sample: its run, and its number in it, both from 0 on."""


class _Task(NamedTuple):
    """One request: a sample of a question."""

    question: _Question
    place: _Place
    body: dict[str, Any]


@dataclass(slots=True)
class _Open:
    """What is known of a question's samples so far."""

    samples: dict[_Place, Reply] = field(default_factory=dict)
    failures: dict[_Place, str] = field(default_factory=dict)


class _Judge:
    """What judges of one response and of several share."""

    def __init__(self, file: JudgeFile, model: str, chat: Chat, options: JudgeOptions) -> None:
        self.file = file
        self.chat = chat
        self.options = options
        self.model = model
        self.sampling = Sampling(
            temperature=options.temperature,
            max_tokens=1 if file.verdict.tokens else options.max_tokens or file.max_tokens,
            seed=options.seed,
            with_tops=file.verdict.tokens is not None,
            extra=options.extra,
        )
        self._spent = 0.0

    def examine(self, sample: Sequence[Comparison]) -> Examined:
        """Return what it is, what it is asked first, and what it replies to a few questions."""
        first = sample[0]
        shown = first.responses[:1] if self.file.asks == "pointwise" else first.responses[:2]
        messages = render_question(self.file, first.prompt, shown, place=first.id)
        where = self.options.url or self.options.batch or "a model that runs here"
        return examine_by_asking(
            cast(Scorer, self),
            sample,
            recognised=f"judge, {self.file.asks}: {self.file.title}; replies from {where}",
            shown="\n\n".join(f"[{turn['role']}]\n{turn['content']}" for turn in messages),
        )

    @cached_property
    def revision(self) -> str | None:
        """Of a judge that runs here; a server does not tell."""
        return self.chat.checkpoint.revision if isinstance(self.chat, LocalChat) else None

    @property
    def info(self) -> ScorerInfo:
        """Who judges, and what can move its verdicts; known before anybody is asked."""
        sampling, options = self.sampling, self.options
        settings = {
            "prompt": options.prompt,
            "prompt_sha256": self.file.sha256,
            "verdict": options.verdict,
            "orders": options.orders,
            "via": "local" if isinstance(self.chat, LocalChat) else "server",
            "samples": options.samples,
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
            "extra": json.dumps(sampling.extra, sort_keys=True),
        }
        if isinstance(self.chat, LocalChat):
            settings |= self.chat.settings
        usual: dict[str, Any] = dict(settings)
        usual |= {"verdict": None, "samples": 1, "temperature": 0.0, "seed": 0, "extra": "{}"}
        usual["orders"] = "both"
        usual["max_tokens"] = 1 if self.file.verdict.tokens else self.file.max_tokens
        usual |= {"template": "tokenizer", "attention": None}
        del usual["prompt"]
        usual.pop("dtype", None)
        return ScorerInfo(
            id=self.chat.checkpoint.name if isinstance(self.chat, LocalChat) else self.model,
            kind="judge",
            revision=self.revision,
            gives="rewards" if self.file.asks == "pointwise" else "preferences",
            scale="probability" if self.file.verdict.tokens is not None else "ordinal",
            settings=settings,
            usual=usual,
        )

    @property
    def identity(self) -> Identity | None:
        """What replies hang on, how they are read, and how often the run is made."""
        from rmbench.scorers.unloaded import model_identity

        asked: tuple[Any, ...]
        asked = (self.model, self.options.url, self.file.messages, self.sampling)
        if isinstance(self.chat, LocalChat):
            chat = self.chat
            local = model_identity(chat.model, chat.options)
            if local is None:
                return None
            asked = (*asked, local, self.file.awaits_answer, chat.settings, chat.labels)
        read_as = (self.file.verdict, self.options.samples)
        return Identity(repr(asked), repr(read_as), repr(self.options.repeat))

    def _run(self, questions: Iterable[_Question], ledger: Ledger) -> Facts:
        start = time.perf_counter()
        tally = Tally(runs=self.options.repeat, samples=self.options.samples)
        try:
            self._ask_all(questions, ledger, tally)
            self.chat.finish()
        finally:
            self.chat.close()
        self._refuse_failures(tally)
        return self._facts(tally, time.perf_counter() - start)

    def _ask_all(self, questions: Iterable[_Question], ledger: Ledger, tally: Tally) -> None:
        open_: dict[int, _Open] = {}
        tasks = self._tasks(questions, ledger, tally, open_)
        for task, sample in in_flight(tasks, self._ask, at_once=self.chat.at_once):
            number, state = task.question.number, open_[task.question.number]
            if isinstance(sample, FailedCallError):
                state.failures[task.place] = sample.kind
            else:
                state.samples[task.place] = sample
                ledger.keep({number: _pack(state.samples)})
                self._spent += self._cost(sample)
            if all(place in state.samples or place in state.failures for place in self._places):
                self._settle(task.question, open_.pop(number), ledger, tally)

    @property
    def _places(self) -> list[_Place]:
        return [(r, s) for r in range(self.options.repeat) for s in range(self.options.samples)]

    def _tasks(
        self,
        questions: Iterable[_Question],
        ledger: Ledger,
        tally: Tally,
        open_: dict[int, _Open],
    ) -> Iterator[_Task]:
        """Yield the requests for samples that are not kept; settle questions that lack none."""
        for question in questions:
            state = _Open(samples=_unpack(ledger.reply(question.number)))
            missing = [place for place in self._places if place not in state.samples]
            if not missing:
                self._settle(question, state, ledger, tally)
                continue
            open_[question.number] = state
            messages = render_question(
                self.file, question.prompt, question.responses, place=question.name
            )
            for place in missing:
                self._refuse_cost()
                # Runs that are to be compared are identical: the seed counts the samples of one.
                yield _Task(question, place, self.sampling.body(self.model, messages, place[1]))

    def _ask(self, task: _Task) -> Reply | FailedCallError:
        try:
            return self.chat.ask(task.body, task.place[0])
        except FailedCallError as failure:
            return failure

    def _settle(self, question: _Question, state: _Open, ledger: Ledger, tally: Tally) -> None:
        """Read all samples of a question and record what they say together."""
        count = len(question.responses)
        readings: list[tuple[float, ...] | str] = []
        for place in self._places:
            if place in state.samples:
                tally.count(state.samples[place], self.file.verdict)
                readings.append(read(self.file.verdict, state.samples[place], count))
            else:
                readings.append(f"failed: {state.failures[place]}")
        answer = tally.settle(question.number, readings, question.keys)
        if answer is not None:
            ledger.record({question.number: answer[0] if count == 1 else answer})

    def _cost(self, sample: Reply) -> float:
        options = self.options
        if options.price_in is None or options.price_out is None:
            return 0.0
        if len(sample.tokens) < 2:
            raise ScorerError(
                f"{self.model}: the server does not count tokens, so that no cost can be told;"
                " leave out price_in, price_out and max_cost"
            )
        prices = (options.price_in, options.price_out)
        return sum(n * price for n, price in zip(sample.tokens, prices, strict=True)) / MILLION

    def _refuse_cost(self) -> None:
        limit = self.options.max_cost
        if limit is not None and self._spent >= limit:
            raise ScorerError(
                f"{self.model}: {self._spent:.4f} spent, and max_cost is {limit:g}; the replies are"
                " kept: run it again with more, and only what is missing is asked"
            )

    def _refuse_failures(self, tally: Tally) -> None:
        failed = sum(reason.startswith("failed") for reason in tally.unanswered.values())
        if failed > self.options.max_failed * max(tally.questions, 1):
            kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(tally.failures().items()))
            raise ScorerError(
                f"{self.model}: {failed} of {tally.questions} questions have no reply ({kinds});"
                " the others are kept: run it again and only these are asked, or allow more with"
                " -o max_failed=SHARE"
            )

    def _facts(self, tally: Tally, seconds: float) -> Facts:
        timing = {"score": seconds, **tally.tokens()}
        if self.options.price_in is not None and self.options.price_out is not None:
            bill = (self.options.price_in, self.options.price_out)
            used = (timing["prompt_tokens"], timing["completion_tokens"])
            timing["cost"] = sum(n * price for n, price in zip(used, bill, strict=True)) / MILLION
        return Facts(
            audit=tally.audit(),
            timing=timing,
            environment={"faults": dict(self.chat.faults())},
            unanswered=dict(sorted(tally.unanswered.items())),
            is_final=not any(why.startswith("failed") for why in tally.unanswered.values()),
        )


class PointwiseJudge(_Judge):
    """Rates one response at a time."""

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record a rating for each conversation whose reply can be read.

        Raises:
            ScorerError: the server refuses, too many questions have no reply, or the cost is
                reached.
        """
        questions = (
            _Question(i, item.prompt, (item.response,), (), item.name)
            for i, item in enumerate(conversations)
        )
        return self._run(questions, ledger)


class ListwiseJudge(_Judge):
    """Is shown two or more responses and says which is best."""

    @property
    def orders(self) -> str:
        """Whether responses are shown in both orders."""
        return self.options.orders

    @property
    def seed(self) -> int:
        """Of the rotation in which more than two responses are shown."""
        return self.options.seed

    @property
    def most(self) -> int:
        """How many responses it can be shown at once."""
        return self.file.most

    def prefer(self, questions: Iterable[Candidates], ledger: Ledger) -> Facts:
        """Record a share for each candidate of each question whose reply can be read.

        Raises:
            ScorerError: as ``PointwiseJudge.score``.
        """
        asked = (
            _Question(i, item.prompt, item.responses, item.keys, item.name)
            for i, item in enumerate(questions)
        )
        return self._run(asked, ledger)


def open_judge(name: str, options: JudgeOptions) -> PointwiseJudge | ListwiseJudge:
    """Return the judge of this name; nobody is asked yet.

    Args:
        name: of the model, as the server knows it.
        options: how to ask it.

    Raises:
        ScorerError: the judge's file is wrong, or options do not go together.
    """
    _check(name, options)
    file = load_judge(options.prompt)
    if options.verdict is not None:
        file = file.model_copy(update={"verdict": load_judge(options.verdict).verdict})
    return _KINDS[file.asks](file, name, open_chat(name, file, options), options)


def open_chat(name: str, file: JudgeFile, options: JudgeOptions) -> Chat:
    """Return what writes the replies: a folder of batches, a server, or a model that runs here."""
    idle = _LOCAL & options.model_fields_set
    if idle and (options.url or options.batch):
        named = ", ".join(sorted(f"--{option.replace('_', '-')}" for option in idle))
        _log.warning("judge:%s: %s: without effect on a judge behind a server", name, named)
    if options.batch is not None:
        return BatchChat(Path(options.batch))
    if options.url is not None:
        return ServerChat(Caller(options.url, options))
    own = own_options(options)
    labels = list(file.verdict.tokens or ())
    return LocalChat(name, own, labels=labels, awaits_answer=file.awaits_answer)


_KINDS: Final[Mapping[str, Callable[..., PointwiseJudge | ListwiseJudge]]] = {
    "pointwise": PointwiseJudge,
    "pairwise": ListwiseJudge,
    "listwise": ListwiseJudge,
}


def _idle(given: Mapping[str, Any]) -> frozenset[str]:
    """Return the options of a judge that runs here, where a server or a batch replies."""
    is_elsewhere = given.get("url") is not None or given.get("batch") is not None
    return frozenset(ModelOptions.model_fields) if is_elsewhere else frozenset()


def _check(name: str, options: JudgeOptions) -> None:
    given = {option: getattr(options, option) for option in options.model_fields_set}
    for option_name in sorted(_idle(given) & given.keys()):
        raise ScorerError(
            f"judge:{name}: {option_name} is for judges that run here, and this one replies from"
            " elsewhere; leave it out, or url and batch"
        )
    if options.url is None and options.batch is None and options.extra:
        raise ScorerError(f"judge:{name}: extra is for servers; give -o url, or leave it out")
    if options.samples > 1 and options.temperature == 0:
        raise ScorerError(
            f"judge:{name}: {options.samples} samples at temperature 0 are one sample; give"
            " -o temperature=1, or leave out samples"
        )
    if options.max_cost is not None and None in (options.price_in, options.price_out):
        raise ScorerError(
            f"judge:{name}: max_cost needs price_in and price_out, of a million tokens each"
        )


# --- replies as they are kept --------------------------------------------------------------------


def _pack(samples: Mapping[_Place, Reply]) -> str:
    content = {f"{run}.{number}": samples[run, number].packed() for run, number in sorted(samples)}
    return json.dumps(content, ensure_ascii=False)


def _unpack(reply: str | None) -> dict[_Place, Reply]:
    """Return the samples of a reply; none of one that is damaged, which is asked for again."""
    try:
        content = json.loads(reply) if reply is not None else {}
        places = {place: tuple(map(int, place.split("."))) for place in content}
        return {(run, i): Reply.unpacked(content[k]) for k, (run, i) in places.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _plan(name: str, options: JudgeOptions, questions: Iterable[Any], _: bool) -> "Plan | None":
    """Return the tokens that a model which runs here reads; what it writes is not known before."""
    import numpy as np

    from rmbench.scorers.plan import plan_alone

    judge = open_judge(name, options)
    if not isinstance(judge.chat, LocalChat):
        return None
    sequences = []
    for item in questions:
        shown = item.responses if isinstance(item, Candidates) else (item.response,)
        messages = render_question(judge.file, item.prompt, shown, place=item.name)
        sequences.append(np.array(judge.chat.token_ids(messages), dtype=np.int32))
    return plan_alone(judge.chat.checkpoint, sequences * len(judge._places))


KIND: Final = Kind(
    plan=_plan,
    open=open_judge,
    options=JudgeOptions,
    result_name=folder_name,
    idle=_idle,
    summary="A generative judge, behind a server or here: which response is better, or how good.",
)
