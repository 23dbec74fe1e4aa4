#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Many real programs on share/, by hand: the table in ARCHITECTURE.md, "What it withstands".
#   TEST_TIMEOUT=3000 tests/mount/run build/dev/mount/mount_main tests/mount/programs.sh [as a test of a mount]
#   tests/mount/programs.sh DIR     in any other folder, to compare with
# ONLY='git vim' runs some. What they need: packages.txt, [programs]. Prints a line each: name, pass or FAIL, last words.
set -u
dir=$1
[ -d "$dir/share" ] && dir=$dir/share
work=$dir/programs; mkdir "$work" || exit 1
logs=$(mktemp -d)
status=0
one() { # one NAME FUNCTION: in a folder of its own
    [ -z "${ONLY:-}" ] || [[ " $ONLY " == *" $1 "* ]] || return 0
    local tool=${1%%-*}
    case $tool in sqlite) tool=sqlite3 ;; python) tool=${PYTHON:-python3} ;; stress) tool=stress-ng ;; esac
    command -v "$tool" >/dev/null || { printf '%s\tskipped\tno %s\n' "$1" "$tool"; return 0; }
    mkdir -p "$work/$1" && cd "$work/$1" || exit 1
    if ("${@:2}") >"$logs/$1" 2>&1; then printf '%s\tpass\t%ss\n' "$1" $SECONDS
    else printf '%s\tFAIL\t%s\n' "$1" "$(tail -3 "$logs/$1" | tr '\n' ' ' | cut -c1-300)"; status=1; [ -z "${KEEP:-}" ] || cp "$logs/$1" "$KEEP/"; fi
    cd / && rm -rf "${work:?}/$1" || { printf '%s\tFAIL\trm -rf\n' "$1"; status=1; }
    SECONDS=0
}

