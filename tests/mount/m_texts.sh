#!/usr/bin/env bash
# Text and command files: true sizes, JSON twins, snapshots, commands, refusals, petnames, ping.
set -u
fail() { echo "m_texts: $*"; exit 1; }
soon() { for _ in $(seq 1 200); do eval "$1" 2>/dev/null && return; sleep 0.05; done; return 1; } # names are remembered for a second
M=$1
for f in README status .p2p/ctl .p2p/limits .p2p/events peers/12D3KooWAAAA/status; do
    [ "$(stat -c %s "$M/$f")" = "$(wc -c <"$M/$f")" ] || fail "size of $f"
    python3 -c 'import json,sys; json.load(open(sys.argv[1]))' "$M/$f.json" || fail "$f.json"
done
ls -A "$M" "$M/.p2p" "$M/peers/12D3KooWAAAA" | grep -q json && fail "twins are listed"
[ "$(ls -A "$M" | tr '\n' ' ')" = ".p2p README ipfs peers share status streams " ] || fail "root: $(ls -A "$M")"
python3 - "$M" <<'PY' || fail "json"
import json, sys
s = json.load(open(sys.argv[1] + "/peers/bob/status.json"))
assert s["address"] == ["/ip4/10.0.0.1", "/ip4/10.0.0.2"], s
assert json.load(open(sys.argv[1] + "/peers/bob/ledger.json")) == {"sent": 1, "received": 2}
events = [e["event"] for e in json.load(open(sys.argv[1] + "/.p2p/events.json"))]
assert events.count("node.started") == 1 and events[0] == "node.started", events
PY
python3 - "$M/.p2p/requests" <<'PY' || fail "a text changes while it is read"
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
parts = [os.read(fd, 40)]
for _ in range(30): # it counts these
    os.stat(sys.argv[1]), os.close(os.open(sys.argv[1], os.O_RDONLY))
parts.append(os.read(fd, 100000))
whole = b"".join(parts)
assert os.fstat(fd).st_size == len(whole) and os.pread(fd, 100000, 0) == whole
assert open(sys.argv[1], "rb").read() != whole
PY
mkdir "$TMP_DIR/copy" && cp "$M/status" "$TMP_DIR/copy/" && [ -s "$TMP_DIR/copy/status" ] || fail "cp of a text"
tar cf - -C "$M" README 2>/dev/null | tar tvf - | grep -q " $(wc -c <"$M/README") " || fail "tar of a text"
out=$(tar cf "$TMP_DIR/tar" -C "$M" README .p2p/ctl .p2p/events peers/12D3KooWAAAA/ctl streams/forward/ctl 2>&1)
[ -z "$out" ] || fail "tar says of what did not change: $out"
python3 - "$M/status" <<'PY' || fail "O_RDONLY | O_TRUNC of a text"
import os, sys
try:
    os.open(sys.argv[1], os.O_RDONLY | os.O_TRUNC)
    sys.exit(1)
except PermissionError:
    pass
PY
echo echo hello >"$M/.p2p/ctl" || fail "a command"
printf 'echo hello' >"$M/.p2p/ctl" || fail "a command without newline"
out=$( (echo nonsense >"$M/.p2p/ctl") 2>&1) && fail "nonsense was taken"
case $out in *"Permission denied"*) ;; *) fail "refusal: $out" ;; esac
[ "$(getfattr --only-values -n user.p2p.error "$M/.p2p/ctl")" = "no such command: nonsense" ] || fail "user.p2p.error"
(echo upload 1M >"$M/.p2p/limits") 2>/dev/null # "limits upload 1M": this test's node does not know it
[ "$(getfattr --only-values -n user.p2p.error "$M/.p2p/limits")" = "no such command: limits upload 1M" ] || fail "limits"
# a command file has no times and no length of its own: nothing is done about them in silence
touch "$M/.p2p/ctl" 2>/dev/null && fail "touch of a command file"
touch -c "$M/README" 2>/dev/null && fail "touch of a text"
truncate -s 5 "$M/.p2p/ctl" 2>/dev/null && fail "truncate of a command file"
chmod 777 "$M/.p2p/ctl" 2>/dev/null && fail "chmod of a command file"
truncate -s 0 "$M/.p2p/ctl.json" 2>/dev/null && fail "truncate of what takes no lines"
truncate -s 0 "$M/.p2p/ctl" && : >"$M/.p2p/ctl" || fail "a shell's >"
[ "$(cat "$M/peers/12D3KooWAAAA/ping")" = "$(printf 'rtt\t0.42 ms')" ] || fail "ping"
[ "$(readlink "$M/peers/bob")" = 12D3KooWBBBB ] || fail "petname"
ln -s 12D3KooWAAAA "$M/peers/alice" || fail "ln -s"
soon '[ "$(cat "$M/peers/alice/status" | head -1)" = "$(printf "state\tconnected")" ]' || fail "through the petname"
ls "$M/peers" | grep -qx alice || fail "petname is not listed"
mv "$M/peers/alice" "$M/peers/ann" || fail "mv of a petname"
soon 'ls "$M/peers" | grep -qx ann' || fail "the new petname is not listed"
[ "$(readlink "$M/peers/ann")" = 12D3KooWAAAA ] || fail "the new petname leads elsewhere"
soon '! ls "$M/peers" | grep -qx alice' || fail "the old petname stays"
mv -T "$M/peers/ann" "$M/peers/bob" 2>/dev/null && fail "mv over another's petname"
mv -T "$M/peers/12D3KooWAAAA" "$M/peers/carl" 2>/dev/null && fail "mv of an id"
rm "$M/peers/ann" || fail "rm of a petname"
soon '[ ! -e "$M/peers/ann" ]' || fail "petname stays"
[ "$(stat -c %Y "$M/peers/12D3KooWBBBB")" = 1700000001 ] || fail "last seen"
# a command that is never answered is let go by Ctrl-C
(timeout -s INT 1 bash -c 'echo stuck >"$1"' - "$M/.p2p/ctl") 2>/dev/null
for _ in $(seq 1 200); do n=$(grep -vc '^#' "$M/.p2p/waiting"); [ "$n" = 0 ] && break; sleep 0.05; done
[ "$n" = 0 ] || fail "a stuck command waits on"
exit 0
