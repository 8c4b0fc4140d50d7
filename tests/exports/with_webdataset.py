"""Reads shards with ``webdataset`` and writes what it finds: run in an environment of its own."""

import json
import sys

import webdataset as wds

samples = []
for sample in wds.WebDataset(sys.argv[1:], shardshuffle=False).decode("rgb8"):
    told = {"key": sample["__key__"], "json": sample["json"]}
    arrays = {k: [list(v.shape), str(v.dtype)] for k, v in sample.items() if hasattr(v, "shape")}
    samples.append(told | {"arrays": arrays})
sys.stdout.write(json.dumps(samples))
