#!/bin/sh
# Runs targets of the Makefile one after the other: a red one does not keep the later ones from running. The end names
# the red ones; the last line is a pytest line with the sums of all parts, in which a red part without tests is an
# error. Exit code 1 where a part was red. After a red `mirror` the parts that need it are not run, and count as red.
# Usage: MAKE=make parts.sh TARGET...
set -u
case ${1:-} in
    -h | --help) sed -n '2,/^set/s/^# //p' "$0"; exit 0 ;;
    -*) printf 'parts: unknown option %s\n  next: %s --help\n' "$1" "$0" >&2; exit 2 ;;
esac
began=$(date +%s)
HARDWATT_TALLY=$(mktemp "${TMPDIR:-/tmp}/hardwatt-tally.XXXXXX") || exit 1
export HARDWATT_TALLY
trap 'rm -f "$HARDWATT_TALLY"' EXIT
trap 'exit 130' INT TERM
green='' red='' errors=0 filled=mirror

# Tests that failed or stopped with an error, of all parts so far.
failures() { awk '$1 == "failed" || $1 == "error" {n += $2} END {print n + 0}' "$HARDWATT_TALLY"; }

for part; do
    case $part in
        e2e | el8 | vm | long)
            if [ "$filled" = red ]; then
                red="$red $part(not-run)" errors=$((errors + 1))
                continue
            fi
            ;;
    esac
    printf '== make %s\n' "$part"
    before=$(failures)
    if "${MAKE:-make}" --no-print-directory -j1 "$part" MIRROR="$filled"; then
        green="$green $part"
        [ "$part" = mirror ] && filled=
    else
        red="$red $part"
        [ "$(failures)" -gt "$before" ] || errors=$((errors + 1))
        [ "$part" = mirror ] && filled=red
    fi
done

printf '\ngreen:%s\n' "${green:- none}"
[ -z "$red" ] || printf 'red:%s\n' "$red"
awk -v errors="$errors" -v seconds="$(($(date +%s) - began))" '
    {n[$1] += $2}
    END {
        n["error"] += errors
        split("failed passed skipped deselected xfailed xpassed warnings error", names, " ")
        for (i = 1; i in names; i++) if (n[names[i]]) {
            word = names[i] == "error" && n["error"] > 1 ? "errors" : names[i]
            line = line (line ? ", " : "") n[names[i]] " " word
        }
        printf "%s in %.2fs\n", line ? line : "no tests ran", seconds
    }' "$HARDWATT_TALLY"
[ -z "$red" ]
