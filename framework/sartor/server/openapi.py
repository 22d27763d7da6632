"""The description of the API, made true where FastAPI guesses: how requests fail."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

import sartor

__all__ = ["describe"]

_ABOUT = "Bots made to measure. Send an API key (`sartor key create TENANT`) as `Authorization: Bearer …`."


def describe(app: FastAPI) -> None:
    """Let ``/openapi.json`` say what `sartor.server.failures` does in place of FastAPI's own 422."""

    def openapi() -> dict[str, object]:
        if app.openapi_schema is None:
            made = get_openapi(title="Sartor", version=sartor.__version__, routes=app.routes, description=_ABOUT)
            for path in made["paths"].values():
                for operation in path.values():
                    operation.get("responses", {}).pop("422", None)
            for name in ("HTTPValidationError", "ValidationError"):
                made.get("components", {}).get("schemas", {}).pop(name, None)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
