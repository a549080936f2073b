"""What is to be deployed, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from examples.checks import share, whole

OLD, NEW = 1, 2


@dataclass(frozen=True)
class Inputs:
    """What the command line can set."""

    services: int = field(default=40, metadata={"help": "how many services, up to 200"})
    failure_rate: float = field(default=0.05, metadata={"help": "the share of services that the new version breaks"})
    tolerance: float = field(default=0.1, metadata={"help": "the share that may break before all are rolled back"})

    def __post_init__(self) -> None:
        whole("services", self.services, most=200)
        share("failure-rate", self.failure_rate)
        share("tolerance", self.tolerance)


@dataclass(frozen=True)
class Plan:
    """What the parent is given."""

    services: list[str]
    tolerance: float


@dataclass(frozen=True)
class Broken:
    """A service that the new version did not work for, and why."""

    service: str
    why: str


@dataclass(frozen=True)
class Deployed:
    """How the deployment ended."""

    updated: list[str]
    broken: list[Broken]
    not_started: int
    rolled_back: list[str]
    """Where the tolerance was breached: what had been updated, and is back at the old version."""
    stuck: list[Broken]
    """What could not be rolled back."""
    breach: str
    """What the tolerance was, and what it came to; empty if it was kept."""
