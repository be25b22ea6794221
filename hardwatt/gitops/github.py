"""Queries of lab.up to GitHub's API: the repository, the token's rights, the server's host keys."""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from typing import IO, Any

from hardwatt.config.settings import Gitops
from hardwatt.core.errors import LabError, SettingsError

PUBLIC = "github.com"
TIMEOUT = 30.0
_PAGES = 10
SCOPES = (
    "a classic token with the scope repo, or a fine-grained one for the repository with Contents and Administration "
    "(read and write)"
)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token elsewhere."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


class GitHub:
    """The API of one GitHub, with one token, for the repository of the settings."""

    def __init__(self, settings: Gitops, token: str) -> None:
        self._settings, self._token = settings, token
        host = settings.hostname
        self._base = "https://api.github.com" if host == PUBLIC else f"https://{host}/api/v3"
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect())

    @property
    def name(self) -> str:
        return f"{self._settings.owner}/{self._settings.repository}"

    def exists(self) -> bool:
        """Return whether the repository is there and the token may do with it what ``flux bootstrap`` does.

        Raises ``LabError`` where the token is wrong or may too little, or GitHub does not answer.
        """
        status, answer = self._call("GET", f"/repos/{self.name}")
        if status == 404:
            return False
        self._expect(status, answer, 200, f"looking at {self.name}")
        rights: Mapping[str, bool] = answer.get("permissions") or {}
        if answer.get("archived"):
            raise LabError(f"{self.name} is archived: nothing can be pushed to it", hint="unarchive it, or fork it")
        if not rights.get("push", True):
            raise LabError(
                f"the token may read {self.name} but not push to it",
                hint="fork it and set gitops.owner to your own account (docs/fork.md), or ask its owner for the right",
            )
        if not rights.get("admin", True):
            raise LabError(
                f"the token may push to {self.name} but not add the deploy key that Flux reads it with",
                hint=f"its owner runs lab.up, or makes you an administrator; then {SCOPES}",
            )
        return True

    def create(self) -> None:
        """Make the repository, empty. Raises ``LabError``."""
        settings = self._settings
        path = "/user/repos" if settings.personal else f"/orgs/{settings.owner}/repos"
        if settings.personal:
            status, user = self._call("GET", "/user")
            self._expect(status, user, 200, "asking whose token it is")
            if user["login"].lower() != settings.owner.lower():
                raise SettingsError(
                    f"the token sees no {self.name}, and cannot make it: it is {user['login']}'s",
                    hint="mend gitops.owner or gitops.repository, or set gitops.personal = false for an organisation",
                )
        body = {"name": settings.repository, "private": settings.private, "auto_init": False}
        status, answer = self._call("POST", path, body)
        self._expect(status, answer, 201, f"making {self.name}")

    def deploy_keys(self) -> tuple[str, ...]:
        """Return the repository's deploy keys (``ecdsa-sha2-nistp384 AAAA...``)."""
        keys: list[str] = []
        for page in range(1, _PAGES + 1):
            status, listed = self._call("GET", f"/repos/{self.name}/keys?per_page=100&page={page}")
            self._expect(status, listed, 200, "listing deploy keys")
            keys += [item["key"] for item in listed]
            if len(listed) < 100:
                break
        return tuple(keys)

    def host_keys(self) -> tuple[str, ...]:
        """Return the SSH host keys that this GitHub publishes, over TLS, as lines of known_hosts.

        Raises ``LabError`` where it publishes none.
        """
        status, answer = self._call("GET", "/meta")
        keys = answer.get("ssh_keys") if status == 200 else None
        host = self._settings.ssh_hostname or self._settings.hostname
        if not keys:
            raise LabError(
                f"{self._settings.hostname} does not publish its SSH host keys",
                hint="set gitops.known_host to its line of known_hosts, as its administrators publish it",
            )
        return tuple(f"{host} {key}" for key in keys)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        request = urllib.request.Request(  # noqa: S310 - the scheme is https
            self._base + path,
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={
                "Authorization": f"Bearer {self._token}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
                "User-Agent": "hardwatt",
            },
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, _parsed(error.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> LabError:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            hint = "set gitops.ca_file (or SSL_CERT_FILE) to the certificate of its authority"
        else:
            hint = "the cluster goes on with what it has; run the command again when it answers"
        return LabError(f"{self._settings.hostname} does not answer: {reason}", hint=hint)

    def _expect(self, status: int, answer: Any, wanted: int, what: str) -> None:
        if status == wanted:
            return
        host = self._settings.hostname
        said = answer.get("message", "") if isinstance(answer, Mapping) else ""
        if status == 401:
            raise LabError(f"{host} refuses the token ({said or status})", hint=f"export GITHUB_TOKEN: {SCOPES}")
        if status in (301, 302, 307, 308):
            raise LabError(f"{self.name} has moved", hint="mend gitops.owner and gitops.repository in lab.toml")
        raise LabError(f"{host} answers {status} {said} to {what}", hint=f"the token must be {SCOPES}")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except ValueError:
        return {}


def ca_bundle(settings: Gitops) -> Path | None:
    """Return the file of a private authority. Raises ``SettingsError`` where it is not there."""
    if not settings.ca_file:
        return None
    path = Path(settings.ca_file).expanduser().resolve()
    if not path.is_file():
        raise SettingsError(f"gitops.ca_file: {settings.ca_file} is not there", hint="mend lab.toml")
    return path
