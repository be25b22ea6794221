"""prometheus-api-client with a session, timeouts and repetitions of its own, and with the answers kept as they came."""

import re
import urllib.parse
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.exceptions import RetryError
from urllib3.exceptions import MaxRetryError, ReadTimeoutError
from urllib3.util.retry import Retry

from hardwatt.bundle.model import Block, RawBody, SeriesSamples
from hardwatt.core.errors import RefusedError
from hardwatt.dump import parse
from hardwatt.dump.errors import IncompleteError, QueryError, TooMuchError, UnreachableError

T = TypeVar("T")

_STATUS = re.compile(r"HTTP Status Code (\d+)")
_BUSY = (429, 500, 502, 503, 504)
_KEPT_HEADERS = ("Content-Type", "Date", "Server")
_AGAIN = "inv lab.status, then the same command again"
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
        host = urllib.parse.urlsplit(self.url)
        if token and host.scheme != "https" and host.hostname not in _LOOPBACK:
            raise RefusedError(f"a token is not sent to {self.url}: it is not https", hint="give an https:// address")
        self._session = requests.Session()
        self._session.verify = verify
        self._session.hooks["response"].append(_keep)
        # On this machine itself compressing costs more than it saves.
        encoding = {"Accept-Encoding": "identity"} if host.hostname in _LOOPBACK else {}
        retry = Retry(
            total=retries, read=1, backoff_factor=backoff, status_forcelist=_BUSY, allowed_methods=("GET",), redirect=0
        )
        self._connect = PrometheusConnect(
            url=self.url,
            headers={**encoding, **(headers or {})},
            session=self._session,
            retry=retry,
            timeout=timeout,
            auth=Bearer(token) if token else None,
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def query(self, query: str, at_ms: int | None = None) -> tuple[list[dict[str, Any]], RawBody]:
        """Return the result of an instant query and the untouched answer. ``at_ms``: None is the server's now.

        Raise UnreachableError, QueryError, TooMuchError or IncompleteError.
        """
        params = {} if at_ms is None else {"time": _seconds(at_ms)}
        return self._asked(query, lambda: self._connect.custom_query(query, params=params), parse.result)

    def samples(self, query: str, at_ms: int) -> tuple[list[SeriesSamples], RawBody]:
        """Return the raw samples that a range selector has at ``at_ms``, and the untouched answer.

        Raise as ``query`` does.
        """
        found, body = self.block(query, at_ms)
        return found.series(), body

    def block(self, query: str, at_ms: int) -> tuple[Block, RawBody]:
        """Return the same in one piece, which is quicker with many series."""
        params = {"time": _seconds(at_ms)}
        return self._asked(query, lambda: self._connect.custom_query(query, params=params), parse.block)

    def names(self, selector: str, start_ms: int, end_ms: int) -> list[str]:
        """Return the names of the metrics that a selector has anywhere in a stretch of time, sorted."""
        params = {"match[]": selector, "start": _seconds(start_ms), "end": _seconds(end_ms)}
        ask = lambda: self._connect.get_label_values("__name__", params=params)["result"]  # noqa: E731
        return sorted(self._asked(selector, ask, parse.names)[0])

    def _asked(self, query: str, ask: Callable[[], requests.Response], read: Callable[[str], T]) -> tuple[T, RawBody]:
        try:
            response = ask()
            text = response.content.decode()
            headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
            return read(text), RawBody(str(response.url), response.status_code, headers, text)
        except PrometheusApiClientException as error:
            raise self._refused(query, error) from None
        except (parse.OddError, UnicodeDecodeError) as error:
            raise IncompleteError(f"{self.url} answered {query} with something else: {error}") from None
        except RetryError as error:
            raise TooMuchError(f"{self.url} cannot answer {query} now: {_short(error)}", hint=_AGAIN) from None
        except requests.RequestException as error:
            if _timed_out(error):
                raise TooMuchError(f"{self.url} does not answer {query} in time", hint=_AGAIN) from None
            raise UnreachableError(
                f"{self.url} does not answer: {_short(error)}", hint="inv lab.forward prometheus"
            ) from None

    def _refused(self, query: str, error: PrometheusApiClientException) -> QueryError | TooMuchError:
        found = _STATUS.match(str(error))
        status = int(found[1]) if found else 0
        text = f"{self.url} refuses {query}: {_short(error)}"
        # 422 is "cannot be executed": with a plain selector only its amount can be the reason.
        return TooMuchError(text) if status in (413, 422) else QueryError(text)


def _keep(response: requests.Response, *_args: Any, **_options: Any) -> None:
    """Have prometheus-api-client hand the answer on as it came: it would make an object of every sample."""
    kept: Any = {"data": {"result": response}}
    response.json = lambda **_options: kept  # type: ignore[method-assign]


def _seconds(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}"


def _timed_out(error: requests.RequestException) -> bool:
    """Tell whether the server took the question and then said nothing, or not all."""
    cause = error.args[0] if error.args else None
    late = isinstance(cause, MaxRetryError) and isinstance(cause.reason, ReadTimeoutError)
    return late or isinstance(cause, ReadTimeoutError) or isinstance(error, requests.ReadTimeout)


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) < 400 else text[:400] + "..."
