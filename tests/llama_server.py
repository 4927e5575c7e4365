"""llama.cpp's own server (of the package xllamacpp), one thread: llama_server.py MODEL.gguf PORT, until stdin ends."""

import os
import sys

os.environ["OMP_WAIT_POLICY"] = "passive"
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path, params.hostnames, params.port = sys.argv[1], ["127.0.0.1"], int(sys.argv[2])
params.n_ctx, params.n_parallel, params.no_extra_bufts = 2048, 1, True
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
sys.stdin.read()
