"""The service against a bare FastAPI endpoint that streams the same pieces: ``python -m benchmarks.service``."""
