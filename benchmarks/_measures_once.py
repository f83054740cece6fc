"""Run one side of one case and print its peak memory: `_rsa_once` with the cases of measures."""

from __future__ import annotations

import json
import sys

import _rsa_once
import torch
from _measures_cases import all_cases
from threadpoolctl import threadpool_limits

if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    _rsa_once.all_cases = all_cases
    with threadpool_limits(asked["threads"]):
        _rsa_once.main(asked)
