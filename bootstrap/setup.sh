#!/bin/sh
# Brings a fresh machine to where `invoke` runs: OS packages, a virtual environment from hash-checked
# requirements. Can be run again at once and is then quick. Usage: setup.sh [ROOT-OF-THE-CHECKOUT]
set -eu
case ${1:-} in
    -h | --help) sed -n '2,/^set/s/^# //p' "$0"; exit 0 ;;
    -*) printf 'setup: unknown option %s\n  next: %s --help\n' "$1" "$0" >&2; exit 2 ;;
esac
root=$(cd "${1:-$(dirname "$0")/..}" && pwd)
venv=$root/.venv
requirements=$root/requirements/all.txt

say() { printf '%s\n' "$*" >&2; }
die() { say "setup: $1"; say "  next: $2"; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# --- A path that every tool can take: what these characters mean to others cannot be escaped there ------
newline='
'
for bad in ':' '"' '$' '`' "\\" "$newline"; do
    case $root in
        *"$bad"*)
            [ "$bad" != "$newline" ] || bad='a line break'
            die "the path of this checkout has $bad in it, which PATH or the shell reads as something else: $root" \
                "move the checkout to a path without it (blanks and per cent signs are fine), then run make setup there" ;;
    esac
done

# --- OS packages: only where the embedded node can run at all, and only what is missing -----------
packages() {
    sed -e 's/#.*//' "$root/bootstrap/packages.txt" | awk 'NF {print $1}'
}

install_packages() {
    [ "$(uname -s)" = Linux ] || { say "setup: not Linux, so no embedded node: Python part only"; return 0; }
    if ! command -v apt-get >/dev/null 2>&1; then
        say "setup: no apt-get here; the embedded node needs these packages' programs: $(packages | tr '\n' ' ')"
        return 0
    fi
    missing=
    for package in $(packages); do
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || :) in
            installed) ;;
            *) missing="$missing $package" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null 2>&1; then
        say "setup: not root and no sudo, so these stay missing:$missing"
        return 0
    fi
    say "setup: installing$missing"
    # shellcheck disable=SC2086 # a list of names
    as_root env DEBIAN_FRONTEND=noninteractive sh -c \
        'apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1 ||
         { apt-get update -q && apt-get install -y -q --no-install-recommends "$@"; }' sh $missing >&2
}

# --- Python ---------------------------------------------------------------------------------------
find_python() {
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# The sum of files, this Python, and this place: what an installation depends on.
sum_of() {
    "$python" -c 'import hashlib,sys
print(hashlib.sha256(b"".join(open(name,"rb").read() for name in sys.argv[2:])+sys.version.encode()+sys.argv[1].encode()).hexdigest())' "$venv" "$@"
}

# A stamp is written last, by renaming: an interrupted set-up has none and starts again.
stamp() {
    printf '%s\n' "$2" >"$venv/$1.new"
    mv "$venv/$1.new" "$venv/$1"
}

install_requirements() {
    want=$(sum_of "$requirements")
    [ "$(cat "$venv/.complete" 2>/dev/null || :)" = "$want" ] && return 0
    say "setup: virtual environment from pinned requirements (a minute or two)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$requirements" ||
        die "the Python packages could not be installed" "look at the lines above; run the command again"
    stamp .complete "$want"
}

# The checkout itself, editable: `hardwatt` is a program of the environment and runs the checkout's code from any folder.
install_checkout() {
    want=$(sum_of "$root/pyproject.toml")
    [ "$(cat "$venv/.installed" 2>/dev/null || :)" = "$want" ] && [ -x "$venv/bin/hardwatt" ] && return 0
    rm -f "$venv/.installed" "$venv"/lib/python3*/site-packages/hardwatt-checkout.pth
    # --isolated: no setting of the user's pip matters, since nothing is downloaded.
    "$venv/bin/python" -m pip --isolated install --quiet --disable-pip-version-check --root-user-action ignore \
        --no-index --no-deps --no-build-isolation --editable "$root" ||
        die "the checkout could not be installed into $venv" "look at the lines above; run the command again"
    stamp .installed "$want"
}

install_packages
python=$(find_python) ||
    die "no Python 3.11 or newer is on PATH" "install Python 3.11+, then run the command again"
install_requirements
install_checkout
