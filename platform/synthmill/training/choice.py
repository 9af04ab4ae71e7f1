"""`model.name: auto`: which model and for how long, decided from what the codec found and the time that the
recipe gives. Nothing here reads a clock, so the same rows and recipe always give the same choice.

benchmarks/choice.py measures what the rule rests on; docs/recipes.md states it in words.
"""

from dataclasses import dataclass
from typing import Any

from synthmill.config import AUTO, FrozenModel, ModelConfig, TrainingConfig, dump
from synthmill.models.autoregressive import Autoregressive, operations_of, passes_of
from synthmill.models.base import model_class, parse_config

FAMILIES = ("autoregressive", "forest")
"""What there is to choose from, the usual choice first. One encoding, so that rows are encoded before the
choice; the VAE is not among them, as it takes 4 to 9 times as long and was more useful on no table of enough
rows, and the GAN is worse."""
LEAST_ROWS = 500
"""Of training; fewer teach a network less than they teach trees."""
OPERATIONS_PER_SECOND = 2e10
"""Of training by one thread of a slow machine; the one that this was measured on reached 4e10. A training
that is cut off before its learning rate has fallen is worse than one that was planned shorter."""
START_SECONDS = 2.0
LEAST_SHARE = 0.75
"""Of the usual passes over the rows; with fewer, trees are better."""
MANY_ROWS, LEAF_ROWS = 2_000, 20
"""Of so many rows, leaves of the usual 10 copy more than the near-copy gate allows; larger ones pass it."""


@dataclass(frozen=True)
class Choice:
    """What was chosen."""

    model: ModelConfig
    """With all of its configuration."""
    why: str
    """One line."""


def encoding_of(name: str) -> str:
    """The encoding that a model reads; `auto` chooses among models that read the same."""
    return model_class(FAMILIES[0] if name == AUTO else name).encoding


def choose(layout: Any, rows: int, training: TrainingConfig) -> Choice:
    """The model for `rows` training rows of a layout of the families' encoding."""
    columns = len({span.column for span in layout.discrete})
    shape = f"{rows:,} training rows and {columns:,} column{'s' if columns != 1 else ''}"
    if rows < LEAST_ROWS:
        return _choice("forest", {}, f"as {shape} are fewer than {LEAST_ROWS} rows, too few for a network")
    config = Autoregressive.Config()
    passes = min(passes_of(config, rows), training.max_epochs)
    seconds = START_SECONDS + 3 * operations_of(config, layout) * rows * passes / OPERATIONS_PER_SECOND
    limit = training.max_seconds
    if limit is None or seconds <= limit:
        why = f"for {shape}; {passes} passes are some {seconds:,.0f} s of a slow core"
        return _choice("autoregressive", {}, why)
    share = (limit - START_SECONDS) / (seconds - START_SECONDS)
    if share >= LEAST_SHARE:
        # Passes that training.max_epochs leaves out take no time.
        epochs = max(1, int(config.epochs * share * passes / passes_of(config, rows)))
        why = f"for {shape} with {epochs} epochs instead of {config.epochs}"
        return _choice("autoregressive", {"epochs": epochs}, f"{why}, as training.max_seconds is {limit:g}")
    why = f"as autoregressive could need {seconds:,.0f} s for {shape} and training.max_seconds is {limit:g}"
    if rows < MANY_ROWS:
        return _choice("forest", {}, why)
    return _choice("forest", {"least_rows": LEAF_ROWS}, f"{why}; leaves of {LEAF_ROWS} rows copy less")


def _choice(name: str, config: dict[str, Any], why: str) -> Choice:
    whole: FrozenModel = parse_config(name, config)
    return Choice(ModelConfig(name=name, config=dump(whole)), f"model.name auto: {name}, {why}")
