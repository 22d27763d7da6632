"""The engine beside `llama_cpp.Llama` behind a lock, `llama-server`, and a bare loop of `llama_decode`.

    python -m benchmarks.engine --model 135M [--llama-server PATH] [--only WORKLOAD ...] [--quick] [--json FILE]

All work on the same GGUF file in one run, in turns, so that a busy machine hurts all alike. `--model` is a file,
`builtin`, or a shape of `benchmarks/random_model.py`, which is then written to a temporary folder. The workloads:

`conversations`   first messages, 1, 4 and 16 at once: prompts of 64 tokens, 48 new ones
`talks`           conversations of four turns (`--turns`), 1, 4 and 16 at once
`tenants`         32 tenants with prefixes of 1,000 tokens each, visited in turn for several rounds
`public`          the first question to each of 32 tenants whose prompts begin with the same 800 tokens
`neighbour`       a tenant sends 100 requests at once; another one sends one after the other
`quotes`          replies that quote a passage, with and without speculation, by `benchmarks/copying_model.py`
"""
