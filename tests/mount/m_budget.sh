#!/usr/bin/env bash
# Back-pressure and limits: with a budget of 24 MiB a big copy is slow at worst, never refused, and stays in it; a quota is EDQUOT.
# mount_main: -b 24 -q 300000000
set -u
fail() { echo "m_budget: $*"; exit 1; }
. "$(dirname "$0")/again.sh"
M=$1
head -c 100000000 /dev/urandom >"$TMP_DIR/big"
cp "$TMP_DIR/big" "$M/share/a" & cp "$TMP_DIR/big" "$M/share/b" &
truncate -s 100G "$M/share/sparse" || fail "sparse"
wait
cmp "$TMP_DIR/big" "$M/share/a" || fail "a differs"
cmp "$TMP_DIR/big" "$M/share/b" || fail "b differs"
sync "$M/share/a" "$M/share/b" || fail "sync"
total=$(($(stat -f -c '%b * %S' "$M" | sed 's/ //g')))
[ $total -le 301000000 ] || fail "df does not show the quota: $total"
for i in 1 2 3; do
    { head -c 1000000 /dev/urandom; cat "$TMP_DIR/big"; } >"$M/share/c$i" 2>"$TMP_DIR/why" && sync "$M/share/c$i" 2>>"$TMP_DIR/why" || break
done
head -c 120000000 /dev/urandom >"$M/share/d" 2>"$TMP_DIR/why2"; sync "$M/share/d" 2>>"$TMP_DIR/why2"
head -c 120000000 /dev/urandom >"$M/share/e" 2>>"$TMP_DIR/why2"; sync "$M/share/e" 2>>"$TMP_DIR/why2"
grep -q "Disk quota exceeded" "$TMP_DIR/why" "$TMP_DIR/why2" || fail "no EDQUOT: $(cat "$TMP_DIR/why" "$TMP_DIR/why2")"
cmp "$TMP_DIR/big" "$M/share/a" || fail "a was damaged"
rm "$M"/share/c* "$M/share/d" "$M/share/e" "$M/share/b"
for _ in $(seq 1 100); do echo after >"$M/share/after" 2>/dev/null && break; sleep 0.1; done
[ "$(cat "$M/share/after")" = after ] || fail "no writing after room was made"
stop || fail "stop"
peak=$(sed -n 's/.*budget peak \([0-9]*\) KiB/\1/p' "$TMP_DIR/err" | tail -1)
[ "$peak" -le $((24 * 1024 + 2048)) ] || fail "the budget was exceeded: $peak KiB"
again || fail "start"
exit 0
