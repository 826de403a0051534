#!/usr/bin/env bash
# Installs what the tests need and runs all of them; .ci/run runs the checks as well.
#
#   ./tests/run.sh              all tests
#   ./tests/run.sh miri tsan    only these steps, of: tests pages python torch pure mpi mpi-long loom miri tsan fmt clippy docs deny msrv targets
#   ./tests/run.sh --sanitize   random schedules under ThreadSanitizer and AddressSanitizer
#
# Asks for a password only where packages are missing and the user is not root. What this machine cannot have is skipped,
# counted and listed at the end. WGCCL_REQUIRE_GPU=1 makes an absent device a failure, WGCCL_REQUIRE_STEPS=1 an absent tool.
set -euo pipefail
cd "$(dirname "$0")/.."

ran=()
skipped=()
step=

say() { printf '\n== %s\n' "$*"; }

skip() {
    say "skipped: $*"
    [ "${WGCCL_REQUIRE_STEPS:-}" != 1 ] || exit 1
    skipped+=("$*")
}

# Runs a step. Not in a condition, where a failing command would not end it.
run() {
    local start=$SECONDS
    step=$1
    "$@"
    ran+=("$(took $((SECONDS - start)))  $step")
    step=
}

took() { printf '%3d min %02d s' $(($1 / 60)) $(($1 % 60)); }

