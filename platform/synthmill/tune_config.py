"""The `tune:` section of a recipe: what is searched, by which figures, with how much work."""

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from synthmill.frozen import FrozenModel

COMPOUND = "compound"


class TuneConfig(FrozenModel):
    """How hyper-parameters are searched by the quality of what the model generates."""

    models: tuple[str, ...] = ()
    """Families that are searched together; none: `model.name` alone."""
    space: dict[str, Any] = Field({})
    """What differs from the space that the models declare. A key is a field of `model.config`
    (`learning_rate`), one family's (`tvae.learning_rate`) or `training.FIELD`; a value is a range
    `{low, high, log}`, a list of choices, one value to fix it, or null to leave it at the recipe's."""
    objective: str | tuple[str, ...] = COMPOUND
    """`compound` (pairs, a classifier's test, utility), or metrics by name; several give a Pareto front."""
    constraints: Literal["privacy", "none"] = "privacy"
    """privacy: a model that copies its training rows is never chosen, however well it scores."""
    max_trials: int | None = Field(None, ge=1)
    """Configurations to try; null: 40, or as many as the time budget holds."""
    budget_seconds: float | None = Field(None, gt=0)
    """Time for everything, the repeated runs at the end included; null: no limit."""
    sampler: Literal["tpe", "gp", "random"] = "tpe"
    """How the next configuration is proposed; gp suits few numeric hyper-parameters."""
    fidelity: Literal["steps", "rows", "none"] = "steps"
    """What a first, cheap look at a configuration saves: training steps, rows as well, or nothing."""
    portfolio: bool = True
    """Begin with configurations that did well on other tables."""
    warm_start: bool = True
    """Begin with the best of earlier searches on the same source in this store."""
    confirm_share: float = Field(0.225, ge=0, lt=0.9)
    """Share of the work that repeats the best three and the default with fresh seeds."""
    confirm_seeds: int = Field(3, ge=1)
    """Seeds of those repeats, the same for each of them."""
    concurrency: int | None = Field(None, ge=1)
    """Trials at once; null: as many as the cluster holds. 1 makes a search repeatable."""
    gpus: float | None = Field(None, ge=0)
    """GPUs, or the share of one, for each trial; null: one where there is one."""
    seed: int = 0
    """What is proposed follows from it; the seeds of trainings follow from `training.seed`."""
    max_failures: int = Field(2, ge=0)
    """Lost processes after which a trial is given up."""
    sample_rows: int = Field(2000, ge=100)
    """Rows a side that a trial is scored with."""

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Recipes that set nothing keep the fingerprint that they had before there was anything to set.
        fields = type(self).model_fields
        whole = handler(self)
        return {name: whole[name] for name in whole if getattr(self, name) != fields[name].default}
