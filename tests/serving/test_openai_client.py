"""Images by OpenAI's own client library."""

import base64
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import openai
import pytest
from PIL import Image

from http_app import running
from served import publish_customers, publish_images
from synthmill.catalog.store import Store
from synthmill.config import StorageConfig
from synthmill.serving.auth import KeyFile, create_key
from synthmill.serving.quota import Quota


def make_key(folder: Path, quota: Quota) -> str:
    file = KeyFile(str(folder), "serve-keys.json", StorageConfig())
    return create_key(
        file, name="test", scopes=("generate",), models=None, days=None, quota=quota, now=datetime.now(UTC)
    )[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """Base URL, a key, and a key for 5 requests a minute."""
    folder = tmp_path_factory.mktemp("images")
    publish_images(Store(folder), "digits")
    publish_customers(Store(folder), "customers")
    key, small = make_key(folder, Quota()), make_key(folder, Quota(requests_per_minute=1))
    with running(store=str(folder), models="digits,customers") as server:
        yield f"{server.url}/v1", key, small


@pytest.fixture
def client(served: tuple[str, str, str]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=served[0], api_key=served[1], max_retries=0) as client:
        yield client


def test_images_of_a_class_come_in_the_size_asked_for(client: openai.OpenAI):
    answer = client.images.generate(
        model="digits", prompt="a handwritten 7", n=3, size="64x64", response_format="b64_json"
    )
    images = [Image.open(io.BytesIO(base64.b64decode(item.b64_json or ""))) for item in answer.data or []]
    assert [image.size for image in images] == [(64, 64)] * 3
    assert all("trainedAlgorithmicMedia" in str(image.info) for image in images)


def test_a_seed_gives_the_same_images(client: openai.OpenAI):
    first, again = (
        [
            item.b64_json
            for item in client.images.generate(model="digits", prompt="7", n=2, extra_body={"seed": 5}).data
        ]
        for _ in "ab"
    )
    assert first == again
    assert first[0] != first[1]
    assert [item.b64_json for item in client.images.generate(model="digits", prompt="7", n=2).data] != first


def test_answers_say_what_made_them(client: openai.OpenAI):
    raw = client.images.with_raw_response.generate(model="digits", prompt="")
    assert raw.headers["x-ai-generated"] == "true"
    assert raw.headers["x-synthmill-model"] == "digits@1"
    assert raw.parse().created > 0


def test_models_are_listed(client: openai.OpenAI):
    assert [model.id for model in client.models.list()] == ["customers", "digits"]
    assert client.models.retrieve("digits").owned_by == "synthmill"


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"model": "digits", "prompt": "a cat"}, openai.UnprocessableEntityError, "names no label"),
        (
            {"model": "digits", "prompt": "a 3 or a 7"},
            openai.UnprocessableEntityError,
            "names several labels",
        ),
        (
            {"model": "digit", "prompt": "7"},
            openai.NotFoundError,
            "no model named 'digit'; did you mean 'digits'",
        ),
        ({"model": "customers", "prompt": "7"}, openai.UnprocessableEntityError, "generates tables"),
        (
            {"model": "digits", "prompt": "7", "n": 65},
            openai.UnprocessableEntityError,
            "at most 64 in one request",
        ),
        (
            {"model": "digits", "prompt": "7", "size": "9999x9999"},
            openai.UnprocessableEntityError,
            "at most 2048x2048",
        ),
        (
            {"model": "digits", "prompt": "7", "response_format": "url"},
            openai.UnprocessableEntityError,
            "only 'b64_json'",
        ),
    ],
)
def test_mistakes_are_its_own_errors(
    client: openai.OpenAI, asked: dict[str, object], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        client.images.generate(**asked)


def test_keys_and_quotas_are_its_own_errors(served: tuple[str, str, str]):
    url, _, small = served
    with (
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.images.generate(model="digits", prompt="7")
    with openai.OpenAI(base_url=url, api_key=small, max_retries=0) as client:
        client.images.generate(model="digits", prompt="7")
        with pytest.raises(openai.RateLimitError, match="requests_per_minute of 1"):
            client.images.generate(model="digits", prompt="7")
