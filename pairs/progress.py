"""How far a long command is."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import track

Progress = Callable[[Sequence[Any]], Iterable[Any]]  # wraps what is looped over, to show how far the loop is


def show_bar(what: str) -> Progress:
    """A progress bar on the terminal, if there is one, that goes when the loop ends."""
    console = Console(stderr=True)

    def show(items: Sequence[Any]) -> Iterable[Any]:
        return track(items, what, console=console, transient=True, disable=not console.is_terminal)

    return show
