#!/usr/bin/env python3
"""Train a generative model: `jobs/train.py [RECIPE] --set key=value --store URI`."""

import sys

import _path

if __name__ == "__main__":
    _path.prepare()
    from synthmill.cli import main

    main(["train", *sys.argv[1:]])
