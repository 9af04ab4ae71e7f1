"""The codec of images: PNG columns to uint8 tensors of one shape, and generated pixels back to labelled PNG
files.

Decoded tables show as images wherever Hugging Face's `Image` feature is known, and read as bytes everywhere
else.
"""

import json
import zlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from synthmill.config import DataConfig, FrozenModel, ImageConfig, dump, parse_model
from synthmill.data import png
from synthmill.data.batch import Batch, Condition
from synthmill.data.codecs.base import Codec
from synthmill.data.image_file import BrokenImageError, read_image, with_channels
from synthmill.data.image_table import IMAGE, LABEL, image_of
from synthmill.data.layout import PixelLayout
from synthmill.data.mark import label_packet
from synthmill.data.origin import Form, origin_of
from synthmill.data.readers.image import IMAGE_TYPE, image_column
from synthmill.data.schema import NO_RULES, Rules
from synthmill.errors import DataError, IntegrityError

FORMAT = "synthmill.codec.pixels/1"


class _File(FrozenModel):
    """`codec.json`."""

    format: Literal["synthmill.codec.pixels/1"] = "synthmill.codec.pixels/1"
    layout: PixelLayout
    classes: tuple[int | str, ...]
    """The value of each class code, in order."""
    form: dict[str, Any] | None = None
    """How classes are published, where the source numbers them."""


