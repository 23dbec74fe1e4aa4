#!/usr/bin/env bash
# Content that others have: read through ipfs/ after a delay for each block, listed, copied into share/ before it is here.
set -u
fail() { echo "m_remote: $*"; exit 1; }
. "$(dirname "$0")/again.sh"
cid() { getfattr --only-values --absolute-names -n user.p2p.cid "$1"; }
# is "cid local pin state" PATH (getfattr would ask for the size of what is absent, and wait)
is() {
    local got; got=$(python3 -c 'import os, sys
print(*(os.getxattr(sys.argv[1], "user.p2p." + n).decode() for n in ("cid", "local", "pin", "state")))' "$2")
    [ "$got" = "$1" ] || fail "attributes of $2: $got, not $1"
}
M=$1
mkdir -p "$M/share/d/sub/deep"
head -c 20000000 /dev/urandom >"$TMP_DIR/big"
cp "$TMP_DIR/big" "$M/share/d/big"
for i in $(seq 1 30); do echo "file $i" >"$M/share/d/sub/f$i"; done
ln -s ../sub/f1 "$M/share/d/sub/deep/link"
mkdir "$M/share/d/empty"; : >"$M/share/d/zero"
mkdir "$M/share/wide" && (cd "$M/share/wide" && seq -f 'entry-with-a-rather-long-name-%06g' 1 6000 | xargs touch)
mkdir "$TMP_DIR/d" && cp -a "$M/share/d/." "$TMP_DIR/d/"
d=$(cid "$M/share/d") w=$(cid "$M/share/wide") big=$(cid "$M/share/d/big")
[ ${#d} -gt 50 ] && [ ${#w} -gt 50 ] || fail "no CIDs"
is "$big yes yes held" "$M/share/d/big"
is "$d yes yes held" "$M/share/d"
stop
mv "$STATE" "$STATE.peer"
again -p "$STATE.peer" -d 10 || fail "second start"
is "$big partly no partly" "$M/ipfs/$big"
absent=bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e
is "$absent no no absent" "$M/ipfs/$absent"
# who delivered it is asked of the node, which remembers: of what is absent too, without waiting
for path in "$absent" "$big"; do
    [ "$(getfattr --only-values --absolute-names -n user.p2p.source "$M/ipfs/$path.car" 2>/dev/null)" = "" ] || fail "source of a CAR"
    got=$(python3 -c 'import os, sys; print(*(os.getxattr(sys.argv[1], "user.p2p." + n).decode() for n in ("source", "providers")))' "$M/ipfs/$path")
    [ "$got" = "12D3KooWAAAA 12D3KooWAAAA 12D3KooWBBBB" ] || fail "providers: $got"
done
diff -r --no-dereference "$TMP_DIR/d" "$M/ipfs/$d" || fail "the tree differs"
[ "$(ls "$M/ipfs/$w" | sort | md5sum)" = "$(seq -f 'entry-with-a-rather-long-name-%06g' 1 6000 | sort | md5sum)" ] || fail "the wide directory differs"
is "$big yes no held" "$M/ipfs/$big"
[ "$(stat -c %s "$M/ipfs/$d/big")" = 20000000 ] || fail "size"
[ "$(stat -c %i "$M/ipfs/$d/big")" = "$(stat -c %i "$M/ipfs/$big")" ] || fail "one inode per CID"
stop
rm -rf "$STATE"
again -p "$STATE.peer" -d 20 || fail "third start"
cp "$M/ipfs/$big" "$M/share/kept" || fail "cp of what is not here"
[ "$(cid "$M/share/kept")" = "$big" ] || fail "the copy has another CID"
cmp "$TMP_DIR/big" "$M/share/kept" || fail "the copy differs"
# random reads fetch their own chunks only
stop
rm -rf "$STATE"
again -p "$STATE.peer" -d 200 || fail "fourth start"
start=$(date +%s%N)
dd if="$M/ipfs/$big" of="$TMP_DIR/part" bs=1000 count=1 skip=15000 iflag=skip_bytes,fullblock skip=15000000 2>/dev/null || fail "dd"
cmp "$TMP_DIR/part" <(tail -c +15000001 "$TMP_DIR/big" | head -c 1000) || fail "a part differs"
took=$((($(date +%s%N) - start) / 1000000))
[ $took -lt 2500 ] || fail "a seek took $took ms with 200 ms for a block"
start=$(date +%s%N)
cmp "$TMP_DIR/big" "$M/ipfs/$big" || fail "reading ahead"
took=$((($(date +%s%N) - start) / 1000000))
[ $took -lt 2500 ] || fail "20 leaves took $took ms with 200 ms for each: not 8 at a time"
# what a mapping asks for lies across leaves of which one may be here: half of it would be the end of the file to the kernel
stop
rm -rf "$STATE"
again -p "$STATE.peer" -d 10 || fail "start for mappings"
python3 - "$TMP_DIR/big" "$M/ipfs/$big" <<'END' || fail "mapped: what is not here reads wrong"
import mmap, os, random, sys
expected, fd = open(sys.argv[1], "rb").read(), os.open(sys.argv[2], os.O_RDONLY)
size = os.fstat(fd).st_size
places = [place for leaf in range(0, size, 1 << 20) for place in (leaf + 5000, max(0, leaf - 5000))]
random.Random(1).shuffle(places)
with mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ) as m:
    for at in places:
        assert m[at:at + 100] == expected[at:at + 100], at
assert os.fstat(fd).st_size == size == len(expected)
END
stop
rm -rf "$STATE"
again -p "$STATE.peer" -o || fail "fifth start"
start=$(date +%s%N)
out=$(cat "$M/ipfs/$big" 2>&1)
took=$((($(date +%s%N) - start) / 1000000))
[ $took -lt 500 ] || fail "offline took $took ms to say so"
case $out in *"Network is unreachable"*) ;; *) fail "offline: $out" ;; esac
exit 0
