#!/usr/bin/env bash
# Bits that rot in the data file while the node is down: reads give the right bytes (a peer has them) or EBADMSG, never wrong ones.
# ROT_ROUNDS (2), ROT_SEED (random, printed on failure).
set -u
seed=${ROT_SEED:-$RANDOM}
fail() { echo "m_rot: $* (ROT_SEED=$seed)"; exit 1; }
. "$(dirname "$0")/again.sh"
M=$1
mkdir -p "$TMP_DIR/plain/sub"
head -c 9000000 /dev/urandom >"$TMP_DIR/plain/big"
for i in $(seq 1 40); do head -c $((i * 700 + 2100)) /dev/urandom >"$TMP_DIR/plain/sub/f$i"; done
cp -r "$TMP_DIR/plain" "$M/share/d" && sync "$M/share/d/big" || fail "cp"
stop || exit 1
cp -r "$STATE" "$STATE.peer"
# rot N: flips N random bits inside the bytes of files, wherever in the store's files they lie; prints the files that were hit
rot() {
    python3 - "$STATE" "$TMP_DIR/plain" "$1" "$2" <<'PY'
import os, random, sys
state, plain, count, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(seed)
files = sorted(os.path.join(d, f) for d, _, names in os.walk(plain) for f in names)
images = {}
for d, _, names in os.walk(state):
    for n in names:
        if n == "data.mdb" or n.startswith("segment-"):
            with open(os.path.join(d, n), "rb") as f:
                images[f.name] = f.read()
hit = set()
while len(hit) < count:
    path = rng.choice(files)
    with open(path, "rb") as p:
        content = p.read()
    begin = rng.randrange(0, len(content), 1 << 20)
    piece = content[begin:begin + (1 << 20)]
    place, data = max((image.find(piece), name) for name, image in images.items())
    assert place >= 0, f"{path} at {begin} is nowhere in one piece"
    at = place + rng.randrange(len(piece))
    with open(data, "r+b") as f:
        f.seek(at)
        f.write(bytes([images[data][at] ^ (1 << rng.randrange(8))]))
    hit.add(os.path.relpath(path, plain))
print("\n".join(sorted(hit)))
PY
}
for round in $(seq 1 "${ROT_ROUNDS:-2}"); do
    [ "$round" = 1 ] || stop || exit 1
    rm -rf "$STATE" && cp -r "$STATE.peer" "$STATE"
    hit=$(rot 6 $((seed + round))) || fail "rot"
    again -o || fail "start"
    (cd "$TMP_DIR/plain" && find . -type f | cut -c3-) >"$TMP_DIR/names"
    while read -r name; do
        if grep -qxF "$name" <<<"$hit"; then
            out=$(cat "$M/share/d/$name" 2>&1 >"$TMP_DIR/got") && fail "$name was read, and is damaged"
            case $out in *"Bad message"*) ;; *) fail "$name: $out" ;; esac
            cmp -s "$TMP_DIR/got" <(head -c "$(stat -c %s "$TMP_DIR/got")" "$TMP_DIR/plain/$name") || fail "wrong bytes of $name"
        else
            cmp "$M/share/d/$name" "$TMP_DIR/plain/$name" || fail "$name is not damaged"
        fi
    done <"$TMP_DIR/names"
    # a copy that is made again mends what it has the bytes of
    first=$(head -1 <<<"$hit")
    cp "$TMP_DIR/plain/$first" "$M/share/again" && cmp "$M/share/d/$first" "$TMP_DIR/plain/$first" || fail "$first is not mended by a copy"
    stop || exit 1
    # one that has them is asked, first for what is missing by now, then for what is found damaged only now
    again -p "$STATE.peer" || fail "second start"
    diff -r "$TMP_DIR/plain" "$M/share/d" || fail "not repaired"
    stop || exit 1
    hit=$(rot 6 $((seed + 1000 + round))) || fail "rot"
    again -p "$STATE.peer" || fail "third start"
    diff -r "$TMP_DIR/plain" "$M/share/d" || fail "not repaired on the way"
done
exit 0
