"""prometheus-api-client with a session, timeouts and repetitions of its own, and with the answers kept as they came."""

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.exceptions import RetryError
from urllib3.exceptions import MaxRetryError, ReadTimeoutError
from urllib3.util.retry import Retry

from hardwatt.bundle import RawBody
from hardwatt.dump.errors import IncompleteError, QueryError, TooMuchError, UnreachableError

_STATUS = re.compile(r"HTTP Status Code (\d+)")
_BUSY = (429, 500, 502, 503, 504)
_KEPT_HEADERS = ("Content-Type", "Date", "Server")
_AGAIN = "inv lab.status, then the same command again"


class Client:
    """Asks one server. Close it, or use it as a context manager."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        backoff: float = 0.5,
        headers: Mapping[str, str] | None = None,
        verify: bool | str = True,
    ) -> None:
        """``timeout`` in seconds for each request, ``headers`` may carry a bearer token, ``verify`` names a CA file."""
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.verify = verify
        self._session.hooks["response"].append(self._keep)
        retry = Retry(
            total=retries, read=1, backoff_factor=backoff, status_forcelist=_BUSY, allowed_methods=("GET",), redirect=0
        )
        self._connect = PrometheusConnect(
            url=self.url, headers=dict(headers or {}), session=self._session, retry=retry, timeout=timeout
        )
        self._last: RawBody | None = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def _keep(self, response: requests.Response, *_args: Any, **_options: Any) -> None:
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        self._last = RawBody(str(response.url), response.status_code, headers, response.text)

    def query(self, query: str, at_ms: int | None = None) -> tuple[list[dict[str, Any]], RawBody]:
        """Return the result of an instant query and the untouched answer. ``at_ms``: None is the server's now.

        Raise UnreachableError, QueryError, TooMuchError or IncompleteError.
        """
        params = {} if at_ms is None else {"time": f"{at_ms // 1000}.{at_ms % 1000:03d}"}
        self._last = None
        try:
            result: list[dict[str, Any]] = self._connect.custom_query(query, params=params)
        except PrometheusApiClientException as error:
            raise self._refused(query, error) from None
        except (KeyError, TypeError, ValueError) as error:
            raise IncompleteError(f"{self.url} answered {query} with something else: {error!r}") from None
        except RetryError as error:
            raise TooMuchError(f"{self.url} cannot answer {query} now: {_short(error)}", hint=_AGAIN) from None
        except requests.RequestException as error:
            if _timed_out(error):
                raise TooMuchError(f"{self.url} does not answer {query} in time", hint=_AGAIN) from None
            raise UnreachableError(f"{self.url} does not answer: {_short(error)}", hint="inv lab.forward") from None
        if self._last is None:
            raise IncompleteError(f"{self.url} gave an answer to {query} that was not kept")
        return result, self._last

    def _refused(self, query: str, error: PrometheusApiClientException) -> QueryError | TooMuchError:
        found = _STATUS.match(str(error))
        status = int(found[1]) if found else 0
        text = f"{self.url} refuses {query}: {_short(error)}"
        # 422 is "cannot be executed": with a plain selector only its amount can be the reason.
        return TooMuchError(text) if status in (413, 422) else QueryError(text)


def _timed_out(error: requests.RequestException) -> bool:
    """Tell whether the server took the question and then said nothing."""
    cause = error.args[0] if error.args else None
    late = isinstance(cause, MaxRetryError) and isinstance(cause.reason, ReadTimeoutError)
    return late or isinstance(error, requests.ReadTimeout)


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) < 400 else text[:400] + "..."
