"""Models to serve without training: a fitted codec and a generator with fresh weights, published as an
artifact."""

import uuid
from typing import Any

import torch

from synthmill.catalog.artifact import Artifact, write_artifact
from synthmill.catalog.store import Store, Version
from synthmill.config import DataConfig
from synthmill.data.codecs.base import Codec
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.codecs.pixels import PixelCodec
from synthmill.data.readers.base import read_source
from synthmill.data.summary import summarise
from synthmill.models.base import GenerativeModel, build
from tables import customers

MODEL_CONFIG: dict[str, Any] = {
    "embedding_dim": 32,
    "compress_dims": [16],
    "decompress_dims": [16],
    "mixture_components": 2,
}


def publish_customers(
    store: Store,
    name: str = "customers",
    *,
    seed: int = 0,
    rows: int = 400,
    copies: bool = False,
    kind: str = "table",
) -> Version:
    """A TVAE of the customers table; another `seed` is another model."""
    table = customers(rows)
    codec = MixedCodec.fit(table, DataConfig(source="customers.csv"))
    torch.manual_seed(seed)
    model = build("tvae", MODEL_CONFIG, codec.layout)
    config = {
        "model": "tvae",
        "model_config": MODEL_CONFIG,
        "recipe": {"data": {"source": "customers.csv", "target": "churned", "kind": kind}},
        "profile": summarise(table, codec.profile),
        "training": {"quality": {"score": 0.9, "ceiling": 0.95}},
    }
    return _publish(store, name, config, model, codec, copies=copies)


def publish_images(store: Store, name: str = "digits", *, seed: int = 0) -> Version:
    """A VAE of scikit-learn's digits."""
    source = DataConfig(source="sklearn://digits", target="label", kind="image")
    codec = PixelCodec.fit(read_source(source).table, source)
    torch.manual_seed(seed)
    model = build("vae", {}, codec.layout)
    config = {
        "model": "vae",
        "model_config": {},
        "recipe": {"data": {"source": "sklearn://digits", "target": "label", "kind": "image"}},
    }
    return _publish(store, name, config, model, codec)


def _publish(
    store: Store,
    name: str,
    config: dict[str, Any],
    model: GenerativeModel,
    codec: Codec,
    *,
    copies: bool = False,
) -> Version:
    config_json, tensors = codec.to_files()
    # Nobody can read it any more: jobs publish without a report, which is not what these tests are about.
    config |= {"source": {"uri": "/nowhere/source.csv", "sha256": "0" * 64, "rows": codec.layout.rows}}
    artifact = Artifact(
        config=config,
        weights=model.state_dict(),
        codec=config_json,
        codec_tensors=tensors,
        card=f"# {name}\n",
    )
    with store.begin("models", name, run_key=uuid.uuid4().hex, run_id=uuid.uuid4().hex) as draft:
        return draft.commit(
            draft.manifest(files=write_artifact(draft.folder, artifact), contains_training_rows=copies)
        )
