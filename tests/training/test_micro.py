"""A batch in parts: the same rows, noise and weights as in one piece, or one line that says why not."""

import pytest
import torch

from contract_cases import case, plain
from encoded import Records, layout, settings
from synthmill import registry
from synthmill.errors import RecipeError
from synthmill.models.base import build
from synthmill.training.loop import train
from synthmill.training.micro import check_micro, parts_of
from synthmill.training.parallel import Single

TRAINED = [
    name
    for name in registry.names("models")
    if (model := plain(case(name).fresh())).stages() and model.needs_whole_batch is None
]


@pytest.mark.parametrize("name", TRAINED)
def test_parts_of_a_batch_train_the_weights_of_the_whole(name: str) -> None:
    # 111 rows are shared unevenly; groups of rows stay whole.
    config = settings(max_steps=4, global_batch_rows=111)
    whole, parts = plain(case(name).fresh()), plain(case(name).fresh())
    start = {key: value.clone() for key, value in whole.state_dict().items()}
    records = Records(), Records()
    train(whole, case(name).data, config, parallel=Single(), reporter=records[0])
    train(
        parts,
        case(name).data,
        config.model_copy(update={"micro_batch_rows": 40}),
        parallel=Single(),
        reporter=records[1],
    )
    for key, value in whole.state_dict().items():
        if value.is_floating_point():
            moved = float((value - start[key]).abs().max())
            assert float((value - parts.state_dict()[key]).abs().max()) <= 1e-6 + 0.01 * moved, key
    losses = [
        {key: value for key, value in record.items() if "/" in key and "log_" not in key}
        for run in records
        for record in run.records[-1:]
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3, abs=1e-5)


def test_parts_are_even_whole_groups_of_a_workers_rows() -> None:
    model = plain(case("ctgan").fresh())
    assert model.row_group == 10
    config = settings(global_batch_rows=200, micro_batch_rows=25)
    parts = parts_of(model, config, torch.device("cpu"), 200, slice(100, 200))
    assert [(part.rows.start, part.rows.stop) for part in parts] == [
        (100, 120),
        (120, 140),
        (140, 160),
        (160, 180),
        (180, 200),
    ]
    assert sum(part.share for part in parts) == pytest.approx(0.5)
    assert len(parts_of(model, settings(), torch.device("cpu"), 200, slice(0, 200))) == 1


@pytest.mark.parametrize(
    ("name", "config", "fields", "message"),
    [
        ("ctgan", {}, {}, r"can't be used with BatchNorm, which reads the whole batch at once"),
        ("vq_vae", {}, {}, r"can't be used with the term that spreads the use of codes"),
        ("dcgan", {"norm": "none", "spectral_norm": True}, {}, r"can't be used with spectral normalisation"),
        ("style_gan", {}, {"micro_batch_rows": 1}, r"1 rows are fewer than the 4 .*; use at least 4"),
        ("tvae", {}, {"cuda_graphs": True}, r"can't be used with training\.cuda_graphs"),
    ],
)
def test_what_parts_would_change_is_refused(
    name: str, config: dict[str, object], fields: dict[str, object], message: str
) -> None:
    model = build(name, config, layout() if name in ("ctgan", "tvae") else case(name).fresh().layout)
    training = settings(**{"micro_batch_rows": 20, **fields})
    with pytest.raises(RecipeError, match=rf"^training\.micro_batch_rows: {message}") as caught:
        check_micro(model, training)
    assert "\n" not in str(caught.value)
    check_micro(model, training.model_copy(update={"micro_batch_rows": 100}))
