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
    if ! cut -d= -f1 "$journal" | grep -qxF -- "$kind ${item%%=*}"; then
        printf '%s %s\n' "$kind" "$item" >>"$journal"
    fi
done
sync "$journal"
