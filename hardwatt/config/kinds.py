"""Kinds of values in settings: host name, user, path, network, URL. Each refuses what another kind would be.

A value reaches command lines, files of SSH and git, and URLs; so it never begins with a hyphen, holds a control
character, or is longer than its kind can be.
"""

import ipaddress
import re
import urllib.parse
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}", re.ASCII)
_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,127}", re.ASCII)
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_URL_PATH = re.compile(r"(/[A-Za-z0-9_.~%+-]*)*", re.ASCII)
_LONGEST_PATH, _LONGEST_LINE = 1024, 16_384
"""Characters; a line of known_hosts with an RSA key of 16384 bits takes about 2800."""
_HOST_LENGTH = 253


def _is_host(text: str) -> bool:
    """Return True for a host name or an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        numbers = re.fullmatch(r"[0-9.]+", text)
        return not numbers and len(text) <= _HOST_LENGTH and all(_NAME.fullmatch(part) for part in text.split("."))
    return "%" not in text


def _host(text: str) -> str:
    if text and not _is_host(text):
        raise ValueError("is not a host name or an IP address")
    return text


def _user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise ValueError("is not the name of a user")
    return text


def _login(text: str) -> str:
    if not _LOGIN.fullmatch(text):
        raise ValueError("is not a user name or an e-mail address")
    return text


def _jump(text: str) -> str:
    if not text:
        return text
    user, at, rest = text.rpartition("@")
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(\d{1,5}))?", rest, re.ASCII)
    plain = re.fullmatch(r"([^:\[\]]*)(?::(\d{1,5}))?", rest, re.ASCII)
    match = bracketed or plain
    whole = match and _is_host(match[1]) and 1 <= int(match[2] or 22) <= 65535
    if not whole or (at and not _USER.fullmatch(user)):
        raise ValueError("is not USER@HOST:PORT")
    return text


def _path(text: str) -> str:
    """Refuse a path that no shell or program reads as one; blanks, quotes and letters of any script are fine."""
    if len(text) > _LONGEST_PATH or not text.isprintable() or text.startswith("-"):
        raise ValueError("is not the path of a file or folder")
    return text


def _results(text: str) -> str:
    path = PurePosixPath(_path(text))
    if not text.strip() or ".." in path.parts or path.parts in ((), ("/",), ("//",)):
        raise ValueError("is not a folder for results: give a path below the checkout, or an absolute one")
    return text


def _below(text: str) -> str:
    if not all(_PART.fullmatch(part) for part in text.split("/")):
        raise ValueError("is not a path below the repository's top folder, of letters, digits, '.', '_' and '-'")
    return text


def _branch(text: str) -> str:
    parts = text.split("/")
    if any(not part or part.startswith(".") or part.endswith((".lock", ".")) or ".." in part for part in parts):
        raise ValueError("is not the name of a branch")
    if len(text) > 200:
        raise ValueError("is too long for the name of a branch")
    return text


def _known_host(text: str) -> str:
    """Refuse what known_hosts does not read as one trusted key: comments, ``@revoked``, several lines."""
    if len(text) > _LONGEST_LINE or not text.isprintable() or text.lstrip().startswith(("-", "@", "#")):
        raise ValueError("is not a line of known_hosts with one trusted key: HOST TYPE KEY")
    return text


def _network(text: str) -> str:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("is not a network: ADDRESS/LENGTH, with no bit of a host set") from None
    if network.prefixlen == 0 or network.is_loopback or network.is_multicast or network.is_link_local:
        raise ValueError("is not a network that a cluster can use")
    return text


def split_url(text: str, schemes: tuple[str, ...]) -> urllib.parse.SplitResult:
    """Return the parts of a URL. Raises ``ValueError`` unless scheme, host, port and path are those of a server."""
    if len(text) > _LONGEST_PATH or not text.isascii() or not text.isprintable():
        raise ValueError("holds characters that a URL does not have")
    parts = urllib.parse.urlsplit(text)
    if parts.scheme not in schemes or not _is_host(parts.hostname or ""):
        raise ValueError(f"is not a URL of {' or '.join(schemes)}")
    if parts.port == 0 or parts.query or parts.fragment or not _URL_PATH.fullmatch(parts.path):
        raise ValueError("has a port, path, query or fragment that is not allowed here")
    if ".." in parts.path.split("/"):
        raise ValueError("has a path with '..'")
    return parts


def _base_url(text: str) -> str:
    if text and "@" in split_url(text, ("https", "http")).netloc:
        raise ValueError("names a user or a password")
    return text


Host = Annotated[str, AfterValidator(_host)]
User = Annotated[str, AfterValidator(_user)]
Login = Annotated[str, AfterValidator(_login)]
Jump = Annotated[str, AfterValidator(_jump)]
LocalPath = Annotated[str, AfterValidator(_path)]
Results = Annotated[str, AfterValidator(_results)]
PathBelow = Annotated[str, AfterValidator(_below)]
Branch = Annotated[str, AfterValidator(_branch)]
KnownHost = Annotated[str, AfterValidator(_known_host)]
Network = Annotated[str, AfterValidator(_network)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
