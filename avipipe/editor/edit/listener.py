"""Who follows a run."""

from typing import Protocol


class Listener(Protocol):
    """Is told how a run goes."""

    def said(self, text: str) -> None:
        """What is being done, in words."""

    def planned(self, num_steps: int) -> None:
        """So many steps of the solver there are in all."""

    def stepped(self) -> None:
        """One more is done."""

    def skipped(self, num_steps: int) -> None:
        """So many were done before, or need not be done."""
