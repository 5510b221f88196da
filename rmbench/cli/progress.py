"""How far a command is, on standard error."""

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from rmbench.cli.options import is_quiet

if TYPE_CHECKING:
    from rmbench.scorers.contract import Progress

__all__ = ["NO_PROGRESS", "progress_bar"]

SOON_S: Final = 1.0
"""What is done sooner needs no bar."""
HIDDEN: Final = "rmbench.no_progress"

NO_PROGRESS = click.option(
    "--no-progress",
    is_flag=True,
    expose_value=False,
    callback=lambda ctx, _, is_hidden: ctx.meta.update({HIDDEN: is_hidden}),
    help="Show no progress on standard error.",
)


class progress_bar:  # noqa: N801  (used as a function, like contextlib's own)
    """Shows answers given, answers per second and time left on standard error."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.bar: Any = None

    def __enter__(self) -> "Progress":
        return self.update

    def update(self, done: int, total: int) -> None:
        """Show how many of the answers there are."""
        from tqdm import tqdm

        if self.bar is None or done < self.bar.n:
            self.__exit__()
            # A log keeps every state of the bar: a line now and then is enough there.
            pause = 0.1 if sys.stderr.isatty() else 30.0
            self.bar = tqdm(
                unit=" answers",
                delay=SOON_S,
                disable=is_quiet() or bool(click.get_current_context().meta.get(HIDDEN)),
                unit_scale=True,
                desc=self.label,
                mininterval=pause,
                maxinterval=pause,
            )
        self.bar.total = total
        self.bar.update(done - self.bar.n)
        if done == total:
            self.__exit__()

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
