#!/usr/bin/env bash
# Measures wgccl beside Open MPI, MPICH, Gloo, oneCCL, burn-collective, rayon and memcpy, interleaved on this machine.
#
#   benches/peers/run.sh [--burn] [--oneccl] [--no-install] [OPTION...]     writes NAME.json, NAME.md and NAME.svg (--out NAME)
#   benches/peers/run.sh join --out NAME RECORD.json...          joins records of one machine
#
# --burn builds burn-collective too, which takes many minutes; --oneccl gets oneCCL from PyPI, which takes 2 GB in target/. --help
# lists the other options. What is missing is installed on Debian and Ubuntu, with a password only where the user is not root; a
# peer that cannot be had is skipped.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=$root/target/peers

say() { printf '== %s\n' "$*" >&2; }
build() { cargo build --release --locked --quiet --manifest-path "$here/$1/Cargo.toml" --target-dir "$target/$1"; }

command -v cargo >/dev/null || { echo "error: cargo is missing; install Rust, see https://rustup.rs" >&2; exit 6; }

with_burn=0 with_oneccl=0 install=1 options=()
for option in "$@"; do
    case $option in
    --burn) with_burn=1 ;;
    --oneccl) with_oneccl=1 ;;
    --no-install) install=0 ;;
    *) options+=("$option") ;;
    esac
done

say "building"
build rust
case ${options[0]-} in
join) exec "$target/rust/release/wgccl-peers" "${options[@]}" ;;
-h | --help) exec "$target/rust/release/wgccl-peers" run --help ;;
esac

packages=()
command -v mpicc.openmpi >/dev/null || packages+=(openmpi-bin libopenmpi-dev gcc libc6-dev)
command -v mpicc.mpich >/dev/null || packages+=(mpich libmpich-dev gcc libc6-dev)
[ -f /usr/include/gloo/allreduce.h ] || packages+=(libgloo-dev g++)
ls /usr/share/vulkan/icd.d/*.json >/dev/null 2>&1 || packages+=(mesa-vulkan-drivers libvulkan1)
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
if [ $install = 1 ] && [ ${#packages[@]} -gt 0 ] && command -v apt-get >/dev/null; then
    say "installing ${packages[*]}"
    {
        as_root apt-get update -q &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
    } >&2 || say "could not be installed; what needs it is skipped"
fi

programs=()
for mpi in openmpi mpich; do
    command -v mpicc.$mpi >/dev/null || continue
    if mpicc.$mpi -O2 -Wall -Wextra -o "$target/allreduce-$mpi" "$here/allreduce.c" -lm; then
        programs+=("--$mpi-program" "$target/allreduce-$mpi")
    fi
done
if [ -f /usr/include/gloo/allreduce.h ] &&
    g++ -O2 -std=c++17 -Wall -Wextra -o "$target/allreduce-gloo" "$here/allreduce_gloo.cc" -lgloo -lpthread; then
    version=$(dpkg-query -W -f '${Version}' libgloo-dev 2>/dev/null || true)
    programs+=(--gloo-program "$target/allreduce-gloo" ${version:+--gloo-version "$version"})
fi
if [ $with_oneccl = 1 ]; then
    oneccl=$target/oneccl
    [ -x "$oneccl/bin/pip" ] || python3 -m venv "$oneccl"
    if "$oneccl/bin/pip" install --quiet oneccl-devel >&2 &&
        g++ -O2 -std=c++17 -Wall -Wextra -isystem "$oneccl/include" -o "$target/oneccl-allreduce" "$here/allreduce_oneccl.cc" \
            -L"$oneccl/lib" -lccl -Wl,-rpath-link,"$oneccl/lib" -lpthread; then
        # Its transport without a launcher of MPI; and what it prints by itself is no result.
        cat >"$target/allreduce-oneccl" <<END
#!/bin/sh
exec env LD_LIBRARY_PATH='$oneccl/lib' CCL_ATL_TRANSPORT=ofi CCL_LOG_LEVEL=error '$target/oneccl-allreduce' "\$@"
END
        chmod +x "$target/allreduce-oneccl"
        version=$("$oneccl/bin/pip" show oneccl-devel | sed -n 's/^Version: //p')
        programs+=(--oneccl-program "$target/allreduce-oneccl" --oneccl-version "$version")
    else
        say "oneCCL cannot be had; skipped"
    fi
fi
if [ $with_burn = 1 ]; then
    say "building burn-collective, which takes many minutes the first time"
    if build burn; then
        programs+=(--burn-program "$target/burn/release/wgccl-peers-burn")
    else
        say "burn-collective does not build; skipped"
    fi
fi

# Where tests/run.sh has put SwiftShader, the loader is told of it beside the drivers that it finds by itself.
swiftshader=$root/target/swiftshader/vk_swiftshader_icd.json
if [ -f "$swiftshader" ] && [ -z "${VK_DRIVER_FILES-}" ]; then
    drivers=$swiftshader
    for icd in /usr/share/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json; do
        [ -f "$icd" ] && drivers=$drivers:$icd
    done
    export VK_DRIVER_FILES=$drivers VK_ICD_FILENAMES=$drivers
fi
# Mesa complains on stderr where no desktop session has set it.
if [ -z "${XDG_RUNTIME_DIR-}" ]; then
    XDG_RUNTIME_DIR=$(mktemp -d)
    export XDG_RUNTIME_DIR
    trap 'rm -rf "$XDG_RUNTIME_DIR"' EXIT
fi

say "measuring"
"$target/rust/release/wgccl-peers" run ${programs[@]+"${programs[@]}"} ${options[@]+"${options[@]}"}
