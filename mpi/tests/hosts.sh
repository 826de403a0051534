#!/usr/bin/env bash
# Runs a command under mpirun on two hosts that are network namespaces of this machine, joined by a virtual cable: messages go
# by TCP, and neither sees the other's loopback. Exits with 77 where the kernel or the user's rights do not allow that.
#
#   mpi/tests/hosts.sh COMMAND...      two processes on each
set -euo pipefail

[ "$(id -u)" = 0 ] || { echo "network namespaces need root" && exit 77; }
command -v ip >/dev/null || { echo "there is no ip (package iproute2)" && exit 77; }
"${WGCCL_MPIRUN:-mpirun}" --version | grep -c "Open MPI" >/dev/null || { echo "only Open MPI's agent is known here" && exit 77; }

a=wgccl-a-$$ b=wgccl-b-$$ agent=$(mktemp)
clean() {
    rm -f "$agent"
    ip netns del "$a" 2>/dev/null || true
    ip netns del "$b" 2>/dev/null || true
}
trap clean EXIT
{ ip netns add "$a" && ip netns add "$b"; } 2>/dev/null || { echo "the kernel allows no network namespaces" && exit 77; }
ip link add "wgccla$$" netns "$a" type veth peer name "wgcclb$$" netns "$b" || { echo "there are no virtual cables" && exit 77; }
ip -n "$a" addr add 10.77.77.1/24 dev "wgccla$$"
ip -n "$b" addr add 10.77.77.2/24 dev "wgcclb$$"
for of in "$a wgccla$$" "$b wgcclb$$"; do
    ip -n "${of% *}" link set lo up
    ip -n "${of% *}" link set "${of#* }" up
done

# In place of ssh: what is to be done on 10.77.77.2 is done in the other namespace, under another name of a host.
cat >"$agent" <<END
#!/usr/bin/env bash
shift
exec ip netns exec $b unshare --uts bash -c 'hostname wgccl-b && exec "\$@"' bash bash -c "\$*"
END
chmod +x "$agent"

env=()
[ -z "${WGCCL_MPI_CASE:-}" ] || env=(-x WGCCL_MPI_CASE)
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
ip netns exec "$a" unshare --uts bash -c 'hostname wgccl-a && exec "$@"' bash \
    "${WGCCL_MPIRUN:-mpirun}" -n 4 --host 10.77.77.1:2,10.77.77.2:2 --oversubscribe --map-by node "${env[@]}" \
    --mca plm_rsh_agent "$agent" --mca oob_tcp_if_include 10.77.77.0/24 --mca btl tcp,self \
    --mca btl_tcp_if_include 10.77.77.0/24 --mca pml ob1 "$@"
