"""Generated identifiers are none of the real ones, whichever side of the split those are on."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from synthmill.config import Recipe, parse_model
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.readers.base import read_source
from synthmill.training.prepare import prepare_rows, resolve

RNG = np.random.default_rng(11)
ROWS = 600
STYLES: dict[str, list[str] | list[int]] = {
    "a counter": list(range(1, ROWS + 1)),
    "member numbers": [f"C-{i:05d}" for i in range(1, ROWS + 1)],
    "a counter that fills its digits": [f"{i:03d}" for i in range(ROWS)],
    "scattered numbers": [int(x) for x in RNG.choice(10**8, ROWS, replace=False)],
    "scattered codes": [f"X{x:07d}" for x in RNG.choice(10**7, ROWS, replace=False)],
    "letters and digits": [
        "".join(chr(97 + c) for c in RNG.integers(0, 26, 3)) + f"-{i:04d}"
        for i in RNG.choice(10**4, ROWS, replace=False)
    ],
    "hashes": [hashlib.md5(str(i).encode(), usedforsecurity=False).hexdigest() for i in range(ROWS)],
    "cards of networks": [":".join(f"{b:02X}" for b in RNG.integers(0, 256, 6)) for _ in range(ROWS)],
    "tokens": ["".join(RNG.choice(list("abcXYZ019"), 12)) for _ in range(ROWS)],
    "book numbers": [
        f"{x:09d}{RNG.choice(list('0123456789X'))}" for x in RNG.choice(10**9, ROWS, replace=False)
    ],
    "addresses of machines": [f"10.{i // 250}.{i % 7}.{i % 250 + 1}" for i in range(ROWS)],
    "numbered addresses": [f"person{i}@example.com" for i in range(ROWS)],
    "addresses of people": [
        f"{a}.{b}{i}@mail-{i % 7}.org" for i, (a, b) in enumerate([("ann", "li"), ("bo", "ray")] * 300)
    ],
    "telephone numbers": [f"+49151{x:08d}" for x in RNG.choice(10**8, ROWS, replace=False)],
}


@pytest.mark.parametrize("style", STYLES)
def test_none_is_a_real_one_on_any_side(style: str, tmp_path: Path) -> None:
    real = STYLES[style]
    rows = [f"{value},{i % 5},{'ab'[i % 2]}" for i, value in enumerate(real)]
    (tmp_path / "in.csv").write_text("key,x,y\n" + "\n".join(rows) + "\n")
    (tmp_path / "s.yaml").write_text("columns: {key: {kind: identifier}}\n")
    data = {"source": str(tmp_path / "in.csv"), "schema": str(tmp_path / "s.yaml")}
    recipe = resolve(parse_model(Recipe, {"name": "keys", "data": data, "model": {"name": "marginals"}}))
    codec = prepare_rows(recipe, read_source(recipe.data)).codec
    assert isinstance(codec, MixedCodec)
    batch = codec.encode(read_source(recipe.data).table).take(slice(0, 500))
    for first_row in (0, 500, 20_000):
        made = codec.decode(batch, first_row=first_row)["key"].to_pylist()
        assert len(set(made)) == len(made)
        assert not [text for text in map(str, made) if text.startswith("key-")], "a pattern was seen"
        assert not set(map(str, made)) & set(map(str, read_source(recipe.data).table["key"].to_pylist()))
    saved = str(codec.to_files()[0])
    assert not [value for value in real if len(str(value)) > 5 and f"'{value}'" in saved]
