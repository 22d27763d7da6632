"""The engine: one llama.cpp context that computes the replies of many tenants together.

From the bottom up: `weights` (the file), `context` (the library's memory and batches), `track` (one growing sequence),
`prefixes` (what is kept of earlier ones), `shares` (whose turn it is), `pace` (what a batch costs), `drafts` (guessed
continuations), `crew` (the sequences that run), `engine` (the thread that does it all).
"""
