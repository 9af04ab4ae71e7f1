import torch

from encoded import layout, table
from synthmill.models.base import build, model_class


def test_every_row_is_a_training_row_and_the_model_says_so() -> None:
    assert model_class("bootstrap").copies_training_rows
    data = table(50)
    model = build("bootstrap", {}, layout(50))
    model.fit_closed([data])
    rows = model.sample(500, condition=None, generator=torch.Generator().manual_seed(0))

    def keys(batch: object) -> set[tuple[float, ...]]:
        joined = torch.cat([batch["codes"].float(), batch["values"]], 1)  # type: ignore[index]
        return {tuple(row) for row in joined.tolist()}

    assert keys(rows) <= keys(data)
    assert len(keys(rows)) > 40, "with replacement, but not one row again and again"
