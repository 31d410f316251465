"""The address of another site, as a setting."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, HttpUrl, ValidationError
from pydantic_core import PydanticCustomError


def _checked(text: str) -> str:
    if not text:
        return text
    try:
        url = HttpUrl(text)
    except ValidationError as error:
        raise PydanticCustomError("site", "this is no address like https://grafana.example") from error
    if url.username or url.password or url.query is not None or url.fragment is not None:
        raise PydanticCustomError("site", "an address without user, query and fragment is asked for")
    return f"{str(url).rstrip('/')}/"


Site: TypeAlias = Annotated[str, AfterValidator(_checked)]
"""`http://` or `https://`, with a slash at its end so that paths can be put after it; empty is none.

Everybody who opens the page is told it, so it cannot hold a password.
"""
