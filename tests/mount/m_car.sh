#!/usr/bin/env bash
# ipfs/<cid>.car: a file of the true size before anything of it was read, the same bytes whether held or fetched, at any offset.
set -u
fail() { echo "m_car: $*"; exit 1; }
. "$(dirname "$0")/again.sh"
cid() { getfattr --only-values -n user.p2p.cid "$1"; }
M=$1
mkdir -p "$M/share/d/sub"
head -c 3500000 /dev/urandom >"$M/share/d/big"
cp "$M/share/d/big" "$M/share/d/sub/again" # a block is in the CAR once
for i in $(seq 1 300); do echo "file $i" >"$M/share/d/sub/f$i"; done
d=$(cid "$M/share/d")
car=$M/ipfs/$d.car
size=$(stat -c %s "$car") || fail "stat"
[ "$size" -gt 3500000 ] && [ "$size" -lt 3700000 ] || fail "size $size: the big file is in it once"
cat "$car" >"$TMP_DIR/whole" || fail "cat"
[ "$(stat -c %s "$TMP_DIR/whole")" = "$size" ] || fail "st_size is not true"
tar -C "$M/ipfs" -cf - "$d.car" | tar -xOf - | cmp - "$TMP_DIR/whole" || fail "tar"
# 1 root: a2 65 "roots" 81 d8 2a … 67 "version" 01
head -c 8 "$TMP_DIR/whole" | tail -c 7 | cmp - <(printf '\xa2\x65roots' | head -c 7) || fail "no CAR header"
python3 - "$car" "$TMP_DIR/whole" <<'PY' || fail "a part differs"
import os, random, sys
random.seed(1)
f, whole = os.open(sys.argv[1], os.O_RDONLY), open(sys.argv[2], "rb").read()
for _ in range(300):
    at, n = random.randrange(len(whole) + 10), random.choice((1, 40, 4096, 70000, 1200000))
    if os.pread(f, n, at) != whole[at:at + n]: print(at, n); sys.exit(1)
PY
[ "$(stat -c '%a %A' "$car")" = "444 -r--r--r--" ] || fail "mode"
out=$( (echo x >"$car") 2>&1); case $out in *"Read-only file system"*) ;; *) fail "write: $out" ;; esac
out=$(rm "$car" 2>&1 </dev/null); case $out in *"Read-only file system"*) ;; *) fail "rm: $out" ;; esac
out=$(stat "$M/ipfs/x$d.car" 2>&1); case $out in *"No such file"*) ;; *) fail "not a CID: $out" ;; esac
[ "$(ls "$M/ipfs" | grep -c car)" = 0 ] || fail "it is listed"
cp "$car" "$M/share/copy.car" && cmp "$M/share/copy.car" "$TMP_DIR/whole" || fail "cp into share/"

# Every block comes from a peer
stop
mv "$STATE" "$STATE.peer"
again -p "$STATE.peer" -d 10 || fail "second start"
[ "$(stat -c %s "$M/ipfs/$d.car")" = "$size" ] || fail "size of what has to be fetched"
cmp "$M/ipfs/$d.car" "$TMP_DIR/whole" || fail "fetched, it differs"
stop
rm -rf "$STATE"
again -p "$STATE.peer" -d 10 || fail "third start"
cmp "$M/ipfs/$d.car" "$TMP_DIR/whole" || fail "read before its size was asked"

# Nobody has it: a deadline, and Ctrl-C
stop
again -o || fail "fourth start"
absent=bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy
out=$(stat "$M/ipfs/$absent.car" 2>&1); case $out in *"Network is unreachable"*) ;; *) fail "offline: $out" ;; esac

# A DAG whose index does not fit into its part of the budget is refused, not swallowed: 16 MiB / 8
stop
rm -rf "$STATE"
again -b 16 || fail "fifth start"
mkdir "$M/share/many" && (cd "$M/share/many" && for i in $(seq 1 34); do mkdir $i; for j in $(seq 1 1000); do echo "$i $j" >$i/$j; done; done)
out=$(stat "$M/ipfs/$(cid "$M/share/many").car" 2>&1); case $out in *"File too large"*) ;; *) fail "huge: $out" ;; esac

# Indexes that do not fit all together: whoever reads gets the memory, also while the others are open
mkdir -p "$M/share/1/2/3/4" && (cd "$M/share/many" && mv {1..17} ../1/2/3/4) || fail "mv"
cars=(); for d in 1 1/2 1/2/3 1/2/3/4; do cars+=("$M/ipfs/$(cid "$M/share/$d").car"); done
exec 3<"${cars[0]}" 4<"${cars[1]}" 5<"${cars[2]}" 6<"${cars[3]}"
for fd in 3 4 5 6 3; do timeout 30 head -c 100000 <&$fd >"$TMP_DIR/part" || fail "one beside others that are open"; done
exec 3<&- 4<&- 5<&- 6<&-
pids=(); for c in "${cars[@]}"; do timeout 60 cat "$c" >/dev/null & pids+=($!); done
for p in "${pids[@]}"; do wait "$p" || fail "all at the same time"; done
exit 0
