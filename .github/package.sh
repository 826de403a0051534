#!/usr/bin/env bash
# Packs the program as a release has it: NAME.zip and NAME.zip.sha256, where NAME is wgccl-<version>-<target>.
#
#   cargo build --release -p wgccl-cli --target TARGET
#   .github/package.sh TARGET OUT [PROGRAM]
#
# PROGRAM is target/TARGET/release/wgccl unless given. It is run first, and one that does not work is not packed. Runs on Linux,
# macOS (bash 3) and Windows (Git's bash).
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
target=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
case $target in *-windows-*) exe=.exe ;; *) exe= ;; esac
program=${3:-$(dirname "$0")/../target/$target/release/wgccl$exe}
[ -x "$program" ] || { echo "there is no program $program; build it, or name it" >&2 && exit 2; }
program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")
cd "$(dirname "$0")/.."

sha256() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }

echo "== does it work?"
"$program" run --device cpu
"$program" check
"$program" devices

version=$("$program" --version | tr -d '\r')
name=wgccl-${version#wgccl }-$target
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=$work/$name
mkdir -p "$folder/completions" "$folder/man"

cp "$program" "$folder/wgccl$exe"
cp README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$folder"
cp -R docs "$folder"
.github/notices.sh "$target" >"$folder/THIRD-PARTY-LICENSES.txt"

"$program" completions bash >"$folder/completions/wgccl.bash"
"$program" completions elvish >"$folder/completions/wgccl.elv"
"$program" completions fish >"$folder/completions/wgccl.fish"
"$program" completions powershell >"$folder/completions/_wgccl.ps1"
"$program" completions zsh >"$folder/completions/_wgccl"

# The program's page names those of its commands.
"$program" man >"$folder/man/wgccl.1"
pages=$(tr -d '\\' <"$folder/man/wgccl.1" | grep -oE 'wgccl-[a-z]+\(1\)' | sed 's/wgccl-//; s/(1)//' | sort -u)
[ -n "$pages" ] || { echo "the manual names no commands" >&2 && exit 1; }
for command in $pages; do
    "$program" man "$command" >"$folder/man/wgccl-$command.1"
done

echo "== $name.zip"
rm -f "$out/$name.zip"
if command -v zip >/dev/null; then
    (cd "$work" && zip -q -X -r "$out/$name.zip" "$name")
else
    (cd "$work" && 7z a -bd -tzip "$out/$name.zip" "$name" >/dev/null)
fi
(cd "$out" && sha256 "$name.zip" >"$name.zip.sha256" && cat "$name.zip.sha256")
