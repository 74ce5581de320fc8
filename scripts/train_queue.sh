#!/bin/sh
# Train members one after the other on one core; each resumes from its last checkpoint, a failure does not stop the rest.
# Usage: scripts/train_queue.sh rcan_dn_none rcan_dn_ca "rcan_dn_none train.training_seed=1" ...
# Survive the shell: setsid nohup scripts/train_queue.sh ... > outputs/train/queue.log 2>&1 &
cd "$(dirname "$0")/.." || exit 1
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" PYTHONPATH=.
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1  # large pages for the memory that a step uses again
for member in "$@"; do
    # shellcheck disable=SC2086  # a member may carry overrides
    ${PYTHON:-python} scripts/train.py +train=$member || echo "FAILED: $member"
done