run_git() {
    set -e
    export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
    git init -q r; cd r; cp -rL /usr/share/doc/git x; git add .; git commit -qm one
    for i in $(seq 30); do echo "$i" >>x/f; git add x/f; git commit -qm "$i"; done
    git branch b HEAD~10; git gc -q --aggressive; git fsck --strict --full; git clone -q . ../c; git clone -q --no-hardlinks . ../d
    git worktree add -q ../w b; (cd ../w; echo w >w; git add w; git commit -qm w); git merge -q -m m b; git worktree remove ../w
    git stash list; git mv x y; git commit -qm mv; git rebase -q HEAD~3; git status --porcelain; git repack -adq; git fsck --full
    [ -z "$(git status --porcelain)" ]; (cd ../c; git pull -q; git fsck --full); diff -r --exclude=.git ../r ../c
}
sql() { # sql JOURNAL: a load like speedtest1's, and a second process that reads meanwhile
    set -e
    for i in $(seq 20); do sqlite3 -cmd '.timeout 60000' t.db 'select count(*) from sqlite_master' >/dev/null 2>&1; sleep 0.1; done &
    sqlite3 -bail -cmd '.timeout 60000' t.db "pragma journal_mode=$1; pragma mmap_size=${2:-0};
      create table t1(a integer primary key, b integer, c text); create table t2(a integer, b integer, c text);
      begin; with recursive n(x) as (select 1 union all select x+1 from n where x<50000)
        insert into t1 select x, abs(random())%100000, hex(randomblob(40)) from n; commit;
      insert into t2 select * from t1; create index i1 on t1(b); create index i2 on t2(b, c);
      begin; update t1 set c=c||'x' where b between 1000 and 40000; delete from t2 where a%7=0; commit;
      begin; delete from t1; rollback; savepoint s; delete from t1 where a<1000; rollback to s; release s;
      alter table t2 add column d; vacuum; analyze; select sum(length(c)) from t1; reindex;"
    for i in $(seq 100); do sqlite3 -cmd '.timeout 60000' t.db "insert into t2 values($i, 1, 'y', null)"; done
    wait; [ "$(sqlite3 t.db 'pragma integrity_check; select count(*) from t1')" = "$(printf 'ok\n50000')" ]
}
run_rsync() {
    set -e
    local src=/usr/share/doc
    rsync -a --exclude='*/*/*' $src/ one; [ -z "$(rsync -ain --exclude='*/*/*' $src/ one | grep -v '/$')" ]
    head -c 5000000 /dev/urandom >big; cp big big2; printf changed | dd of=big2 bs=1 seek=3333333 conv=notrunc status=none
    rsync -a --inplace --no-whole-file big2 big; cmp big big2
    rsync -a --partial --append-verify one/ two; rsync -aX --delete --backup --suffix=.old one/ two; diff -r --no-dereference one two
}
run_tar() {
    set -e
    mkdir a; cp -rL /usr/share/doc/libc6 /usr/share/common-licenses a; ln -s common-licenses a/link; truncate -s 3M a/sparse
    chmod 700 a/libc6; tar cf t.tar a; mkdir x; tar xpf t.tar -C x; diff -r a x/a; tar df t.tar
    tar czf t.tgz a; tar cSf s.tar a; mkdir y; tar xzf t.tgz -C y; tar xSf s.tar -C y; diff -r a y/a; [ "$(stat -c %a%Y a/libc6)" = "$(stat -c %a%Y y/a/libc6)" ]
}
run_unzip() {
    set -e
    cp -rL /usr/share/common-licenses a; python3 -m zipfile -c t.zip a; unzip -q t.zip -d x; diff -r a x/a; unzip -tq t.zip; unzip -oq t.zip -d x
}
run_vim() {
    set -e
    for copy in yes no auto; do for backup in backup nobackup; do for write in writebackup nowritebackup; do
        echo one >f; chmod 640 f; ln -sf f l
        vim -u NONE -N -es -c "set backupcopy=$copy $backup $write undofile swapfile undodir=." -c '1s/one/two/' -c wq f
        [ "$(cat f)" = two ]; [ "$(stat -c %a f)" = 640 ]
        vim -u NONE -N -es -c "set backupcopy=$copy $backup $write" -c '1s/two/three/' -c wq l
        [ "$(cat f)" = three ]; [ -z "$(ls .*.sw? 2>/dev/null)" ]
    done; done; done
}
run_cpython() { # run_cpython MODULE
    export TMPDIR=$PWD
    "${PYTHON:-python3}" -m test --tempdir "$PWD" -v "$1"
}
run_fio() { # run_fio ENGINE OPTION…
    fio --name=v --directory="$PWD" --size=24M --rw=randwrite --bsrange=512-128k --verify=crc32c --verify_fatal=1 --do_verify=1 \
        --end_fsync=1 --ioengine="$1" --numjobs=2 "${@:2}"
}
run_stress() { # run_stress STRESSOR
    stress-ng --"$1" 2 --timeout 3 --temp-path "$PWD" --verify --verbose
}
run_dbench() { dbench -t 8 -D "$PWD" 4; }

one git run_git
for j in delete truncate persist wal; do one sqlite-$j sql $j; done
one sqlite-wal-mmap sql wal 100000000
one rsync run_rsync; one tar run_tar; one unzip run_unzip; one vim run_vim
for m in os shutil tempfile pathlib mmap fileio io glob zipfile tarfile; do one python-$m run_cpython test_$m; done
one fio-psync run_fio psync; one fio-mmap run_fio mmap; one fio-pvsync2 run_fio pvsync2 --fsync=50; one fio-libaio run_fio libaio --iodepth=8
one fio-direct run_fio psync --direct=1 --bsrange=4k-128k; one fio-posixaio run_fio posixaio --iodepth=4; one fio-io_uring run_fio io_uring --iodepth=8
one fio-append run_fio psync --rw=write --file_append=0 --overwrite=0
# the class `filesystem`, without those that do not use the folder (bind-mount, binderfs, procfs), and some more
for s in ${STRESSORS:-access chattr chdir chmod chown copy-file dentry dir dirdeep dirmany dnotify dup eventfd fallocate fanotify fcntl fiemap \
    file-ioctl filename flock fpunch fsize fstat getdent handle hdd inode-flags inotify io iomix ioprio lease link locka lockf lockofd mknod \
    open readahead rename revio seek sendfile symlink sync-file touch utime verity xattr}; do one "stress-$s" run_stress "$s"; done
one dbench run_dbench
rmdir "$work"; rm -rf "$logs"
exit $status
