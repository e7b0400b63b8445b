"""What a command writes: its result on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from medic8.model.wording import visible

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, RenderableType

    from medic8.targets.kind import Progress

#: Columns where nobody looks through a window (a pipe, a file): nothing is folded there.
_PLAIN_WIDTH = 1000


class Screen:
    """
    The two streams of a command.

    Attributes:
        wants_json: Whether standard output takes one JSON document and nothing else.
    """

    def __init__(self, out: TextIO, err: TextIO, *, wants_json: bool = False) -> None:
        self.wants_json = wants_json
        self._out = out
        self._err = err

    def show(
        self, document: BaseModel | Mapping[str, object], people: Callable[[], Iterable[RenderableType]]
    ) -> None:
        """
        Write the result.

        Args:
            document: What ``--json`` writes.
            people: Makes what is written otherwise.
        """
        if self.wants_json:
            self._out.write(_as_json(document) + "\n")
            self._out.flush()
        else:
            for part in people():
                self._print(part)

    @property
    def width(self) -> int:
        """Columns of standard output; very many where nobody looks through a window."""
        return self._results.width

    def say(self, text: str) -> None:
        """Tell what goes on."""
        self._told(text, "dim")

    def warn(self, text: str) -> None:
        """Tell what works and should still be changed."""
        self._told(f"warning: {text}", "yellow")

    def fail(self, text: str) -> None:
        """Tell why the command ends without its result."""
        self._told(f"medic8: {text}", "red")

    @contextlib.contextmanager
    def working(self, text: str) -> Iterator[None]:
        """
        Show that something goes on; what libraries print meanwhile is no result.

        A terminal shows a spinner; anything else is told nothing.
        """
        with contextlib.redirect_stdout(self._err):
            if self._errors.is_terminal:
                with self._errors.status(visible(text)):
                    yield
            else:
                yield

    @contextlib.contextmanager
    def progress(self, text: str, unit: str) -> Iterator[Progress]:
        """
        Show a bar that moves when the yielded function is told how many of how many *unit* are done.

        A terminal shows it; anything else is told nothing.
        """
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
        bar = Progress(
            *columns,
            TimeRemainingColumn(),
            console=self._errors,
            transient=True,
            disable=not self._errors.is_terminal,
        )
        with contextlib.redirect_stdout(self._err), bar:
            task = bar.add_task(visible(text), total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    @cached_property
    def _results(self) -> Console:
        return _console(self._out)

    @cached_property
    def _errors(self) -> Console:
        return _console(self._err)

    def _print(self, part: RenderableType) -> None:
        console = self._results
        if console.is_terminal:
            console.print(part)
            return
        with console.capture() as written:
            console.print(part)
        # Tables fill their last column up with blanks, which are in the way of whoever reads a pipe.
        self._out.writelines(f"{line.rstrip()}\n" for line in written.get().splitlines())

    def _told(self, text: str, style: str) -> None:
        for line in text.splitlines():
            self._errors.print(visible(line), style=style, soft_wrap=True)


def _console(stream: TextIO) -> Console:
    """A console that takes no text for markup, and folds nothing where no window is."""
    from rich.console import Console

    console = Console(file=stream, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    return console


def _as_json(document: BaseModel | Mapping[str, object]) -> str:
    if isinstance(document, Mapping):
        return json.dumps(document, indent=2, ensure_ascii=False, default=_plain)
    return document.model_dump_json(indent=2)


def _plain(value: object) -> object:
    """What a mapping holds that `json` does not know: our models, times and paths."""
    from pydantic import BaseModel

    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
