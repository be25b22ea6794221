#!/bin/sh
# note KIND ITEM...: writes down what is about to be changed on this host, so that `invoke lab.down` can undo it.
# An item is NAME or NAME=VALUE, VALUE being what it was before. The first value of a name stays.
# Written by deploys/host_record.py; changes here are overwritten.
set -eu
journal=/var/lib/hardwatt/record/journal
kind=$1
shift
mkdir -p "${journal%/*}"
touch "$journal"
for item in "$@"; do
    name=${item%%=*}
    known=no
    while IFS= read -r line; do
        case $line in "$kind $name" | "$kind $name="*) known=yes ;; esac
    done <"$journal"
    [ "$known" = yes ] || printf '%s %s\n' "$kind" "$item" >>"$journal"
done
sync "$journal"
