#!/usr/bin/env bash
# One run of trivmap that outlives the walltime: sbatch job.sh CARD DIR
#
# The run starts as `trivmap run CARD --out DIR`. Shortly before the walltime ends, Slurm sends SIGTERM to this script.
# The script passes it on, trivmap saves everything and ends, and the job goes back to the queue. The next time
# the run continues as `trivmap run --resume DIR`, until it is finished. The node needs no network.
#
# VENV names the virtual environment (default: .venv in the directory where you call sbatch).

#SBATCH --job-name=trivmap
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out

set -u
if [ $# -ne 2 ]; then
    echo "job.sh: call it as sbatch job.sh CARD DIR" >&2
    exit 2
fi
card=$1 directory=$2
PATH=${VENV:-.venv}/bin:$PATH
threads=${SLURM_CPUS_PER_TASK:-1}
export PATH OMP_NUM_THREADS="$threads" OPENBLAS_NUM_THREADS="$threads" NPROC="$threads"

# SIGTERM may come at any moment, even before trivmap has started.
child='' told=''
pass_on() {
    told=yes
    if [ -n "$child" ]; then kill -TERM "$child" 2>/dev/null; fi
}
trap pass_on TERM

if [ -d "$directory" ]; then
    trivmap run --resume "$directory" &
else
    trivmap run "$card" --out "$directory" --set "threads=$threads" &
fi
child=$!
if [ -n "$told" ]; then kill -TERM "$child" 2>/dev/null; fi

# A signal ends `wait` early: wait until no signal came meanwhile.
while told='' && { wait "$child"; code=$?; } && [ -n "$told" ]; do :; done

# 0: finished. 143: ended by SIGTERM, everything is saved. All other codes need a person.
if [ "$code" -ne 143 ]; then exit "$code"; fi
# A job that somebody cancelled gets SIGTERM, too, and is no longer running: it stays cancelled.
state=$(scontrol show job "${SLURM_JOB_ID:-}" 2>/dev/null | grep -o 'JobState=[A-Z_]*')
if [ "${state:-JobState=RUNNING}" != JobState=RUNNING ]; then exit "$code"; fi
echo "job.sh: the walltime is over; the run continues in the next job"
# A requeued job keeps its number and options. Where the cluster forbids that, a new job is submitted.
scontrol requeue "${SLURM_JOB_ID:-}" || sbatch "$0" "$card" "$directory"
