"""A benchmark inside the training loop of transformers' Trainer, and of TRL's.

    trainer = RewardTrainer(...)
    trainer.add_callback(Benchmark(trainer, suite="rewardbench", quick=300, every=500))
    trainer.train()

See docs/training.md. Wants `pip install 'rmbench[callbacks]'`.
"""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from accelerate.utils import broadcast_object_list
from transformers import Trainer, TrainerCallback

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.quick import open_part
from rmbench.checkpoint.options import ModelOptions
from rmbench.compare.contrast import Contrast, compare
from rmbench.compare.gate import Limits, check
from rmbench.errors import RmbenchError, ScorerError
from rmbench.result.record import Result
from rmbench.result.store import write_result
from rmbench.run import evaluate_feed
from rmbench.scorers.in_memory import InMemory
from rmbench.show.contrast import verdict_sentence
from rmbench.suite.catalogue import load_suite
from rmbench.suite.definition import Suite
from rmbench.suite.feed import Feed, Part

__all__ = ["Benchmark"]

ALPHA: Final = 0.05
_log = logging.getLogger("rmbench")


class Benchmark(TrainerCallback):
    """Scores the model in memory every few steps on the same comparisons, and logs what changed.

    The first evaluation is made before the first step; each later one is paired with the one
    before. Weights, training modes, gradients and random numbers stay as they are, so that a
    training ends in the same weights with and without it. Everything goes to the Trainer's own
    logger under ``eval_SUITE/``: for each average and section its accuracy, ``low``, ``high``,
    ``change``, ``change_low``, ``change_high`` and ``p`` (two-sided, adjusted as in `rmbench
    compare`), and the ``seconds`` and ``share_of_time`` of it all. What fails in an evaluation is
    a warning, and the training goes on.

    Attributes:
        results: of the evaluations so far, oldest first.
        worse: the comparison for which the training was stopped; None while it was not.
    """

    def __init__(  # noqa: PLR0913  (all but the first are asked for by name)
        self,
        trainer: Trainer,
        *,
        suite: Suite | str = "rewardbench",
        data: str | None = None,
        quick: int | None = 300,
        every: int = 100,
        max_share: float | None = 0.05,
        stop: Limits | None = None,
        output: Path | str | None = None,
        **options: Any,
    ) -> None:
        """Make it; the suite is read when the training begins.

        Args:
            trainer: whose model, tokenizer and logger are used.
            suite: a suite, the name of a bundled one, or the path of a suite file.
            data: a local file or folder to read instead of the suite's source.
            quick: comparisons to score, see `rmbench run --quick`; None for the whole suite.
            every: steps between evaluations.
            max_share: of the time of the steps so far that evaluations may have taken, in (0, 1]; a
                step at which one would exceed it is passed over. None evaluates at every one.
            stop: what must not be lost since the best evaluation so far: a training that is worse
                by these limits stops. None never stops it.
            output: a folder in which the results are written.
            options: of the model, as ``rmbench scorers show classifier`` lists them.

        Raises:
            ScorerError: no process has the whole model, or the trainer has no tokenizer.
            ValueError: ``every`` is below 1, or ``max_share`` is not in (0, 1].
        """
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        if max_share is not None and not 0.0 < max_share <= 1.0:
            raise ValueError(f"max_share must be above 0 and at most 1, got {max_share}")
        _check_trainer(trainer)
        self.trainer, self.every, self.stop = trainer, every, stop
        self.results: list[Result] = []
        self.worse: Contrast | None = None
        self._suite, self._data, self._quick = suite, data, quick
        self._output = None if output is None else Path(output)
        self._options = ModelOptions(**options)
        self._clock = _Clock(max_share)
        self._asked: tuple[Feed, InMemory] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Read the suite and score the model before its first step.

        Raises:
            RmbenchError: suite, data, model or tokenizer are wrong.
        """
        self.results, self.worse = [], None
        self._clock.start()
        if state.is_world_process_zero:
            self._asked = self._open()
            self._evaluate(self._asked, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Score the model if it is time, and stop the training where it got worse."""
        if state.global_step % self.every:
            return
        if self._asked is not None and self._clock.allows(state.global_step):
            try:
                self._evaluate(self._asked, control)
            except RmbenchError as error:
                _log.warning("step %d is not evaluated: %s", state.global_step, error)
        is_over = [self.worse is not None]
        broadcast_object_list(is_over)  # all processes stop at once
        control.should_training_stop |= is_over[0]

    def _open(self) -> tuple[Feed, InMemory]:
        suite = load_suite(self._suite) if isinstance(self._suite, str) else self._suite
        part = None if self._quick is None else Part(self._quick, "quick")
        feed = open_part(suite, data=self._data, part=part)
        trainer: Any = self.trainer
        name = str(trainer.args.run_name or Path(trainer.args.output_dir).name)
        scorer = InMemory(trainer.model, trainer.processing_class, name, self._options)
        return (feed if feed.indices is None else feed.hold()), scorer

    def _evaluate(self, asked: tuple[Feed, InMemory], control: Any) -> None:
        (feed, scorer), start = asked, time.perf_counter()
        step = self.trainer.state.global_step
        result = evaluate_feed(feed, scorer, name=f"{scorer.info.id}/step{step}")
        logs = _accuracies(result)
        if self.results:
            contrast = compare(self.results[-1], result, feed.suite)
            logs |= _changes(contrast)
            _log.info("step %d: %s", step, verdict_sentence(contrast, alpha=ALPHA))
            self._hold(result, feed.suite)
        self.results.append(result)
        if self._output is not None:
            write_result(result, self._output)
        self._clock.spend(time.perf_counter() - start)
        logs |= {"seconds": self._clock.last, "share_of_time": self._clock.share}
        self._tell(
            {f"eval_{feed.suite.name}/{name}": value for name, value in logs.items()}, control
        )

    def _hold(self, result: Result, suite: Suite) -> None:
        """Hold a result against the best one so far."""
        if self.stop is None:
            return
        best = max(self.results, key=lambda item: item.headline.accuracy if item.headline else 0.0)
        gate = check(compare(best, result, suite), self.stop)
        if gate.outcome == "worse":
            self.worse = gate.contrast
            told = verdict_sentence(gate.contrast, alpha=self.stop.alpha)
            _log.warning("%s is worse than %s: %s", result.model["id"], best.model["id"], told)

    def _tell(self, logs: dict[str, float], control: Any) -> None:
        is_due = control.should_log
        # Of the base class: TRL's own would empty the means of the steps since the last line.
        Trainer.log(self.trainer, logs)
        control.should_log = is_due  # which logging takes for done


