"""Which processes a run asks Ray for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Their number, and what each needs."""

    workers: int
    """The most at a time."""
    cpus: int
    gpu: bool
    least: int = 0
    """The fewest; 0: all of them."""

    def __post_init__(self) -> None:
        if not self.least:
            object.__setattr__(self, "least", self.workers)

    @property
    def elastic(self) -> bool:
        """Whether their number may vary."""
        return self.least < self.workers

    @property
    def resources(self) -> dict[str, float]:
        """Of one worker, as Ray names them."""
        return {"CPU": self.cpus, **({"GPU": 1} if self.gpu else {})}

    @property
    def needs(self) -> str:
        """The same in words."""
        return " and ".join(
            f"{amount:g} {name}{'' if amount == 1 else 's'}" for name, amount in self.resources.items()
        )
