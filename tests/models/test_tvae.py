import torch

from encoded import Records, agreement, layout, settings, table
from synthmill.models.base import build
from synthmill.training.loop import train
from synthmill.training.parallel import Single


def test_learns_that_columns_depend() -> None:
    torch.manual_seed(0)
    config = {"embedding_dim": 16, "compress_dims": [64], "decompress_dims": [64]}
    model = build("tvae", config, layout())
    outcome = train(model, table(), settings(max_epochs=40), parallel=Single(), reporter=Records())
    published = build("tvae", config, layout())
    published.load_state_dict(outcome.state_dict)
    with torch.inference_mode():
        rows = published.eval().sample(2000, condition=None, generator=torch.Generator().manual_seed(1))
    assert agreement(rows) > 0.8
    segments, values = rows["codes"][:, 2], rows["values"][:, 0]
    assert values[segments == 5].abs().max() == 0
    assert 0.45 < float(values[segments < 5].std()) < 0.7, "uniform within a segment: 0.577"
