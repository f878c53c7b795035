"""Who may speak to a studio: hosts, origins, a token; and what its page may load."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Gate:
    """Decides on every request, websockets among them.

    A page of another site, opened in the same browser, can send requests here: they carry that site's `Origin`. And a
    foreign name that is made to resolve to 127.0.0.1 arrives with that name as `Host`. Both are refused.

    Attributes:
        host: What the server is bound to.
        port: Its port.
        token: What every request must carry, in its query or cookie; empty on loopback.
    """

    host: str
    port: int
    token: str = ""

    @classmethod
    def of(cls, host: str, port: int) -> Gate:
        """Return the gate for a binding: with a token unless it is loopback."""
        return cls(host, port, "" if is_loopback(host) else secrets.token_urlsafe(24))

    def known(self, netloc: str) -> bool:
        """Return whether `host:port` is a name of this server.

        Any port will do: one that is forwarded, as by ssh, arrives under another, and no page can choose its `Host`.
        """
        try:
            parts = urlsplit(f"//{netloc}")
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            return False
        if parts.netloc != netloc or parts.username is not None:
            return False
        # Bound to the outside, any address or name may lead here, and the token is what guards it.
        return is_loopback(host) if is_loopback(self.host) else bool(host)

    def refusal(self, headers: Mapping[str, str], query: str, *, needs_origin: bool = False) -> str:
        """Return why a request is refused, or nothing.

        Args:
            headers: By lower-case name.
            query: The query string.
            needs_origin: Whether it must say where it comes from, as a websocket and whatever changes something must.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self.known(host):
            return "host: is not this server"
        if origin is None and needs_origin:
            return "origin: is missing"
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return "origin: is another site"
        if self.token and not self.carries_token(headers, query):
            return "token: is missing or wrong; open the address that the studio printed"
        return ""

    def carries_token(self, headers: Mapping[str, str], query: str) -> bool:
        """Return whether a request has the token."""
        given = parse_qs(query).get("token", [""])[0]
        cookies = dict(part.strip().partition("=")[::2] for part in headers.get("cookie", "").split(";"))
        return any(
            secrets.compare_digest(one.encode(), self.token.encode()) for one in (given, cookies.get(self.name, ""))
        )

    @property
    def name(self) -> str:
        """The cookie's name, with the port: a browser tells cookies of one host's ports apart by nothing else."""
        return f"morphospace-token-{self.port}"

    def cookie(self) -> dict[str, str]:
        """Return the header that gives a browser the token, so that it need not stay in the address."""
        return {"set-cookie": f"{self.name}={self.token}; HttpOnly; SameSite=Strict; Path=/"} if self.token else {}
