#!/usr/bin/env python3
"""Evaluate a dataset: `jobs/evaluate.py --dataset NAME --store URI`."""

import sys

import _path

if __name__ == "__main__":
    _path.prepare()
    from synthmill.cli import main

    main(["evaluate", *sys.argv[1:]])
