#!/usr/bin/env bash
# kill -9 at any moment: what was fsynced is there, names are whole files (old or new), the next start repairs the mount.
set -u
fail() { echo "m_crash: $*"; exit 1; }
. "$(dirname "$0")/again.sh"
M=$1
head -c 3000000 /dev/urandom >"$TMP_DIR/a"; head -c 2500000 /dev/urandom >"$TMP_DIR/b"
cp "$TMP_DIR/a" "$M/share/synced"; sync "$M/share/synced" || fail "sync"
mkdir "$M/share/dir"; echo kept >"$M/share/dir/f"; sync "$M/share/dir/f" "$M/share/dir"
for round in 1 2 3; do
    (while :; do cp "$TMP_DIR/b" "$M/share/tmp" && mv "$M/share/tmp" "$M/share/moved"; done 2>/dev/null) &
    writer=$!
    sleep 0.7
    kill -9 "$(cat "$TMP_DIR/pid")"
    kill -9 $writer 2>/dev/null; wait $writer 2>/dev/null
    mountpoint -q "$M" 2>/dev/null; ls "$M" >/dev/null 2>&1 && fail "the dead mount answers"
    again || fail "start after kill -9, round $round"
    cmp "$TMP_DIR/a" "$M/share/synced" || fail "a synced file is damaged"
    [ "$(cat "$M/share/dir/f")" = kept ] || fail "a synced small file is damaged"
    if [ -e "$M/share/moved" ]; then cmp "$TMP_DIR/b" "$M/share/moved" || [ ! -s "$M/share/moved" ] || fail "a mix"; fi
done
# taken away from outside
umount -l "$M" || fail "umount"
for _ in $(seq 1 100); do kill -0 "$(cat "$TMP_DIR/pid")" 2>/dev/null || break; sleep 0.05; done
kill -0 "$(cat "$TMP_DIR/pid")" 2>/dev/null && fail "an outside unmount was not noticed"
again || fail "start after unmount"
"$MAIN" "$TMP_DIR/state2" "$M" >/dev/null 2>"$TMP_DIR/second" && fail "a second mount on the same place"
grep -q "mounted" "$TMP_DIR/second" || fail "no sentence: $(cat "$TMP_DIR/second")"
exit 0
