"""The codec of images."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from image_cases import class_folders, digits
from synthmill.config import DataConfig, parse_model
from synthmill.data import png
from synthmill.data.batch import Batch, Condition
from synthmill.data.codecs.base import codec_from_files
from synthmill.data.codecs.pixels import PixelCodec, pixels_of
from synthmill.data.readers.base import read_source
from synthmill.data.readers.image import image_column
from synthmill.errors import DataError, IntegrityError

CONFIG = parse_model(DataConfig, {"source": "sklearn://digits", "kind": "image"})


def fitted() -> tuple[PixelCodec, pa.Table]:
    table = read_source(CONFIG).table.slice(0, 200)
    codec = PixelCodec.fit(table, CONFIG)
    assert isinstance(codec, PixelCodec)
    return codec, table


def test_what_is_encoded_is_what_was_read() -> None:
    codec, table = fitted()
    images, labels = digits(200)
    batch = codec.encode(table)
    assert np.array_equal(batch["pixels"].numpy(), images)
    assert np.array_equal(batch["label"].numpy(), labels)
    assert codec.layout.model_dump() == {
        "kind": "pixels", "channels": 1, "height": 8, "width": 8, "classes": 10, "rows": 200, "flip": False,
    }  # fmt: skip


def test_decoding_gives_the_pixels_back_and_does_not_depend_on_the_batch() -> None:
    codec, table = fitted()
    batch = codec.encode(table)
    unit = Batch(pixels=batch["pixels"].float() / 127.5 - 1.0, label=batch["label"])
    whole = codec.decode(unit, first_row=0)
    assert whole.schema.equals(codec.schema, check_metadata=True)
    assert np.array_equal(pixels_of(whole), batch["pixels"].numpy())
    assert whole["label"].to_pylist() == table["label"].to_pylist()
    assert whole.slice(100, 50).equals(codec.decode(unit.take(slice(100, 150)), first_row=100))
    assert whole["image"].to_pylist()[7]["path"] == "000000007.png"


def test_every_image_says_that_it_is_generated() -> None:
    codec, table = fitted()
    file = codec.decode(codec.encode(table.slice(0, 1)), first_row=0)["image"].to_pylist()[0]["bytes"]
    packet = png.xmp_of(file)
    assert packet is not None
    root = ET.fromstring(packet.decode())
    told = {element.tag.rpartition("}")[2]: element.text for element in root.iter() if element.text}
    assert (
        told["DigitalSourceType"] == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    label = json.loads(told["AIGC"] or "")
    assert label["Label"] == "1"
    assert label["ContentProducer"]
    assert len(label["ProduceID"]) == 32
    assert file.count(b"iTXt") == 1
    assert b"tEXt" not in file


def test_the_schema_tells_hugging_face_what_is_what() -> None:
    codec, _ = fitted()
    features = json.loads(codec.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"] == {"names": [str(i) for i in range(10)], "_type": "ClassLabel"}


def test_classes_with_names(tmp_path: Path) -> None:
    table = read_source(
        parse_model(DataConfig, {"source": str(class_folders(tmp_path / "pets")), "kind": "image"})
    ).table
    codec = PixelCodec.fit(table, CONFIG)
    assert codec.levels("label") == ["cat", "dog"]
    assert codec.levels("image") is None
    assert codec.condition("label", "dog") == Condition(label=1)
    assert codec.condition("label", "cow") is None
    assert codec.condition_table(codec.encode(table))["label"].to_pylist() == table["label"].to_pylist()
    assert codec.decode(codec.encode(table), first_row=0)["label"].to_pylist() == table["label"].to_pylist()
    assert json.loads(codec.schema.metadata[b"huggingface"])["info"]["features"]["label"] == {
        "dtype": "string",
        "_type": "Value",
    }


def test_a_class_that_training_never_saw_is_left_out() -> None:
    codec, table = fitted()
    strange = table.set_column(1, "label", pa.array([11, *table["label"].to_pylist()[1:]]))
    batch = codec.encode(strange)
    assert batch.num_rows == 199
    assert torch.equal(batch["pixels"], codec.encode(table)["pixels"][1:])


def test_files_round_trip_and_an_unknown_format_is_refused() -> None:
    codec, table = fitted()
    config, tensors = codec.to_files()
    again = codec_from_files(json.loads(json.dumps(config)), tensors)
    assert isinstance(again, PixelCodec)
    assert again.layout == codec.layout
    assert again.decode(codec.encode(table), first_row=3).equals(
        codec.decode(codec.encode(table), first_row=3)
    )
    with pytest.raises(IntegrityError, match=r"synthmill\.codec.pixels/9"):
        codec_from_files({**config, "format": "synthmill.codec.pixels/9"}, tensors)


def test_a_codec_holds_no_image() -> None:
    codec, table = fitted()
    config, tensors = codec.to_files()
    assert tensors == {}
    assert len(json.dumps(config)) < 400
    assert table.num_rows == 200


def test_a_image_that_can_not_be_decoded_is_named() -> None:
    table = pa.table({"image": image_column([b"not a png"], ["x.png"])})
    with pytest.raises(DataError, match="image in row 0 can't be read"):
        pixels_of(table)


def test_colour_survives() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 5, 7), dtype=np.uint8)
    files = [png.encode(np.ascontiguousarray(image.transpose(1, 2, 0))) for image in pixels]
    assert np.array_equal(pixels_of(pa.table({"image": image_column(files, ["a", "b", "c"])})), pixels)
