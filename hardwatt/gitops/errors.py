"""Output of git and flux as one clear error: a server is down, a password is wrong, a branch moved."""

import re

from hardwatt.core.errors import CommandError, LabError

_AGAIN = "invoke lab.status; the cluster goes on with what it applied last"
_RENEW = "export GITHUB_TOKEN or GIT_PASSWORD anew; docs/fork.md says what a token must be allowed"
_FAULTS = (
    (r"health check failure", "was bootstrapped from, but what Flux applies is not healthy",
     "invoke gitops.status says what is missing; then invoke lab.up"),
    (r"non-fast-forward|fetch first|cannot lock ref|stale info", "moved meanwhile", "run the command again"),
    (r"Authentication failed|\b401\b|[Aa]uthentication required|invalid credentials|could not read (Username|Password)",
     "refuses the password or token", _RENEW),
    (r"\b403\b|[Pp]ermission to .* denied|[Ww]rite access .* not granted|[Aa]uthorization failed|protected branch"
     r"|pre-receive hook declined|not allowed to push|read only",
     "can be read but not pushed to", "ask its owner for the right to push, or fork it: docs/fork.md"),
    (r"Permission denied \(publickey|unable to authenticate",
     "does not know the lab's key", "let it push: ssh-keygen -yf .lab/NAME/keys/git-controller prints it"),
    (r"Host key verification failed|knownhosts: key (mismatch|is unknown)",
     "shows another host key than the lab knows", "find out why; then mend gitops.known_host"),
    (r"certificate|x509|SSL|TLS", "shows a certificate that this machine does not trust",
     "set gitops.ca_file to the certificate of its authority"),
    (r"Could not resolve host|Connection (refused|reset|closed|timed out)|Failed to connect|Couldn't connect"
     r"|[Nn]o route to host|timed out|unreachable|no such host|\b50[234]\b|connection (refused|reset)",
     "does not answer", _AGAIN),
    (r"[Rr]epository .*not found|\b404\b|does not appear to be a git repository|repository does not exist",
     "holds no such repository", "mend [gitops] in lab.toml"),
)  # fmt: skip


class GitServerError(LabError):
    """A git server that cannot be fetched from or pushed to."""


def explain(where: str, error: CommandError) -> LabError:
    """Return what a failed fetch, push or bootstrap says about ``where``, in one sentence; else the error itself."""
    text = error.stderr.strip() or error.stdout.strip()
    if error.returncode is None and error.argv[0] == "git":
        return GitServerError(f"{where} does not answer", hint=_AGAIN)
    for pattern, what, hint in _FAULTS:
        if re.search(pattern, text):
            return GitServerError(f"{where} {what} ({_last(text, pattern)})", hint=hint)
    return error


def _last(text: str, pattern: str) -> str:
    return next(line.strip() for line in reversed(text.splitlines()) if re.search(pattern, line))
