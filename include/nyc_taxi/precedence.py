"""precedence: which of two runs' rows of a month belong in a place that both want to write: data/, a partition.

Runs may be held up anywhere, for any time. So a run never asks whether it is late: it compares what it has with what is
there, in the same step that replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.nyc_taxi.errors import Superseded
from include.nyc_taxi.order import Order

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN_DIGITS = 8
_PIN = "edition="


@dataclass(frozen=True)
class Wish:
    """What a person asked a run for.

    `asked_at` is when the run was asked for, ISO 8601 in UTC by the orchestrator's clock. `asked_for` is what goes over
    anything else: `force`, or `edition=` and the edition that was named; None for the current edition.
    """

    asked_at: str
    asked_for: str | None = None

    @classmethod
    def of(cls, asked_at: str | None = None, *, edition: str | None = None, force: bool = False) -> Wish:
        """The wish of a run; without a time, of one that is asked for now."""
        asked_for = f"{_PIN}{edition}" if edition else "force" if force else None
        moment = datetime.fromisoformat(asked_at) if asked_at else datetime.now(UTC)
        # Spelled alike, times are in order as texts too.
        in_utc = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return cls(in_utc.isoformat(timespec="microseconds"), asked_for)


@dataclass(frozen=True)
class Run:
    """Who loads, and what they asked for; without a wish, the current edition, now."""

    dag_id: str | None = None
    run_id: str | None = None
    wish: Wish = field(default_factory=Wish.of)


@dataclass(frozen=True)
class Claim:
    """What a run has to put in place, as far as it decides whether it may.

    `edition` names the edition for people. `terms` are source, quality profile and policy for unknown columns.
    """

    recipe: str
    edition: str
    order: Order
    terms: tuple[str, ...]
    wish: Wish

    @property
    def pin(self) -> str | None:
        """The edition that somebody asked for by name, as `edition=...`; None for the current one."""
        return pin_of(self.wish.asked_for)

    def is_met_by(self, there: Claim) -> bool:
        """Whether these rows are there, known by as new an edition, so that nothing needs to be written.

        Rows of an earlier version, whose edition has no number, count whatever their edition.
        """
        is_old = there.order.number > 0 and self.order.is_after(there.order)
        return (self.recipe, self.pin) == (there.recipe, there.pin) and not is_old

    def check(self, there: Claim | None, what: str) -> None:
        """Refuse to go over rows that come after these.

        Raises:
            Superseded: `there` comes after this; nothing may be changed.
        """
        if there is not None and there.comes_after(self):
            raise Superseded(f"{what}: {self} is superseded by {there}")

    def comes_after(self, other: Claim) -> bool:
        """Whether these rows go over the other's, and the other's not over these.

        Rows on the same terms are ordered by their editions, and those of one edition by when they were asked for. What
        a person asked for (`force`, an edition by name, other terms) goes over anything, in the order in which it was
        asked. Only a run that nobody asked for anything does not go over a newer edition: it was held up.
        """
        was_asked_later = self.wish.asked_at > other.wish.asked_at
        is_newer, is_older = self.order.is_after(other.order), other.order.is_after(self.order)
        if (self.recipe, self.pin) == (other.recipe, other.pin):
            return is_newer
        if self.terms != other.terms or (self.wish.asked_for and other.wish.asked_for):
            return was_asked_later
        if self.wish.asked_for:
            return was_asked_later or is_newer
        if other.wish.asked_for:
            return was_asked_later and not is_older
        return is_newer or (was_asked_later and not is_older)

    def __str__(self) -> str:
        asked = f", {self.wish.asked_for}" if self.wish.asked_for else ""
        return f"edition {self.edition} ({' '.join(self.terms)}{asked}, asked for at {self.wish.asked_at or 'no time'})"


def pin_of(asked_for: str | None) -> str | None:
    """The edition that was asked for by name, as `edition=...`; None for the current one."""
    return asked_for if asked_for and asked_for.startswith(_PIN) else None


CLAIM_FIELDS = (
    "recipe",
    "source",
    "source_url",
    "source_sha256",
    "source_last_modified",
    "edition_number",
    "quality_profile",
    "unknown_columns",
    "asked_at",
    "asked_for",
)
"""The fields of a ledger's row, or of a description in data/, that a claim is made of."""


def claim_of(row: Mapping[str, Any]) -> Claim:
    """The claim of rows that were put somewhere, by what a ledger or a file of data/ says of them."""
    return Claim(
        recipe=row["recipe"],
        edition=row["source_sha256"][:_SHOWN_DIGITS],
        order=Order(row["source_url"], row["source_last_modified"], row["edition_number"] or 0),
        terms=(row["source"] or "", row["quality_profile"], row["unknown_columns"] or "error"),
        wish=Wish(row["asked_at"] or "", row["asked_for"]),
    )