class PixelCodec(Codec):
    """Knows the shape and the class values; holds no image."""

    layout: PixelLayout

    def __init__(
        self, layout: PixelLayout, classes: tuple[int | str, ...], form: dict[str, Any] | None = None
    ) -> None:
        self.layout = layout
        self.classes = classes
        self.schema = _schema(classes)
        self._form = Form(self.schema) if form is None else Form.from_json(form)
        self._code = {value: code for code, value in enumerate(classes)}

    @classmethod
    def fit(cls, train: pa.Table, config: DataConfig, rules: Rules = NO_RULES) -> "PixelCodec":
        """Shape from the first image (a source gives all the same), classes from the training rows.

        Raises:
            DataError: no images.
        """
        if not train.num_rows:
            raise DataError("no images are left to train on; lower data.split.holdout", field="data.split")
        first = pixels_of(train.slice(0, 1))[0]
        classes = tuple(sorted(set(train[LABEL].to_pylist()))) if LABEL in train.column_names else ()
        layout = PixelLayout(
            channels=first.shape[0],
            height=first.shape[1],
            width=first.shape[2],
            classes=len(classes),
            rows=train.num_rows,
            flip=config.image.flip,
        )
        codec = cls(layout, classes)
        origin = origin_of(train.schema)
        if origin is not None and classes:
            codec._form = Form.of_codec(codec.schema, origin, codec.levels)
        return codec

    @property
    def form(self) -> Form:
        """Classes by their numbers, where the source numbers them."""
        return self._form

    def encode(self, table: pa.Table) -> Batch:
        """`pixels` uint8 (N, C, H, W) and, with classes, `label` int64 (N,). Rows of a class that training
        never saw are left out."""
        if not self.classes:
            return Batch(pixels=torch.from_numpy(pixels_of(table, self.layout)))
        codes = [self._code.get(value, -1) for value in table[LABEL].to_pylist()]
        known = [code >= 0 for code in codes]
        pixels = pixels_of(table if all(known) else table.filter(pa.array(known)), self.layout)
        return Batch(
            pixels=torch.from_numpy(pixels),
            label=torch.tensor([code for code in codes if code >= 0], dtype=torch.int64),
        )

    def decode(self, batch: Batch, *, first_row: int) -> pa.Table:
        """PNG files labelled as AI-generated, named by their row number."""
        pixels_N = to_uint8(batch["pixels"]).permute(0, 2, 3, 1).contiguous().numpy()
        pixels_N = pixels_N[..., 0] if self.layout.channels == 1 else pixels_N
        files = png.encode_all(pixels_N, [label_packet(pixels) for pixels in pixels_N])
        names = [f"{row:09d}.png" for row in range(first_row, first_row + len(files))]
        columns: list[pa.Array] = [image_column(files, names)]
        if self.classes:
            columns.append(
                pa.array(self.classes, self.schema.field(LABEL).type).take(pa.array(batch["label"].numpy()))
            )
        return pa.Table.from_arrays(columns, schema=self.schema)

    def pack(self, batch: Batch) -> Batch:
        """Pixels as bytes: a quarter of the memory, and what would be written anyway."""
        return batch.with_(pixels=to_uint8(batch["pixels"]))

    def libraries(self) -> dict[str, str]:
        """Images are compressed by zlib, whose versions differ in the bytes they write."""
        return {"zlib": zlib.ZLIB_RUNTIME_VERSION}

    def condition_table(self, batch: Batch) -> pa.Table:
        """The class alone: no image is drawn to find out that it is not wanted."""
        if not self.classes:
            return super().condition_table(batch)
        field = self.schema.field(LABEL)
        return pa.table({LABEL: pa.array(self.classes, field.type).take(pa.array(batch["label"].numpy()))})

    def condition(self, column: str, value: str) -> Condition | None:
        levels = self.levels(column) or []
        return Condition(label=levels.index(value)) if value in levels else None

    def levels(self, column: str) -> list[str] | None:
        return [str(value) for value in self.classes] if column == LABEL and self.classes else None

    def count_levels(self, column: str, array: pa.Array) -> list[int]:
        counts = Counter(array.cast(pa.string()).to_pylist())
        return [counts[level] for level in self.levels(column) or ()]

    def to_files(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        said = dump(_File(layout=self.layout, classes=self.classes))
        # Left out where there is none: the files of most artifacts stay as they always were.
        del said["form"]
        if not self._form.is_plain(self.schema):
            said["form"] = self._form.to_json()
        return said, {}

    @classmethod
    def from_files(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "PixelCodec":
        if config.get("format") != FORMAT:
            raise IntegrityError(
                f"codec.json: this version reads {FORMAT}, not {config.get('format')}; upgrade synthmill"
            )
        file = parse_model(_File, dict(config))
        return cls(file.layout, file.classes, file.form)


def to_uint8(pixels_NCHW: Tensor) -> Tensor:
    """Pixels in [-1, 1] as bytes; bytes as they are."""
    if pixels_NCHW.dtype == torch.uint8:
        return pixels_NCHW
    return pixels_NCHW.float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def pixels_of(table: pa.Table, layout: PixelLayout | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The images of a table, uint8 (N, C, H, W), resized and recoloured to the layout where they differ from
    it.

    Raises:
        DataError: an image can't be decoded; names its row.
    """
    cells = table[image_of(table, "the table")].combine_chunks()
    cells = cells.field("bytes") if pa.types.is_struct(cells.type) else cells
    config = ImageConfig(size=(layout.height, layout.width)) if layout else ImageConfig()
    channels = layout.channels if layout else None
    images = []
    for row, cell in enumerate(cells):
        try:
            image = read_image(cell.as_py() or b"", config)
        except BrokenImageError as fault:
            raise DataError(f"the image in row {row:,} can't be read: {fault}", field=IMAGE) from None
        images.append(image if channels is None else with_channels(image, channels))
    if not images:
        shape = (layout.channels, layout.height, layout.width) if layout else (1, 1, 1)
        return np.zeros((0, *shape), np.uint8)
    stacked = np.stack(images)
    return np.ascontiguousarray(stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2))


def _schema(classes: tuple[int | str, ...]) -> pa.Schema:
    features: dict[str, Any] = {IMAGE: {"_type": "Image"}}
    fields = [pa.field(IMAGE, IMAGE_TYPE)]
    if classes:
        whole = isinstance(classes[0], int)
        fields.append(pa.field(LABEL, pa.int64() if whole else pa.string()))
        named = whole and classes == tuple(range(len(classes)))
        features[LABEL] = (
            {"names": [str(value) for value in classes], "_type": "ClassLabel"}
            if named
            else {"dtype": "int64" if whole else "string", "_type": "Value"}
        )
    described = json.dumps({"info": {"features": features}}, separators=(",", ":"))
    return pa.schema(fields, metadata={"huggingface": described})
