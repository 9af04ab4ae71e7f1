#!/usr/bin/env python3
"""Publish a synthetic dataset: `jobs/augment.py --model NAME --rows N --dataset NAME --store URI`."""

import sys

import _path

if __name__ == "__main__":
    _path.prepare()
    from synthmill.cli import main

    main(["augment", *sys.argv[1:]])
