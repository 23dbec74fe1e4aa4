#!/usr/bin/env bash
# Extended attributes as programs see them: ls asks for labels and ACLs once, not for every file; copies that keep attributes work.
set -u
fail() { echo "m_xattr: $*"; exit 1; }
asked() { awk '$1=="getxattr"{n=$2} END{print n+0}' "$M/.p2p/requests"; }
cd "$M/share" && mkdir in || fail mkdir
for i in $(seq 50); do echo "$i" >"in/$i"; done
ln -s 1 in/link
before=$(asked); ls -l in >/dev/null || fail ls; after=$(asked)
[ $((after - before)) -le 4 ] || fail "ls -l of 50 files asked for $((after - before)) attributes"

# out of share/ and into it, by all who keep attributes
cp -a in "$TMP_DIR/copy" && diff -r in "$TMP_DIR/copy" || fail "cp -a out"
cp -a "$TMP_DIR/copy" back && diff -r in back || fail "cp -a in"
[ "$(stat -c %y in/7)" = "$(stat -c %y back/7)" ] || fail "cp -a: times"
tar --xattrs --xattrs-include='*' --selinux -cf "$TMP_DIR/t.tar" in || fail "tar --xattrs"
mkdir un && said=$(tar --xattrs --xattrs-include='*' -xf "$TMP_DIR/t.tar" -C un 2>&1) && diff -r in un/in || fail "tar --xattrs -x"
[ -z "$said" ] || fail "tar --xattrs -x: $said"
if command -v rsync >/dev/null; then
    rsync -aX in/ "$TMP_DIR/rs" && diff -r in "$TMP_DIR/rs" || fail "rsync -aX out"
    rsync -aX "$TMP_DIR/rs/" rs && diff -r in rs || fail "rsync -aX in"
    rsync -aX in/ within && diff -r in within || fail "rsync -aX within"
fi
exit 0
