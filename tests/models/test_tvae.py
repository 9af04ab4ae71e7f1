import pytest
import torch

from encoded import Records, agreement, layout, settings, table
from synthmill.models.base import build
from synthmill.training.loop import train
from synthmill.training.parallel import Single


def test_learns_that_columns_depend() -> None:
    torch.manual_seed(0)
    config = {"embedding_dim": 8, "compress_dims": [64], "decompress_dims": [64], "learning_rate": 5e-3}
    model = build("tvae", config, layout())
    outcome = train(model, table(), settings(max_epochs=12), parallel=Single(), reporter=Records())
    published = build("tvae", config, layout())
    published.load_state_dict(outcome.state_dict)
    with torch.inference_mode():
        rows = published.eval().sample(2000, condition=None, generator=torch.Generator().manual_seed(1))
    assert agreement(rows) > 0.8
    segments, values = rows["codes"][:, 2], rows["values"][:, 0]
    assert values[segments == 5].abs().max() == 0
    assert 0.45 < float(values[segments < 5].std()) < 0.7, "uniform within a segment: 0.577"


def test_the_latent_density_is_fitted_over_all_rows_not_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthmill.models.tvae.LARGEST_FIT_ROWS", 500)
    torch.manual_seed(0)
    model = build(
        "tvae",
        {"embedding_dim": 8, "compress_dims": [32], "decompress_dims": [32], "learning_rate": 5e-3},
        layout(),
    )
    data = table()
    ordered = data.take(data["codes"][:, 0].argsort(stable=True))
    outcome = train(model, ordered, settings(max_epochs=8), parallel=Single(), reporter=Records())
    model.load_state_dict(outcome.state_dict)
    with torch.inference_mode():
        rows = model.eval().sample(2000, condition=None, generator=torch.Generator().manual_seed(1))
    shares = torch.bincount(rows["codes"][:, 0], minlength=3) / 2000
    assert torch.allclose(shares, torch.tensor([0.6, 0.3, 0.1]), atol=0.06), (
        "the first 500 rows all have code 0"
    )
