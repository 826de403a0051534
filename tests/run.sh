#!/usr/bin/env bash
# Installs what the tests need and runs all of them. Asks for a password only where packages are missing and the user is
# not root. A device that cannot be had is skipped and counted; with WGCCL_REQUIRE_GPU=1 that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

# Reads all of the list: with pipefail an early end of grep would look like a library that is absent.
has_library() { PATH=$PATH:/sbin:/usr/sbin ldconfig -p | grep -c "$1" >/dev/null; }

# Software devices: lavapipe (Vulkan) and llvmpipe (GL) from Mesa, and the SPIR-V validator.
packages=()
if [ "$(uname -s)" = Linux ] && command -v apt-get >/dev/null; then
    ls /usr/share/vulkan/icd.d/lvp_icd*.json >/dev/null 2>&1 || packages+=(mesa-vulkan-drivers)
    has_library 'libvulkan\.so\.1' || packages+=(libvulkan1)
    has_library 'libEGL\.so\.1' || packages+=(libegl1)
    has_library 'libEGL_mesa\.so\.0' || packages+=(libegl-mesa0 libgl1-mesa-dri)
    ls /usr/lib/*/dri/swrast_dri.so >/dev/null 2>&1 || packages+=(libgl1-mesa-dri)
    command -v spirv-val >/dev/null || packages+=(spirv-tools)
fi
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
if [ ${#packages[@]} -gt 0 ]; then
    say "installing ${packages[*]}"
    { as_root apt-get update -q && as_root apt-get install -q -y --no-install-recommends "${packages[@]}"; } ||
        echo "could not be installed; the tests that need them are skipped"
fi

# A second Vulkan driver: SwiftShader lies in Debian's chromium packages. It is taken out, nothing is installed.
swiftshader=target/swiftshader
if [ "$(uname -s)" = Linux ] && command -v apt-get >/dev/null && [ ! -f $swiftshader/libvk_swiftshader.so ]; then
    say "fetching SwiftShader"
    fetched=$(mktemp -d)
    mkdir -p $swiftshader
    [ -n "$(apt-cache policy chromium-common 2>/dev/null | grep -E 'Candidate: [0-9]')" ] || as_root apt-get update -q || true
    if (cd "$fetched" && apt-get -q -o APT::Sandbox::User=root download chromium-common); then
        dpkg-deb --fsys-tarfile "$fetched"/*.deb | tar -x -C $swiftshader --strip-components=4 \
            ./usr/lib/chromium/libvk_swiftshader.so ./usr/lib/chromium/vk_swiftshader_icd.json ||
            echo "this package holds no SwiftShader; its tests are skipped"
    else
        echo "could not be fetched; its tests are skipped"
    fi
    rm -rf "$fetched"
fi

# The loader is told of SwiftShader beside the drivers that it finds by itself.
if [ -f $swiftshader/vk_swiftshader_icd.json ]; then
    drivers=$PWD/$swiftshader/vk_swiftshader_icd.json
    for icd in /usr/share/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json; do
        [ -f "$icd" ] && drivers=$drivers:$icd
    done
    export VK_DRIVER_FILES=$drivers VK_ICD_FILENAMES=$drivers
fi
# Mesa complains on stderr where no desktop session has set it.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$(mktemp -d)}

say "all tests"
cargo test

say "the pure crate, without GPU"
cargo test -p wgccl --no-default-features --lib
cargo test -p wgccl --no-default-features --test pure -- algorithms:: collectives:: cpu::

say "notify and wait of the CPU executor under loom"
RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p wgccl --release --no-default-features --lib -- cpu::signal cpu::rest

if cargo +nightly miri --version >/dev/null 2>&1; then
    say "the CPU executor under Miri"
    cargo +nightly miri test -p wgccl --no-default-features --lib cpu::
else
    say "skipped: Miri is not installed (rustup +nightly component add miri)"
fi

say "summary"
cargo test -p wgccl --quiet --test device devices::summary -- --nocapture 2>/dev/null | grep '^devices'
