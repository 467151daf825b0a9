# Sourced by rl.sbatch and eval.sbatch: one Ray cluster over the job's nodes, at $RAY_ADDRESS. RAY names its command.
# It ends with the job, whose nodes it runs on.
HEAD=${HEAD:-$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)}
RAY_ADDRESS=$HEAD:${RAY_PORT:-6379}
# A token of the job's own: nobody else on the cluster's network can use this Ray.
RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}
export RAY_ADDRESS RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
# One step over all nodes. Ray starts where it can reach the head, so that the others try until the head is there.
# shellcheck disable=SC2016 # expanded on each node
srun --overlap bash -c '
    if [ "$SLURM_NODEID" = 0 ]; then exec "$RAY" start --head --port="${RAY_ADDRESS##*:}" --block; fi
    until "$RAY" start --address="$RAY_ADDRESS" --block; do sleep 2; done' > "ray-$SLURM_JOB_ID.log" 2>&1 &
for _ in $(seq "${RAY_WAIT:-60}"); do
    nodes=$("$RAY" status --address="$RAY_ADDRESS" 2> /dev/null | grep -c ' node_' || true)
    [ "$nodes" -ge "$SLURM_JOB_NUM_NODES" ] && break
    sleep 2
done
if [ "$nodes" -lt "$SLURM_JOB_NUM_NODES" ]; then
    echo "Ray has $nodes of $SLURM_JOB_NUM_NODES nodes; see ray-$SLURM_JOB_ID.log" >&2
    exit 1
fi