def _check_trainer(trainer: Any) -> None:
    if getattr(trainer, "is_fsdp_enabled", False) or getattr(
        trainer, "is_deepspeed_enabled", False
    ):
        raise ScorerError(
            "FSDP or DeepSpeed: no process has the whole model; run rmbench on saved checkpoints"
        )
    if trainer.processing_class is None:
        raise ScorerError("the trainer has no tokenizer; give it one as processing_class")


def _accuracies(result: Result) -> dict[str, float]:
    logs: dict[str, float] = {}
    for name, item in {**result.sections, **result.averages}.items():
        logs |= _interval(name, item)
    return logs


def _interval(name: str, item: Accuracy) -> dict[str, float]:
    ends = {"low": item.low, "high": item.high}
    known = {f"{name}/{end}": value for end, value in ends.items() if value is not None}
    return {name: item.accuracy, **known}


def _changes(contrast: Contrast) -> dict[str, float]:
    logs: dict[str, float] = {}
    for verdict in contrast.level("section", "average"):
        if verdict.difference is not None and verdict.adjusted is not None:
            low, high = verdict.difference.interval
            found = {"change": verdict.difference.estimate, "change_low": low, "change_high": high}
            found["p"] = verdict.adjusted
            logs |= {f"{verdict.name}/{key}": value for key, value in found.items()}
    return logs


@dataclass(slots=True)
class _Clock:
    """What evaluations took, and what they may take.

    ``begun`` is when the training began; ``spent`` and ``last`` are the seconds of all evaluations
    and of the last one.
    """

    max_share: float | None
    begun: float = 0.0
    spent: float = 0.0
    last: float = 0.0
    passed_over: list[int] = field(default_factory=list)

    def start(self) -> None:
        self.begun, self.spent, self.last = time.perf_counter(), 0.0, 0.0

    def spend(self, seconds: float) -> None:
        self.spent, self.last = self.spent + seconds, seconds

    @property
    def share(self) -> float:
        """What evaluations took, of the time of the steps so far; 0 before the first step."""
        steps = time.perf_counter() - self.begun - self.spent
        return self.spent / steps if steps > self.last else 0.0

    def allows(self, step: int) -> bool:
        """Whether one more evaluation, as long as the last, stays within the share."""
        if self.max_share is None:
            return True
        steps = time.perf_counter() - self.begun - self.spent
        if self.spent + self.last <= self.max_share * steps:
            return True
        if not self.passed_over:
            _log.info(
                "step %d is passed over: an evaluation takes %.1f s, and %.0f %% of the steps' time"
                " is allowed", step, self.last, 100 * self.max_share,
            )  # fmt: skip
        self.passed_over.append(step)
        return False
