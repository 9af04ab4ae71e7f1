import pytest
import torch

from encoded import Records, layout, settings, table
from synthmill.models.base import build
from synthmill.training.loop import train
from synthmill.training.parallel import Single
from synthmill.training.precision import choices

CPU = torch.device("cpu")


def test_auto_considers_bf16_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for capabilities, expected in (
        ({"avx512_bf16": True}, (False, True)),
        ({"amx_bf16": True}, (False, True)),
        ({"avx2": True}, (False,)),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        assert choices("auto", CPU) == expected
    assert choices("bf16", CPU) == (True,)
    assert choices("fp32", CPU) == (False,)


def test_bf16_steps_stay_near_those_of_fp32_and_weights_stay_float32() -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        model = build("tvae", {"embedding_dim": 8, "compress_dims": [32], "decompress_dims": [32]}, layout())
        outcome = train(
            model, table(), settings(max_epochs=1, precision=precision), parallel=Single(), reporter=Records()
        )
        assert {value.dtype for value in outcome.state_dict.values()} == {torch.float32}
        losses[precision] = outcome.history[-1]["elbo/codes"]
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.01)
