#!/usr/bin/env bash
# All-reduce over processes, as examples/speed.rs times it: 2 and 4 processes of 4 ranks by this crate and by hand, 8 and 16
# processes by MPI alone, in turn. Prints a table of medians of the runs' medians, in microseconds.
#
#   mpi/examples/speed.sh [RUNS]
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=${1:-5}
cargo build --release -p wgccl-mpi --example speed
speed=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/examples/speed
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
for _ in $(seq "$runs"); do
    for run in "2 placed 4" "8 plain" "4 placed 4" "16 plain"; do
        # shellcheck disable=SC2086
        mpirun -n ${run%% *} --oversubscribe "$speed" ${run#* } >>"$lines"
    done
done

# The median of the runs of one kind, one number of processes and one size.
of() {
    sed -n "s/.*\"what\":\"$1\",\"processes\":$2,.*\"bytes\":$3,.*\"median_us\":\([0-9.]*\)}/\1/p" "$lines" | sort -g |
        awk '{ of[NR] = $1 } END { print of[int((NR + 1) / 2)] }'
}
echo "| bytes of a rank | 2 x 4 ranks | by hand | 8 processes of MPI | 4 x 4 ranks | by hand | 16 processes of MPI |"
echo "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
for ((bytes = 1024; bytes <= 64 << 20; bytes *= 4)); do
    echo "| $bytes | $(of placed 2 $bytes) | $(of "by hand" 2 $bytes) | $(of plain 8 $bytes) | $(of placed 4 $bytes) | $(of "by hand" 4 $bytes) | $(of plain 16 $bytes) |"
done
