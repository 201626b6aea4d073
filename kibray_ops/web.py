"""Open HTTP clients; those of one process trust the same authorities, whose list takes longer to read than a ping."""

from functools import cache
from typing import TYPE_CHECKING, Any

from kibray_ops import __version__

if TYPE_CHECKING:
    import ssl

    import httpx


def web_client(**options: Any) -> "httpx.Client":
    """Open a client that says who we are, with options of httpx.Client; raises what that does for a bad proxy."""
    import httpx

    return httpx.Client(headers={"User-Agent": f"kibray-ops/{__version__}"}, verify=_trust(), **options)


@cache
def _trust() -> "ssl.SSLContext":
    import httpx

    return httpx.create_ssl_context()
