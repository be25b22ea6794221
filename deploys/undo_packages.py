"""The commands that take the lab's packages, and what came along with them, from a host again."""

import shlex
from collections.abc import Sequence

from deploys.facts.record import FOLDER

_APT = "DEBIAN_FRONTEND=noninteractive apt-get"


def purge(names: Sequence[str], brought: Sequence[str]) -> list[str]:
    """Return apt's commands; somebody's later package that depends on one of ours is not taken along.

    + names: packages that the lab asked for
    + brought: all that its installs brought, as the record has it
    """
    commands = []
    if names:
        listed = " ".join(shlex.quote(name) for name in names)
        dependents = (
            f"for name in $(apt-get --simulate purge {listed} | "
            "sed -n 's/^\\(Remv\\|Purg\\) \\([^ ]*\\).*/\\2/p'); do "
            f"case ' {listed} ' in *\" $name \"*) continue ;; esac; "
            'test -n "$(apt-mark showauto "$name")" || '
            '{ echo "$name was installed later and needs one of them: remove it, or use --keep-packages" >&2; '
            "exit 1; }; done"
        )
        commands += [dependents, f"apt-mark unhold {listed}", f"{_APT} purge --yes {listed}"]
    return commands + (_autoremove(brought) if brought else [])


def _autoremove(brought: Sequence[str]) -> list[str]:
    """Return apt's commands that purge what came along and nothing else needs.

    A mere recommendation of a package that was there before keeps none of them; each other package stays, whether
    apt would think it needed or not.
    """
    ours, config = " ".join(f"-e {shlex.quote(name)}" for name in brought), f"{FOLDER}/autoremove.conf"
    return [
        f"dpkg-query -W -f '${{Package}}\\n' | grep -vxF {ours} | "
        f"sed 's/[.+]/\\\\&/g; s/.*/APT::NeverAutoRemove:: \"^&$\";/' >{config}",
        f"{_APT} --config-file {config} -o APT::AutoRemove::RecommendsImportant=false "
        "-o APT::AutoRemove::SuggestsImportant=false autoremove --purge --yes",
    ]


def erase(names: Sequence[str]) -> list[str]:
    """Return rpm's commands: it refuses where somebody's later package needs one of ours."""
    unneeded = (
        "dnf --quiet repoquery --unneeded --queryformat '%{name}' | "
        f"grep -vxFf {FOLDER}/packages | xargs --no-run-if-empty rpm --erase"
    )
    return [f"rpm --erase {' '.join(shlex.quote(name) for name in names)}", unneeded] if names else [unneeded]
