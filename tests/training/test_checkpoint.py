import pytest
import torch

from encoded import MemoryFolder
from synthmill.errors import IntegrityError
from synthmill.training.checkpoint import Checkpoints, State


def state(step: int) -> State:
    return State(
        {"model.weight": torch.full((3,), float(step)), "model.steps": torch.tensor(step)}, {"step": step}
    )


def test_the_newest_is_found_and_the_oldest_are_forgotten() -> None:
    folder = MemoryFolder()
    checkpoints = Checkpoints(folder, keep=2)
    assert checkpoints.latest() is None
    for step in (1, 20, 300):
        checkpoints.save(step, state(step))
    found = Checkpoints(folder).latest()
    assert found is not None
    assert found.data == {"step": 300}
    assert torch.equal(found.under("model")["weight"], torch.full((3,), 300.0))
    assert folder.children() == ["step-0000000020", "step-0000000300"]


def test_an_interrupted_write_is_passed_over() -> None:
    folder = MemoryFolder()
    checkpoints = Checkpoints(folder)
    checkpoints.save(1, state(1))
    checkpoints.save(2, state(2))
    del folder.files["step-0000000002/manifest.json"]
    found = checkpoints.latest()
    assert found is not None
    assert found.data == {"step": 1}


def test_interrupted_writes_do_not_push_out_whole_checkpoints() -> None:
    folder = MemoryFolder()
    checkpoints = Checkpoints(folder, keep=2)
    checkpoints.save(1, state(1))
    for torn in (2, 3):
        folder.write_bytes(f"step-{torn:010d}/state.json", b"{}")
    checkpoints.save(4, state(4))
    del folder.files["step-0000000004/manifest.json"]
    found = checkpoints.latest()
    assert found is not None
    assert found.data == {"step": 1}


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_changed_byte_is_refused_by_name(name: str) -> None:
    folder = MemoryFolder()
    Checkpoints(folder).save(5, state(5))
    path = f"step-0000000005/{name}"
    folder.files[path] = folder.files[path][:-1] + bytes([folder.files[path][-1] ^ 1])
    with pytest.raises(IntegrityError, match=path):
        Checkpoints(folder).latest()


def test_an_older_checkpoint_stands_in_for_a_damaged_one() -> None:
    folder = MemoryFolder()
    checkpoints = Checkpoints(folder, keep=3)
    for step in (1, 2, 3):
        checkpoints.save(step, state(step))
    folder.files["step-0000000003/state.json"] = b"{}"
    del folder.files["step-0000000002/state.safetensors"]
    found = checkpoints.latest()
    assert found is not None
    assert found.data == {"step": 1}
    assert checkpoints.damage == [
        "checkpoint file step-0000000003/state.json does not match its checksum",
        "checkpoint file step-0000000002/state.safetensors is missing",
    ]
    assert checkpoints.exist()


def test_an_unknown_format_is_refused_by_name() -> None:
    folder = MemoryFolder()
    Checkpoints(folder).save(5, state(5))
    folder.write_json("step-0000000005/manifest.json", {"format": "synthmill.checkpoint/9", "files": {}})
    with pytest.raises(IntegrityError, match=r"synthmill\.checkpoint/9"):
        Checkpoints(folder).latest()


def test_numbers_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Checkpoints(MemoryFolder()).save(1, State({}, {"loss": float("nan")}))
