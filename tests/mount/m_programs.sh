#!/usr/bin/env bash
# Programs that people use: git, sqlite, rsync, tar, an editor's save, a database of many small files.
set -u
here=$(cd "$(dirname "$0")" && pwd)
fail() { echo "m_programs: $*"; exit 1; }
cd "$1/share" && mkdir work && cd work || fail "mkdir"
src=/usr/share/doc/libc6; [ -d $src ] || src=/usr/share/common-licenses
cp -rL $src plain && diff -r $src plain || fail "cp -r"
if command -v git >/dev/null; then
    (git init -q repo && cd repo && cp -rL $src x && git add . &&
        git -c user.name=a -c user.email=a@b commit -qm one && git gc -q && git fsck --strict >/dev/null) || fail "git"
fi
if command -v sqlite3 >/dev/null; then
    for mode in delete wal; do
        got=$(sqlite3 $mode.db "pragma journal_mode=$mode; create table t(a,b);
            with recursive c(x) as (select 1 union all select x+1 from c where x<5000) insert into t select x, hex(randomblob(50)) from c;
            begin; delete from t where a%3=0; rollback; pragma integrity_check; select count(*) from t;" | tr '\n' ' ')
        [ "$got" = "$mode ok 5000 " ] || fail "sqlite $mode: $got"
    done
fi
if command -v rsync >/dev/null; then
    rsync -a $src/ rs/ && [ -z "$(rsync -ain --delete $src/ rs/ | grep -v '/$')" ] || fail "rsync"
fi
tar cf t.tar plain && mkdir un && tar xf t.tar -C un && diff -r plain un/plain || fail "tar"
# an editor's save: write aside, keep a backup, rename
echo one >doc; cp doc doc~; echo two >.doc.swp; mv .doc.swp doc; [ "$(cat doc doc~ | tr '\n' ' ')" = "two one " ] || fail "save"
for i in $(seq 1 300); do echo "$i" >"small$i"; done; cat small* | sort -n | cmp - <(seq 1 300) || fail "small files"
rm -rf plain repo un || fail "rm -r"
# and those of programs.sh that are fast
ONLY="git sqlite-wal rsync tar unzip vim" "$here/programs.sh" "$1" || fail "programs.sh"
exit 0