summary() {
    say "summary"
    [ ${#ran[@]} = 0 ] || printf '%s\n' "${ran[@]}"
    [ ${#skipped[@]} = 0 ] || { echo "skipped ${#skipped[@]}:" && printf '  %s\n' "${skipped[@]}"; }
    [ -z "$step" ] || echo "failed: $step"
    echo "$(took $SECONDS)  in all"
    echo "steps: ${#ran[@]} passed, $([ -z "$step" ] && echo 0 || echo 1) failed, ${#skipped[@]} skipped"
}

# --- What the tests need ---

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

has_apt() { [ "$(uname -s)" = Linux ] && command -v apt-get >/dev/null; }

# Reads all of the list: with pipefail an early end of grep would look like a library that is absent.
has_library() { PATH=$PATH:/sbin:/usr/sbin ldconfig -p | grep -c "$1" >/dev/null; }

# Software devices: lavapipe (Vulkan) and llvmpipe (GL) from Mesa, and the SPIR-V validator.
packages() {
    local missing=()
    ls /usr/share/vulkan/icd.d/lvp_icd*.json >/dev/null 2>&1 || missing+=(mesa-vulkan-drivers)
    has_library 'libvulkan\.so\.1' || missing+=(libvulkan1)
    has_library 'libEGL\.so\.1' || missing+=(libegl1)
    has_library 'libEGL_mesa\.so\.0' || missing+=(libegl-mesa0 libgl1-mesa-dri)
    ls /usr/lib/*/dri/swrast_dri.so >/dev/null 2>&1 || missing+=(libgl1-mesa-dri)
    command -v spirv-val >/dev/null || missing+=(spirv-tools)
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    { as_root apt-get update -q && as_root apt-get install -q -y --no-install-recommends "${missing[@]}"; } ||
        echo "could not be installed"
}

# A second Vulkan driver: SwiftShader lies in Debian's chromium packages. It is taken out, nothing is installed.
swiftshader=target/swiftshader
fetch_swiftshader() {
    [ ! -f $swiftshader/libvk_swiftshader.so ] || return 0
    say "fetching SwiftShader"
    local fetched
    fetched=$(mktemp -d)
    mkdir -p $swiftshader
    [ -n "$(apt-cache policy chromium-common 2>/dev/null | grep -E 'Candidate: [0-9]')" ] || as_root apt-get update -q || true
    if (cd "$fetched" && apt-get -q -o APT::Sandbox::User=root download chromium-common); then
        dpkg-deb --fsys-tarfile "$fetched"/*.deb | tar -x -C $swiftshader --strip-components=4 \
            ./usr/lib/chromium/libvk_swiftshader.so ./usr/lib/chromium/vk_swiftshader_icd.json ||
            echo "this package holds no SwiftShader"
    else
        echo "could not be fetched"
    fi
    rm -rf "$fetched"
}

# The loader is told of SwiftShader beside the drivers that it finds by itself.
name_drivers() {
    [ -f $swiftshader/vk_swiftshader_icd.json ] || return 0
    local drivers=$PWD/$swiftshader/vk_swiftshader_icd.json icd
    for icd in /usr/share/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json; do
        [ ! -f "$icd" ] || drivers=$drivers:$icd
    done
    export VK_DRIVER_FILES=$drivers VK_ICD_FILENAMES=$drivers
}

devices() {
    if has_apt; then
        packages
        fetch_swiftshader
    fi
    name_drivers
    # Mesa complains on stderr where no desktop session has set it.
    export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$(mktemp -d)}
}

# Whether there is this toolchain with these components, if need be after an installation.
toolchain() {
    local name=$1 component
    shift
    command -v rustup >/dev/null || return 1
    cargo "+$name" --version >/dev/null 2>&1 || rustup toolchain install "$name" --profile minimal || return 1
    for component in "$@"; do
        rustup component list --toolchain "$name" --installed | grep -c "^$component" >/dev/null ||
            rustup component add "$component" --toolchain "$name" || return 1
    done
}

# --- Tests ---

tests() {
    say "all tests"
    devices
    cargo test --no-run
    local log main failed=0 others=()
    for main in tests/*/main.rs cli/tests/*/main.rs; do
        [ "$main" = tests/device/main.rs ] || others+=(--test "$(basename "$(dirname "$main")")")
    done
    # Beside the others: one test at a time has the devices, and leaves a core idle.
    log=$(mktemp)
    cargo test --test device >"$log" 2>&1 &
    local pid=$!
    cargo test --lib --bins --examples "${others[@]}" || failed=$?
    cargo test --doc || failed=$?
    wait $pid || failed=$?
    cat "$log"
    rm "$log"
    [ $failed = 0 ]
    # Which devices they ran on. Of the same packages, or their dependencies would be built with other features.
    local line
    while read -r line; do
        case $line in
        "device skipped: "*) skip "device: ${line#device skipped: }" ;;
        "devices tested: "*) ran+=("               $line") ;;
        esac
    done < <(cargo test --quiet --test device devices::summary -- --nocapture 2>/dev/null)
    command -v spirv-val >/dev/null || skip "SPIR-V of the shaders: there is no spirv-val (package spirv-tools)"
}

# What `wgccl show --html` writes, in a browser.
pages() {
    say "pages in headless Chromium"
    if has_apt; then
        local missing=()
        command -v node >/dev/null && command -v npm >/dev/null || missing+=(nodejs npm)
        [ -n "${WGCCL_CHROMIUM:-}" ] || command -v chromium >/dev/null || missing+=(chromium)
        [ ${#missing[@]} = 0 ] || { as_root apt-get update -q && as_root apt-get install -q -y --no-install-recommends "${missing[@]}"; } ||
            echo "could not be installed"
    fi
    local status=0
    ./tests/show/run.sh || status=$?
    case $status in
    0) ;;
    77) skip "pages: there is no node or no chromium" ;;
    *) return $status ;;
    esac
}

# Whether there is a Python that the package is for, in which `venv` works.
has_python() {
    "$1" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

# Installs the package as users do, from a wheel, into an environment: $1.
wheel() {
    rm -rf "$1"/wheels
    # What is published is optimised as a whole; that would take longer than all of these tests.
    (cd python && CARGO_TARGET_DIR=$PWD/../target/python-build CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
        "../$1/bin/maturin" build --release --locked --out "../$1/wheels")
    "$1"/bin/python -m pip install --quiet --force-reinstall --no-deps "$1"/wheels/wgccl-*.whl
}

# The package outside of the tree, with what its tests need beside it.
python() {
    local version=${WGCCL_PYTHON:-python3} environment=target/python
    if has_apt && ! has_python "$version"; then
        { as_root apt-get update -q && as_root apt-get install -q -y --no-install-recommends python3 python3-venv; } ||
            echo "could not be installed"
    fi
    has_python "$version" || { skip "Python: there is no Python 3.10 or newer with venv" && return; }
    say "the Python package"
    has_apt && devices
    [ -x $environment/bin/python ] || "$version" -m venv $environment
    $environment/bin/python -m pip install --quiet --upgrade maturin pytest mypy numpy ml_dtypes pandas ||
        { skip "Python: its packages cannot be had" && return; }
    wheel $environment
    (cd python/tests && ../../$environment/bin/python -m pytest)
    (cd python && ../$environment/bin/mypy)
    # Of what is installed: beside the sources there is nothing that could be imported.
    (cd $environment && bin/python -m mypy.stubtest --mypy-config-file ../../python/pyproject.toml --allowlist ../../python/tests/stubtest.txt wgccl)
}

# The backend of torch.distributed. torch is large, so it is installed only from an index that is named: WGCCL_TORCH_INDEX.
torch() {
    local version=${WGCCL_PYTHON:-python3} environment=target/torch
    has_python "$version" || { skip "torch: there is no Python 3.10 or newer with venv" && return; }
    [ -x $environment/bin/python ] || "$version" -m venv $environment
    $environment/bin/python -c "import torch" 2>/dev/null ||
        { [ -n "${WGCCL_TORCH_INDEX:-}" ] && $environment/bin/python -m pip install --quiet torch --index-url "$WGCCL_TORCH_INDEX"; } ||
        { skip "torch: it is not in $environment; install it there, or name an index of small wheels in WGCCL_TORCH_INDEX" && return; }
    say "torch.distributed with backend wgccl"
    $environment/bin/python -m pip install --quiet --upgrade maturin pytest numpy ml_dtypes ||
        { skip "torch: packages of its tests cannot be had" && return; }
    wheel $environment
    (cd python/tests && ../../$environment/bin/python -m pytest test_torch.py test_process.py::test_tensors_of_torch "test_pages.py::test_examples_run[ddp]")
}

pure() {
    say "the pure library, without GPU"
    cargo test -p wgccl --no-default-features --lib
    cargo test -p wgccl --no-default-features --test pure -- algorithms:: collectives:: cpu::
}

# Several processes, under the MPI that is installed, else Open MPI. Builds find an MPI by `mpicc`.
mpi() {
    if has_apt; then
        local missing=()
        command -v mpicc >/dev/null || missing+=(openmpi-bin libopenmpi-dev)
        ls /usr/lib/llvm-*/lib/libclang.so* >/dev/null 2>&1 || missing+=(libclang-dev)
        command -v ip >/dev/null || missing+=(iproute2)
        [ ${#missing[@]} = 0 ] || { as_root apt-get update -q && as_root apt-get install -q -y --no-install-recommends "${missing[@]}"; } ||
            echo "could not be installed"
    fi
    command -v mpicc >/dev/null && command -v mpirun >/dev/null || { skip "MPI: there is no mpicc or no mpirun" && return; }
    say "several processes, $(mpirun --version | head -1)"
    cargo test -p wgccl-mpi
    cargo clippy -p wgccl-mpi --no-deps --all-targets -- -D warnings
    cargo clippy -p wgccl-cli --no-deps --features mpi -- -D warnings
}

# The program over processes, and the same tests under MPICH, beside another MPI: for what they show, both take long to build.
mpi-long() {
    say "the program over processes"
    cargo build -p wgccl-cli --features mpi
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun -n 4 --oversubscribe \
        target/debug/wgccl run --ranks 16 --algorithm hierarchical --device cpu | grep "4096 of 4096 elements equal the golden"
    cargo test -p wgccl-cli --features mpi --test cli -- processes::
    if has_apt && ! command -v mpirun.mpich >/dev/null; then
        { as_root apt-get update -q && as_root apt-get install -q -y --no-install-recommends mpich libmpich-dev libclang-dev; } ||
            echo "could not be installed"
    fi
    { command -v mpicc.mpich && command -v mpirun.mpich; } >/dev/null || { skip "MPICH: it is not there beside another MPI" && return; }
    say "several processes, MPICH"
    MPICC=mpicc.mpich WGCCL_MPIRUN=mpirun.mpich cargo test -p wgccl-mpi --test processes --target-dir target/mpich
}

loom() {
    say "notify and wait of the CPU executor under loom"
    RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom CARGO_PROFILE_TEST_OPT_LEVEL=1 CARGO_PROFILE_TEST_DEBUG=0 \
        cargo test -p wgccl --no-default-features --lib -- cpu::signal cpu::rest cpu::gate
}

# Two processes, because one uses one core.
miri() {
    toolchain nightly miri rust-src || { skip "Miri: there is no nightly Rust with miri and rust-src" && return; }
    say "the CPU executor under Miri"
    cargo +nightly miri setup
    cargo +nightly miri test -p wgccl --no-default-features --lib --test pure --no-run
    local log executor=0
    log=$(mktemp)
    cargo +nightly miri test -p wgccl --no-default-features --test pure -- cpu:: placed::communicators >"$log" 2>&1 &
    local pid=$!
    cargo +nightly miri test -p wgccl --no-default-features --lib -- cpu::
    wait $pid || executor=$?
    cat "$log"
    rm "$log"
    return $executor
}

# The tests named by the last arguments, with a sanitizer built into them and into the standard library. Leaks are not
# looked for: that needs rights which containers lack, and Miri does it.
sanitized() {
    local sanitizer=$1 target=x86_64-unknown-linux-gnu
    shift
    [ "$(rustc -vV | sed -n 's/^host: //p')" = $target ] || { skip "$sanitizer sanitizer: needs $target" && return; }
    toolchain nightly rust-src || { skip "$sanitizer sanitizer: there is no nightly Rust with rust-src" && return; }
    RUSTFLAGS="-Zsanitizer=$sanitizer --cfg sanitized" CARGO_TARGET_DIR=target/$sanitizer CARGO_PROFILE_TEST_OPT_LEVEL=1 \
        TSAN_OPTIONS=allocator_may_return_null=1 ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=0 \
        cargo +nightly test -Zbuild-std --target $target -p wgccl --no-default-features --lib --test pure -- "$@"
}

# What is streamed past the caches by `movntdq` is unseen; the fences of `rest` are unknown to it but publish nothing, so there
# is nothing to be suppressed.
tsan() {
    say "the CPU executor under ThreadSanitizer"
    sanitized thread cpu::
}

# By `--sanitize` only: random schedules, under both.
sanitize() {
    say "the oracle and the CPU executor under ThreadSanitizer and AddressSanitizer"
    sanitized thread cpu:: soak::
    sanitized address cpu:: soak::
}

# --- Checks ---

fmt() {
    say "formatting"
    cargo fmt --all --check
    cargo fmt --manifest-path python/Cargo.toml --check
}

# All features of the library with all that there is, then every feature by itself, and none. `cargo hack` cannot: in a root with
# default members it means all of these.
clippy() {
    local features feature
    features=$(sed -n '/^\[features\]/,/^\[/s/^\([a-z][a-z0-9_-]*\) *=.*/\1/p' Cargo.toml | grep -vx default)
    say "lints"
    cargo clippy --all-targets --features "$(printf 'wgccl/%s ' $features)" -- -D warnings
    for feature in "" $features; do
        say "lints of the library with ${feature:-no feature}"
        cargo clippy -p wgccl --all-targets --no-default-features --features "$feature" -- -D warnings
    done
    say "lints of the Python package"
    CARGO_TARGET_DIR=target/python-build cargo clippy --manifest-path python/Cargo.toml -- -D warnings
    CARGO_TARGET_DIR=target/python-build cargo clippy --manifest-path python/Cargo.toml --no-default-features -- -D warnings
}

docs() {
    say "documentation"
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
}

# Built fast: it runs for seconds.
deny() {
    cargo deny --version >/dev/null 2>&1 ||
        CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 cargo install cargo-deny --locked --debug || { skip "licences, versions and sources of dependencies: there is no cargo-deny" && return; }
    say "dependencies"
    cargo deny --workspace --all-features check bans licenses sources
    (cd python && cargo deny --all-features check bans licenses sources)
    if cargo deny fetch db >/dev/null 2>&1; then
        cargo deny --workspace --all-features check advisories
        (cd python && cargo deny --all-features check advisories)
    else
        skip "advisories: their database cannot be fetched"
    fi
}

msrv() {
    local version
    version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    toolchain "$version" || { skip "the oldest Rust: $version cannot be had" && return; }
    say "the oldest Rust, $version"
    cargo "+$version" check
    cargo "+$version" check --manifest-path python/Cargo.toml --no-default-features
}

# Whether there is the standard library for this target, if need be after an installation.
has_target() {
    rustup target list --installed 2>/dev/null | grep -c "^$1$" >/dev/null || rustup target add "$1" ||
        { skip "target $1 cannot be had" && return 1; }
}

# Types only, of what is published and its program: nothing is linked, and dependencies of tests that are C are left out.
# Two targets at once, because the last crates of one take one core.
targets() {
    local target program=()
    for target in x86_64-pc-windows-gnu aarch64-apple-darwin; do
        ! has_target $target || program+=(--target $target)
    done
    say "types on other systems"
    [ ${#program[@]} = 0 ] || cargo check -p wgccl -p wgccl-cli "${program[@]}"
    ! has_target wasm32-unknown-unknown || cargo check -p wgccl --target wasm32-unknown-unknown
}

[ $# -gt 0 ] || set -- tests pages python pure mpi loom miri tsan
for name in "$@"; do
    case $name in
    tests | pages | python | torch | pure | mpi | mpi-long | loom | miri | tsan | fmt | clippy | docs | deny | msrv | targets | --sanitize) ;;
    *) echo "there is no step $name; there are tests pages python torch pure mpi mpi-long loom miri tsan fmt clippy docs deny msrv targets" >&2 && exit 2 ;;
    esac
done
trap summary EXIT
for name in "$@"; do run "${name#--}"; done
