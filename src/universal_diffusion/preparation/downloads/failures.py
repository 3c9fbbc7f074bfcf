"""Why a mirror gave no file, in words of our own: a library's message may hold a signed address."""

import requests
import urllib3


class Failure(Exception):
    """This mirror does not give the file, and asking it again would not help."""


class Transient(Failure):
    """Asking again may help, after `wait_s` seconds if the server said how long."""

    def __init__(self, reason: str, wait_s: float | None = None):
        super().__init__(reason)
        self.wait_s = wait_s


Network = (requests.RequestException, urllib3.exceptions.HTTPError)
_REASONS = (
    (requests.exceptions.TooManyRedirects, Failure, "redirects in circles"),
    (requests.exceptions.SSLError, Failure, "has a certificate that is not trusted"),
    (requests.exceptions.ProxyError, Transient, "cannot be reached through the proxy that the environment names"),
    (requests.exceptions.Timeout, Transient, "gave no answer in time"),
    (requests.exceptions.ConnectionError, Transient, "cannot be reached"),
    (ValueError, Failure, "leads to an address that is none"),  # requests' InvalidURL, InvalidSchema and the like
    (urllib3.exceptions.TimeoutError, Transient, "fell silent"),
    (urllib3.exceptions.DecodeError, Transient, "sent bytes that do not decode"),
)


def of_network(error: Exception) -> Failure:
    """The failure that an exception of requests or urllib3 stands for."""
    for kind, failure, reason in _REASONS:
        if isinstance(error, kind):
            return failure(reason)
    return Transient("cut the connection")
