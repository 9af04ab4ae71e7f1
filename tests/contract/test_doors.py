"""Every kind of data opens a door in each layer, and nothing outside the doors asks which kind it has."""

import re
from pathlib import Path

import pytest

import synthmill
from synthmill import registry
from synthmill.data.codecs.base import Codec, codec_class
from synthmill.data.readers.base import Reader
from synthmill.evaluation.evidence.base import Evidence
from synthmill.models.base import model_class
from synthmill.serving.media.base import Media
from synthmill.training.quality.base import QualityCheck

PACKAGE = Path(synthmill.__file__).parent
DOORS = {
    "data/readers": Reader,
    "training/quality": QualityCheck,
    "evaluation/evidence": Evidence,
    "serving/media": Media,
}
KINDS = registry.names("data/readers")
MODELS = registry.names("models")
ASKS = re.compile(
    r"isinstance\(.*\b(?:Mixed|Pixel)(?:Codec|Layout)\b"
    r"|layout\.kind\s*(?:==|!=|in\b)|(?:data|config|recipe\.data|generator)\.kind\s*(?:==|!=|in\b)(?!"
    r" \"auto\")"
)
INSIDE = ("data/readers/", "data/codecs/", "training/quality/", "evaluation/evidence/", "serving/media/")


@pytest.mark.parametrize("folder", DOORS)
def test_every_kind_has_this_door(folder: str) -> None:
    assert registry.names(folder) == KINDS
    for kind in KINDS:
        assert registry.load(folder, kind, DOORS[folder]).__module__.endswith(f".{kind}")


@pytest.mark.parametrize("name", MODELS)
def test_every_model_names_kinds_and_an_encoding_that_there_are(name: str) -> None:
    model = model_class(name)
    assert isinstance(model.modalities, tuple)
    assert set(model.modalities) <= set(KINDS)
    assert issubclass(codec_class(model.encoding), Codec)


def test_nothing_outside_the_doors_asks_which_kind_it_has() -> None:
    asking = [
        f"{path.relative_to(PACKAGE)}: {match[0]}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not path.relative_to(PACKAGE).as_posix().startswith(INSIDE)
        for match in ASKS.finditer(path.read_text())
    ]
    assert asking == [], "a door of the kind should answer that"


@pytest.mark.parametrize(
    "line",
    [
        "if isinstance(codec, PixelCodec):",
        "if isinstance(generator.codec.layout, (MixedLayout, PixelLayout)):",
        'if self.layout.kind == "pixels":',
        'if recipe.data.kind in ("image",):',
        'return generator.kind == "table"',
    ],
)
def test_such_a_question_would_be_seen(line: str) -> None:
    assert ASKS.search(line)
