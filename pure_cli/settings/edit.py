"""See what a network does without some virtual neurons."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from pydantic import field_validator

from pure_cli.errors import PureError
from pure_cli.settings.option import option
from pure_cli.settings.shared import Decoding, Place, as_list, data_option, ends_in, limit_option
from pure_cli.settings.stage import Stage


class EditSettings(Decoding):
    """Compare what the network gives for images with what it gives when virtual neurons are silenced or scaled."""

    silence: list[str] = option(
        [],
        "What counts nothing: virtual neurons, as in layer4/201.2, what belongs to none of them, 201.none, or whole "
        "neurons, 201; repeat for several.",
        metavar="ADDRESS",
    )
    scale: list[str] = option([], "ADDRESS=FACTOR: what counts so much; repeat for several.", metavar="ADDRESS=FACTOR")
    data: Place | None = data_option()
    limit: int | None = limit_option()
    out: Path | None = option(
        None, "A .csv file.", "--out", "-o", metavar="FILE", otherwise="one in edit/ there, by what is edited"
    )

    @property
    def factors(self) -> dict[str, float]:
        """Address to factor.

        Raises
        ------
        PureError
            One is not ADDRESS=FACTOR.
        """
        found = {}
        for text in self.scale:
            address, _, factor = text.partition("=")
            try:
                found[address.strip()] = float(factor)
            except ValueError:
                raise PureError(f"--scale {text}: write ADDRESS=FACTOR, as in layer4/201.2=0.5.") from None
            if not isfinite(found[address.strip()]):
                raise PureError(f"--scale {text}: the factor has to be a number, as in layer4/201.2=0.5.")
        return found

    _table = field_validator("out")(ends_in(".csv"))
    _lists = field_validator("silence", "scale", mode="before")(as_list)


RETURNS = '``details["tables"]`` has the change of each output, ``details["file"]`` all of them.'
STAGE = Stage(EditSettings, order=85, unit="images", on_demand=True, reads_only=True, returns=RETURNS, method="effects")
