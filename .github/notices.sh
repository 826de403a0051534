#!/usr/bin/env bash
# Prints the licences of what the program is linked from, each text once: most of them want to go with a binary.
#
#   .github/notices.sh TARGET
#
# Reads the sources that cargo has fetched for a build.
set -euo pipefail
cd "$(dirname "$0")/.."

sources=$(cygpath -u "${CARGO_HOME:-$HOME/.cargo}" 2>/dev/null || echo "${CARGO_HOME:-$HOME/.cargo}")/registry/src
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "wgccl is linked from these packages. The texts of their licences follow."
echo
# Name, version, licence; those of this repository have a path and are left out.
cargo tree --locked -p wgccl-cli --edges normal --target "$1" --prefix none --format '{p} {l}' |
    tr -d '\r' | sed 's/ (\*)$//; s/ (proc-macro)//' | grep -v ' (/\| ([A-Za-z]:' | sort -u >"$work/packages"
cat "$work/packages"

while read -r name version _; do
    folder=$(ls -d "$sources"/*/"$name-${version#v}" | head -n 1)
    for text in "$folder"/LICEN[CS]E* "$folder"/COPYING* "$folder"/NOTICE* "$folder"/UNLICENSE* "$folder"/fonts/*.txt; do
        [ -f "$text" ] || continue
        sum=$(tr -d '\r' <"$text" | cksum | tr ' ' '-')
        tr -d '\r' <"$text" >"$work/$sum.text"
        echo "$name" >>"$work/$sum.of"
    done
done <"$work/packages"

for text in "$work"/*.text; do
    printf '\n%s\n%s\n\n' "================================================================================" \
        "$(sort -u "${text%.text}.of" | tr '\n' ' ')"
    cat "$text"
done
