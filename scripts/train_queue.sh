#!/bin/sh
# Train members one after the other on one core; each resumes from its last checkpoint, a failure does not stop the rest.
# Usage: scripts/train_queue.sh rcan_dn_none rcan_dn_ca "rcan_dn_none train.seed=1" ...
# Survive the shell: setsid nohup scripts/train_queue.sh ... > outputs/train/queue.log 2>&1 &
cd "$(dirname "$0")/.." || exit 1
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" PYTHONPATH=.
# glibc keeps freed memory, in large pages: a step needs the same again (SwinIR 1.9 -> 2.2 steps a second, RCAN 10.4 -> 11.4)
export MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=17179869184 GLIBC_TUNABLES=glibc.malloc.hugetlb=1
for member in "$@"; do
    # shellcheck disable=SC2086  # a member may carry overrides
    ${PYTHON:-python} scripts/train.py +train=$member || echo "FAILED: $member"
done
