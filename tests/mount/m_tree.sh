#!/usr/bin/env bash
# Whole trees under random operations beside tmpfs (tree_fuzz.c), with a restart of the node after each part.
# TREE_SEED replays, TREE_OPS says how many operations a seed gets, TREE_PARTS between how many restarts.
set -u
fail() { echo "m_tree: $*"; exit 1; }
. "$(dirname "$0")/again.sh"
# Seeds that found something (files without a name, times of changes that keep the bytes), in reverse order of age:
found=(1 120 696805720)
parts=${TREE_PARTS:-3}
[ "$(stat -fc %T /dev/shm)" = tmpfs ] || { echo "skipped: no tmpfs at /dev/shm"; exit 77; }
seeds=("${found[@]}" "$(date +%N | sed 's/^0*//')")
[ -z "${TREE_SEED:-}" ] || seeds=("$TREE_SEED")
for seed in "${seeds[@]}"; do
    reference=$(mktemp -d /dev/shm/p2p-tree.XXXXXX) || fail mktemp
    trap 'rm -rf "$reference"' EXIT
    mkdir "$M/share/$seed" || fail mkdir
    for part in $(seq "$parts"); do
        "$(dirname "$MAIN")/tree_fuzz" "$M/share/$seed" "$reference" $((seed * 1000 + part)) $((${TREE_OPS:-10000} / parts)) ||
            fail "replay: TREE_SEED=$seed TREE_PARTS=$parts TREE_OPS=${TREE_OPS:-10000}"
        stop && again || fail "start again"
    done
    "$(dirname "$MAIN")/tree_fuzz" "$M/share/$seed" "$reference" 0 0 || fail "after the last restart"
    rm -rf "$reference"
done
exit 0
