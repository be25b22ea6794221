"""One Prometheus server: small queries through prometheus-api-client, raw samples over plain HTTP.

A dump stores each answer as the server sent it, and reads it without an object for each sample; prometheus-api-client
returns decoded objects only.
"""

import re
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.adapters import HTTPAdapter
from requests.exceptions import RetryError
from urllib3.exceptions import MaxRetryError, ReadTimeoutError
from urllib3.util.retry import Retry

from hardwatt.bundle.model import Block, RawBody, SeriesSamples
from hardwatt.core.errors import RefusedError
from hardwatt.dump import parse
from hardwatt.dump.errors import IncompleteError, QueryError, TooMuchError, UnreachableError

_STATUS = re.compile(r"HTTP Status Code (\d+)")
_BUSY = (429, 500, 502, 503, 504)
_KEPT_HEADERS = ("Content-Type", "Date", "Server")
_AGAIN = "invoke lab.status, then the same command again"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Bearer(requests.auth.AuthBase):
    """A bearer token. As a header alone it would give way to a password in the user's .netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Client:
    """Asks one server, from as many threads as one likes. Close it, or use it as a context manager."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        backoff: float = 0.5,
        headers: Mapping[str, str] | None = None,
        token: str = "",
        verify: bool | str = True,
    ) -> None:
        """``timeout`` in seconds for each request, ``verify`` names a CA file.

        Raise RefusedError where the bearer ``token`` would go over the network unencrypted.
        """
        self.url = url.rstrip("/")
        host = _server(self.url)
        if token and host.scheme != "https" and host.hostname not in _LOOPBACK:
            raise RefusedError(f"a token is not sent to {self.url}: it is not https", hint="give an https:// address")
        # On this machine itself compressing costs more than it saves.
        encoding = {"Accept-Encoding": "identity"} if host.hostname in _LOOPBACK else {}
        self._headers = {**encoding, **(headers or {})}
        self._timeout, self._verify = timeout, verify
        self._auth = Bearer(token) if token else None
        retry = Retry(
            total=retries, read=1, backoff_factor=backoff, status_forcelist=_BUSY, allowed_methods=("GET",), redirect=0
        )
        self._plain = requests.Session()
        self._plain.mount(self.url, HTTPAdapter(max_retries=retry))
        checked = requests.Session()
        checked.verify = verify
        checked.hooks["response"].append(_refuse_partial)
        self._api = PrometheusConnect(
            url=self.url, headers=self._headers, session=checked, retry=retry, timeout=timeout, auth=self._auth
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._plain.close()
        self._api.close()

    def query(self, query: str, at_ms: int | None = None) -> list[dict[str, Any]]:
        """Return the result of an instant query. ``at_ms``: None is the server's now.

        Raise UnreachableError, QueryError, TooMuchError or IncompleteError.
        """
        params = {} if at_ms is None else {"time": _seconds(at_ms)}
        with self._reading(query):
            try:
                return parse.rows(self._api.custom_query(query, params=params))
            except (KeyError, TypeError):  # how prometheus-api-client fails on data of another shape
                raise parse.OddError("there is no result in it") from None

    def samples(self, query: str, at_ms: int) -> tuple[list[SeriesSamples], RawBody]:
        """Return the raw samples that a range selector has at ``at_ms``, and the untouched answer.

        Raise as ``query`` does.
        """
        block, body = self.block(query, at_ms)
        return block.series(), body

    def block(self, query: str, at_ms: int) -> tuple[Block, RawBody]:
        """Return the same in one piece, which is quicker with many series."""
        with self._reading(query):
            response = self._plain.get(
                f"{self.url}/api/v1/query",
                params={"query": query, "time": _seconds(at_ms)},
                headers=self._headers,
                auth=self._auth,
                timeout=self._timeout,
                verify=self._verify,  # a session's own would give way to REQUESTS_CA_BUNDLE
            )
            if response.status_code != 200:
                raise self._refused(query, response.status_code, f"HTTP {response.status_code} ({response.content!r})")
            text = response.content.decode()
            headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
            return parse.block(text), RawBody(str(response.url), response.status_code, headers, text)

    def names(self, selector: str, start_ms: int, end_ms: int) -> list[str]:
        """Return the names of the metrics that a selector has anywhere in an interval, sorted."""
        params = {"match[]": selector, "start": _seconds(start_ms), "end": _seconds(end_ms)}
        with self._reading(selector):
            return sorted(parse.names(self._api.get_label_values("__name__", params=params)))

    @contextmanager
    def _reading(self, query: str) -> Iterator[None]:
        """Raise what goes wrong between a query and its answer as a DumpError."""
        try:
            yield
        except PrometheusApiClientException as error:
            status = _STATUS.match(str(error))
            raise self._refused(query, int(status[1]) if status else 0, str(error)) from None
        except (parse.OddError, UnicodeDecodeError) as error:
            raise IncompleteError(f"{self.url} answered {query} with something else: {error}") from None
        except RetryError as error:
            raise TooMuchError(f"{self.url} cannot answer {query} now: {_short(error)}", hint=_AGAIN) from None
        except requests.RequestException as error:
            if _timed_out(error):
                raise TooMuchError(f"{self.url} does not answer {query} in time", hint=_AGAIN) from None
            raise UnreachableError(
                f"{self.url} does not answer: {_short(error)}", hint="invoke lab.forward prometheus"
            ) from None

    def _refused(self, query: str, status: int, answer: str) -> QueryError | TooMuchError:
        text = f"{self.url} refuses {query}: {_short(answer)}"
        # 422 is "cannot be executed": with a plain selector only its amount can be the reason.
        return TooMuchError(text) if status in (413, 422) else QueryError(text)


def _refuse_partial(response: requests.Response, *_args: Any, **_options: Any) -> None:
    """Raise OddError if an answer is not a whole success: prometheus-api-client ignores the server's warnings."""
    if response.status_code == 200:
        parse.data(response.content.decode())


def _seconds(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}"


def _timed_out(error: requests.RequestException) -> bool:
    """Tell whether the server took the question and then said nothing, or not all."""
    cause = error.args[0] if error.args else None
    late = isinstance(cause, MaxRetryError) and isinstance(cause.reason, ReadTimeoutError)
    return late or isinstance(cause, ReadTimeoutError) or isinstance(error, requests.ReadTimeout)


def _short(error: Exception | str) -> str:
    text = str(error)
    return text if len(text) < 400 else text[:400] + "..."


def _server(url: str) -> urllib.parse.SplitResult:
    """Return the parts of a server's address. Raise RefusedError for one that holds a secret or is not an address.

    The address is printed, and stored in the bundle with each answer.
    """
    hint = "give http://HOST:PORT or https://HOST/PATH; a token goes into --token-file"
    try:
        host = urllib.parse.urlsplit(url)
        _ = host.port
    except ValueError:
        raise RefusedError("the address of Prometheus is not a URL", hint=hint) from None
    if "@" in host.netloc or host.query or host.fragment:
        raise RefusedError(
            "the address of Prometheus holds a user, a password or a query, which the bundle would store", hint=hint
        )
    if host.scheme not in ("http", "https") or not host.hostname or not url.isprintable() or " " in url:
        raise RefusedError(f"the address of Prometheus is {url!r}, not a URL of http or https", hint=hint)
    return host
