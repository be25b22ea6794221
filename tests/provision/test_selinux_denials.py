"""Denials of SELinux, as auditd writes them: those since the lab began, by kind."""

import subprocess

from hardwatt.provision import selinux_denials

LINE = (
    'type=AVC msg=audit({when}.101:512): avc:  denied  {{ write }} for  pid=7 comm="etcd" name="member" '
    "scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:var_lib_t:s0 tclass=dir permissive=0"
)


def test_denials_since_the_lab_began_by_kind() -> None:
    text = "\n".join(["mode Enforcing", "since 1795560000", *(LINE.format(when=1795560000 + n) for n in (-60, 5, 6))])
    assert selinux_denials.summary(text).splitlines() == [
        "enforcing, 2 denials since the lab began",
        "  2 x container_t wants write of var_lib_t (dir), by etcd",
    ]


def test_none_is_said_too() -> None:
    assert selinux_denials.summary("mode Enforcing\nsince 5") == "enforcing, 0 denials since the lab began"


def test_without_selinux_there_is_nothing_to_say() -> None:
    assert selinux_denials.summary("since 5") == selinux_denials.summary("mode Disabled\n" + LINE.format(when=9)) == ""


def test_the_script_runs_where_there_is_neither_selinux_nor_auditd() -> None:
    done = subprocess.run(["sh", "-c", selinux_denials._SCRIPT], capture_output=True, text=True, check=True, timeout=30)
    assert selinux_denials.summary(done.stdout) == "" or "denials" in selinux_denials.summary(done.stdout)
