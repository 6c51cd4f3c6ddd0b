"""Batches in portions that the memory of the device holds: halved where it ran out, and the work goes on."""

from __future__ import annotations

import gc
from collections.abc import Callable

from pure_cli.core.memory import is_out_of_memory
from pure_cli.errors import PureFailure
from pure_cli.words import counted


class AdaptiveBatches:
    """How many things are computed at once, from one batch to the next.

    The batches stay what they are, in the plan of a stage and in what a killed process left; only the computing is
    done in parts. What of a part was done when the memory ran out is done again.

    Parameters
    ----------
    notes : gets a sentence when the memory runs out for the first time
    """

    def __init__(self, notes: list[str] | None = None):
        self._notes = notes
        self._most: int | None = None

    def each(self, count: int, compute: Callable[[int, int], None], thing: str = "image") -> None:
        """Compute ``start:stop`` of all of them, part after part.

        Parameters
        ----------
        count : how many there are
        compute : gets start and stop; may be called again with a beginning of them
        thing : what is counted

        Raises
        ------
        PureFailure
            The memory is not enough for a single one.
        """
        start = 0
        while start < count:
            stop = min(start + (self._most or count), count)
            if self._fits(compute, start, stop):
                start = stop
            elif stop - start == 1:
                raise PureFailure(
                    f"The memory of the device is not enough for one {thing} at a time. Use another --device, or close "
                    "what else is in its memory."
                )
            else:
                self._halve(stop - start, thing)

    def each_of(self, count: int, size: int, compute: Callable[[int, int], None]) -> None:
        """The same for images that lie side by side, `size` at once at most.

        Parameters
        ----------
        compute : gets start and stop among all `count`
        """
        for first in range(0, count, size):

            def of_all(start: int, stop: int, first: int = first) -> None:
                compute(first + start, first + stop)

            self.each(min(size, count - first), of_all)

    @staticmethod
    def _fits(compute: Callable[[int, int], None], start: int, stop: int) -> bool:
        try:
            compute(start, stop)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False  # and with the error goes what it holds in memory
        return True

    def _halve(self, size: int, thing: str) -> None:
        import torch

        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._most = size // 2
        if self._notes is not None:
            self._notes.append(
                f"The memory was not enough for {counted(size, thing)} at once, and fewer were taken. "
                "A smaller --batch-size saves the attempt."
            )
            self._notes = None
