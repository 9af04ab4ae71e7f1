"""How thoroughly to evaluate, whatever is evaluated: the options that both commands share. No Ray."""

from dataclasses import dataclass

from synthmill.errors import RecipeError
from synthmill.evaluation.evidence.base import Options, Rows
from synthmill.metrics.base import Profile


@dataclass(frozen=True, kw_only=True)
class Thoroughness:
    """Every field has a default that suits most data."""

    profile: Profile = "standard"
    baseline: str | None = None
    """An earlier report: the path of its report.json, or NAME@N in the store."""
    seed: int = 0
    sample_rows: str | None = None
    """Rows a side for figures that can't read everything, or `all`."""
    budget_seconds: float | None = None
    include: tuple[str, ...] = ()
    """Metrics to compute beside the profile's, such as the opt-in attacks."""
    secrets: tuple[str, ...] = ()
    """Columns that attribute inference tries to learn; () = the target."""
    extractor: str = "auto"
    """What turns images into features: auto, classifier, random or torchscript:PATH."""
    neighbours: bool = False
    """Show the nearest real images in the report."""

    @property
    def options(self) -> Options:
        """What only some kinds of data understand."""
        return Options(
            include=self.include,
            secret=self.secrets,
            budget=self.budget_seconds,
            extractor=self.extractor,
            neighbours=self.neighbours,
        )

    @property
    def rows(self) -> Rows:
        """`sample_rows` as a number."""
        if self.sample_rows is None or self.sample_rows == "all":
            return "all" if self.sample_rows else None
        if not self.sample_rows.isdigit() or int(self.sample_rows) < 1:
            raise RecipeError(
                f"must be a positive number or 'all', got {self.sample_rows!r}", field="--sample-rows"
            )
        return int(self.sample_rows)
