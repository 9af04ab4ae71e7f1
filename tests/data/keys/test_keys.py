"""Keys by kind: new, unique, the same for the same row, valid where a kind has a check."""

import ipaddress
import json
import re

import numpy as np
import pyarrow as pa
import pytest

from synthmill.data.keys.base import Key, detect, fit_key, key_from_json, names
from synthmill.data.keys.card import luhn_digit
from synthmill.data.keys.iban import check_digits
from synthmill.data.schema import KEY_KINDS

pytest.importorskip("faker")
RNG = np.random.default_rng(5)


def _digits(count: int) -> str:
    return "".join(map(str, RNG.integers(0, 10, count)))


def _card() -> str:
    body = "4000001" + _digits(8)
    number = body + luhn_digit(body)
    return " ".join(number[at : at + 4] for at in range(0, 16, 4))


def _iban() -> str:
    body = _digits(18)
    return f"DE{check_digits('DE', body)}{body}"


REAL = {
    "email": [f"person{i}@example.com" for i in range(300)],
    "url": [f"https://www.example.com/page/{i}" for i in range(300)],
    "ip": [f"240.0.{i // 200}.{i % 200}" for i in range(300)],
    "card": [_card() for _ in range(300)],
    "iban": [_iban() for _ in range(300)],
    "phone": [f"+49 151 {_digits(4)} {_digits(4)}" for _ in range(300)],
    "name": [f"Anna {last}" for last in ("Meyer", "Schulz", "Roth")] * 100,
    "address": [f"{i} Main Street, Springfield" for i in range(1, 301)],
}
ROWS = np.arange(2_000, dtype=np.uint64)


@pytest.fixture(params=names())
def kind(request: pytest.FixtureRequest) -> str:
    assert request.param in REAL, f"add real values of the kind {request.param!r}"
    return str(request.param)


def test_every_kind_can_be_stated() -> None:
    assert set(KEY_KINDS) == set(names())


def _key(kind: str) -> Key:
    return fit_key(kind, pa.array(REAL[kind]).unique(), None)


def test_none_is_a_real_one(kind: str) -> None:
    assert not set(_key(kind).write(ROWS).to_pylist()) & set(REAL[kind])


def test_a_row_has_the_same_key_wherever_it_is_made(kind: str) -> None:
    key = _key(kind)
    whole = key.write(ROWS[:50]).to_pylist()
    assert [key.write(ROWS[at : at + 1])[0].as_py() for at in range(50)] == whole
    assert key_from_json(json.loads(key.model_dump_json())).write(ROWS[:50]).to_pylist() == whole


@pytest.mark.parametrize("kind", sorted(set(REAL) - {"name"}))
def test_rows_have_different_keys(kind: str) -> None:
    assert len(set(_key(kind).write(ROWS).to_pylist())) == len(ROWS)


def test_no_real_value_is_kept(kind: str) -> None:
    saved = _key(kind).model_dump_json()
    assert not [text for text in REAL[kind] if text in saved]


@pytest.mark.parametrize("kind", ["email", "url", "ip", "card", "iban"])
def test_a_kind_is_seen_from_its_values(kind: str) -> None:
    assert detect(pa.array(REAL[kind])) == kind
    assert detect(_key(kind).write(ROWS[:20])) == kind
    assert detect(pa.array([*REAL[kind], "something else entirely"])) is None
    assert detect(pa.array([], pa.string())) is None


def test_cards_and_accounts_pass_their_checks() -> None:
    for text in _key("card").write(ROWS[:200]).to_pylist():
        number = text.replace(" ", "")
        assert re.fullmatch(r"\d{4}( \d{4}){3}", text)
        assert luhn_digit(number[:-1]) == number[-1]
    assert luhn_digit("7992739871") == "3", "the worked example of ISO/IEC 7812-1"
    for text in _key("iban").write(ROWS[:200]).to_pylist():
        assert len(text) == 22
        assert int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1


def test_addresses_of_machines_are_valid_and_nobody_s() -> None:
    for text in _key("ip").write(ROWS[:200]).to_pylist():
        assert ipaddress.ip_address(text).is_reserved
    six = fit_key("ip", pa.array(["2a00::1", "2a00::2"]), None).write(ROWS[:5]).to_pylist()
    assert six[:2] == ["2001:db8::1", "2001:db8::2"]


def test_telephone_numbers_look_like_the_real_ones() -> None:
    made = _key("phone").write(ROWS).to_pylist()
    assert all(re.fullmatch(r"\+49 \d{3} \d{4} \d{4}", text) for text in made)


def test_names_take_a_form_that_no_real_one_has() -> None:
    double = pa.array(["Anna Meyer-Schulz", "Ben Roth"])
    assert all(
        re.fullmatch(r"\S+ \S+ \S+", text)
        for text in fit_key("name", double, None).write(ROWS[:50]).to_pylist()
    )
    every = pa.array(["Anna Meyer-Schulz", "Ben van Roth", "Anna B. Meyer-Roth"])
    assert all(
        text.split()[-1].isdigit() for text in fit_key("name", every, None).write(ROWS[:50]).to_pylist()
    )


def test_a_locale_is_spoken_or_refused() -> None:
    german = set(fit_key("name", pa.array(["x"]), "de_DE").write(ROWS[:50]).to_pylist())
    assert german != set(fit_key("name", pa.array(["x"]), "fr_FR").write(ROWS[:50]).to_pylist())
    with pytest.raises(Exception, match="Faker has no locale 'xx_XX'"):
        fit_key("name", pa.array(["x"]), "xx_XX")
