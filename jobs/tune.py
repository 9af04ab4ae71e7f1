#!/usr/bin/env python3
"""Search hyper-parameters: `jobs/tune.py [RECIPE] --set key=value --time-budget 30m --store URI`."""

import sys

import _path

if __name__ == "__main__":
    _path.prepare()
    from synthmill.cli import run

    sys.exit(run(["tune", *sys.argv[1:]]))
