#!/bin/bash
# Two nodes with eight GPUs each: sbatch configs/slurm.sh run.yaml
# The working folder must lie on a file system that all nodes see.
#SBATCH --job-name=huohou
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
# Five minutes before the end SLURM sends SIGTERM to this script, which passes it on: the run saves and exits with 143.
#SBATCH --requeue

set -u
export MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export MASTER_PORT="$((20000 + SLURM_JOB_ID % 20000))"
export GPUS_PER_NODE="${GPUS_PER_NODE:-8}"

# One torchrun a node; --resume auto begins where there is no run and goes on where there is one.
srun --kill-on-bad-exit=1 bash -c '
  exec torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "$GPUS_PER_NODE" --node-rank "$SLURM_NODEID" \
    --master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT" \
    -m huohou train "$@" --resume auto
' huohou "$@" &
job=$!
trap 'kill -TERM "$job"' TERM
wait "$job"
status=$?
# The first wait ends with the signal, the second one with the run.
if [ "$status" -gt 128 ]; then
  wait "$job"
  status=$?
fi
exit "$status"
