# For scripts that need the node stopped and started again: stop [SIGNAL], again [OPTIONS].
stop() {
    local p; p=$(cat "$TMP_DIR/pid")
    kill "${1:--TERM}" "$p"
    for _ in $(seq 1 400); do kill -0 "$p" 2>/dev/null || return 0; sleep 0.05; done
    echo "the node does not end"; return 1
}
again() {
    : >"$TMP_DIR/out"
    "$MAIN" "$@" "$STATE" "$M" >"$TMP_DIR/out" 2>>"$TMP_DIR/err" &
    echo $! >"$TMP_DIR/pid"
    for _ in $(seq 1 200); do grep -q mounted "$TMP_DIR/out" && return 0; sleep 0.05; done
    tail -3 "$TMP_DIR/err"; return 1
}
