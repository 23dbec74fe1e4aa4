/* SPDX-License-Identifier: MIT
 *
 * The LMDB environment. The map is reserved once, as large as the file system (address space only: the file grows as it is
 * used), because growing a map under readers would need them all to stop. Readahead stays on: a cold block of 1 MiB is read
 * through the map, and MADV_RANDOM (MDB_NORDAHEAD) would read it page by page.
 *
 * LMDB trusts its file, so what can be checked cheaply is checked before it is mapped: the meta pages, all others
 * (index_rebuild.h), and that the file reaches as far as they say. A file may end before its last page when the pages there
 * were freed before they were ever written; any other missing page means that the file was cut off. What cannot be read later
 * is seen by mapfault.h. */
#include "store/block/store_internal.h"

#include "store/base/log.h"
#include "store/base/mapfault.h"
#include "store/block/fault.h"
#include "store/block/index_rebuild.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MAP_LEAST    (UINT64_C(64) << 20)
#define MAP_USUAL    (UINT64_C(64) << 30) /* also on a small file system: it may grow */
#define MAP_MOST     (UINT64_C(16) << 40)
#define BALLAST_SIZE (1 << 20)

static const struct {
    const char *name;
    unsigned flags;
} databases[STORE_DBS] = {
    [DB_INFO] = {"info", 0},       [DB_BLOCKS] = {"blocks", 0}, [DB_ROWS] = {"rows", 0},        [DB_LRU] = {"lru", 0},
    [DB_WANTED] = {"wanted", 0},   [DB_PINS] = {"pins", 0},     [DB_LIVE_QUEUE] = {"liveq", 0}, [DB_HELD_QUEUE] = {"heldq", 0},
    [DB_EXTENTS] = {"extents", 0}, [DB_PLACES] = {"places", 0}, [DB_DEAD] = {"dead", 0},
};

int store_error(int code)
{
    switch (code) {
    case 0:
        return 0;
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_MAP_FULL:
        return ERR_NO_SPACE;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return ERR_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return ERR_VERSION;
    case MDB_DBS_FULL:
    case MDB_READERS_FULL:
        return ERR_LIMIT;
    case MDB_TXN_FULL:
        return ERR_TOO_BIG;
    case MDB_BAD_VALSIZE:
    case MDB_BAD_DBI:
    case MDB_INCOMPATIBLE:
        return ERR_INVALID;
    default:
        return code > 0 ? err_from_errno(code) : ERR_IO; /* MDB_PANIC, MDB_BAD_TXN: an earlier write failed */
    }
}

/* LMDB finds out that a page is damaged, or was not there (mapfault.h), by a condition that does not hold, and ends the process
 * unless this does not return. While something is only looked up nothing is half done: there it goes back to who asked. */
static _Thread_local jmp_buf *asked;

static void on_assert(MDB_env *mdb, const char *text)
{
    static struct log_limit limit;
    char path[PATH_MAX];
    const char *dir;
    if (mdb_env_get_path(mdb, &dir) == 0) { /* the next start looks at all of it */
        (void)snprintf(path, sizeof path, "%s/" INDEX_SUSPECT, dir);
        index_suspect(path);
    }
    log_limited(&limit, "store.damaged", "lmdb=\"%s\" next=\"p2p down; p2p up: the index is written anew\"", text);
    if (asked)
        longjmp(*asked, 1);
}

int index_get(MDB_txn *mdb, MDB_dbi db, MDB_val *k, MDB_val *v)
{
    jmp_buf here;
    asked = &here;
    int rc = setjmp(here) == 0 ? mdb_get(mdb, db, k, v) : MDB_CORRUPTED;
    asked = NULL;
    return rc;
}

int index_move(MDB_cursor *c, MDB_val *k, MDB_val *v, MDB_cursor_op op)
{
    jmp_buf here;
    asked = &here;
    int rc = setjmp(here) == 0 ? mdb_cursor_get(c, k, v, op) : MDB_CORRUPTED;
    asked = NULL;
    return rc;
}

/* ---- the meta pages (64-bit layout: 16 bytes of page header, then the meta) ---- */

#define META_MAGIC    UINT32_C(0xBEEFC0DE)
#define META_MAGIC_AT 16
#define META_PSIZE_AT 40
#define META_ROOT0_AT 80
#define META_ROOT1_AT 128
#define META_LAST_AT  136
#define META_TXN_AT   144
#define META_READ     152

static bool meta_sane(const uint8_t *m, uint32_t psize)
{
    uint32_t magic, page;
    memcpy(&magic, m + META_MAGIC_AT, 4);
    memcpy(&page, m + META_PSIZE_AT, 4);
    return magic == META_MAGIC && page == psize;
}

/* Only of the one that counts: LMDB leaves the other half new, half old after a failed write. */
static bool roots_sane(const uint8_t *m, uint32_t psize)
{
    uint64_t roots[2], last;
    memcpy(&roots[0], m + META_ROOT0_AT, 8);
    memcpy(&roots[1], m + META_ROOT1_AT, 8);
    memcpy(&last, m + META_LAST_AT, 8);
    return last <= UINT64_MAX / psize - 1 && (roots[0] == UINT64_MAX || roots[0] <= last) &&
           (roots[1] == UINT64_MAX || roots[1] <= last);
}

static uint64_t meta_txn(const uint8_t *m)
{
    uint64_t txn;
    memcpy(&txn, m + META_TXN_AT, 8);
    return txn;
}

/* 0: fine, or not there yet. Only native 64-bit files are looked into; others are LMDB's to judge. */
static int check_metas(const char *path, struct why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : why_set(why, err_from_errno(errno), "cannot open %s: %s", path, strerror(errno));
    uint8_t first[META_READ], second[META_READ];
    ssize_t got = pread(fd, first, sizeof first, 0);
    uint32_t psize = 0;
    bool sane = true;
    if (got == (ssize_t)sizeof first && sizeof(void *) == 8) {
        memcpy(&psize, first + META_PSIZE_AT, 4);
        sane = psize >= 512 && psize <= 65536 && (psize & (psize - 1)) == 0 && meta_sane(first, psize) &&
               pread(fd, second, sizeof second, psize) == (ssize_t)sizeof second && meta_sane(second, psize) &&
               roots_sane(meta_txn(first) > meta_txn(second) ? first : second, psize);
    } else if (got != 0) {
        sane = sizeof(void *) != 8;
    }
    close(fd);
    if (!sane)
        return why_set(why, ERR_CORRUPT, "%s is not a block store or its first pages are damaged", path);
    return 0;
}

/* How many of the pages first … last are free in the newest snapshot */
static int count_free(MDB_env *mdb, uint64_t first, uint64_t last, uint64_t *ret)
{
    MDB_txn *txn;
    MDB_cursor *c = NULL;
    uint64_t count = 0;
    int rc = mdb_txn_begin(mdb, NULL, MDB_RDONLY, &txn);
    if (rc)
        return rc;
    MDB_val k, v;
    rc = mdb_cursor_open(txn, 0, &c); /* 0: the list of free pages: each value is a count and as many page numbers */
    for (MDB_cursor_op op = MDB_FIRST; rc == 0 && (rc = index_move(c, &k, &v, op)) == 0; op = MDB_NEXT) {
        size_t n = v.mv_size / sizeof(size_t);
        for (size_t i = 1; i < n; i++) {
            size_t page;
            memcpy(&page, (const uint8_t *)v.mv_data + i * sizeof page, sizeof page);
            count += page >= first && page <= last;
        }
    }
    if (c)
        mdb_cursor_close(c);
    mdb_txn_abort(txn);
    *ret = count;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int check_length(struct store_env *e, struct why *why)
{
    MDB_envinfo info;
    MDB_stat stat;
    int fd;
    struct stat st;
    mdb_env_info(e->mdb, &info);
    mdb_env_stat(e->mdb, &stat);
    if (mdb_env_get_fd(e->mdb, &fd) != 0 || fstat(fd, &st) != 0)
        return why_set(why, ERR_IO, "cannot look at %s/data.mdb: %s", e->dir, strerror(errno));
    uint64_t want = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    if ((uint64_t)st.st_size >= want)
        return 0;
    uint64_t first = (uint64_t)st.st_size / stat.ms_psize, free_pages = 0;
    if (ftruncate(fd, (off_t)want) != 0) /* a hole; so that looking cannot fault */
        return why_set(why, store_error(errno), "cannot extend %s/data.mdb: %s", e->dir, strerror(errno));
    int rc = count_free(e->mdb, first, info.me_last_pgno, &free_pages);
    if (rc == 0 && free_pages == info.me_last_pgno + 1 - first)
        return 0;
    if (ftruncate(fd, st.st_size) != 0) /* refused: left as it was */
        log_warn("store.truncate", "error=\"%s\"", strerror(errno));
    return why_set(why, ERR_CORRUPT, "%s/data.mdb is cut off: %llu bytes of %llu. Restore it, or move it away to start empty",
                   e->dir, (unsigned long long)st.st_size, (unsigned long long)want);
}

/* ---- opening ----
 *
 * MDB_NOMETASYNC: a commit writes its pages, syncs, and writes its meta page, which goes to the disk with the next sync
 * (sync_now in blockstore.c). A power cut loses at most the last commit, never the file: pages are used again two commits after
 * they were freed, and by then the meta page that no longer needs them has been synced. MDB_NOSYNC would not keep that order;
 * tests/unit/store/tree/tree_crash_main.c loses data with it. */

static uint64_t map_size(const char *dir)
{
    struct statvfs fs;
    uint64_t size = MAP_USUAL;
    if (statvfs(dir, &fs) == 0 && (uint64_t)fs.f_blocks * fs.f_frsize > size)
        size = (uint64_t)fs.f_blocks * fs.f_frsize;
    if (size > MAP_MOST)
        size = MAP_MOST;
    if (size > SIZE_MAX / 4) /* 32-bit: a quarter of the address space */
        size = SIZE_MAX / 4;
    return size & ~(uint64_t)0xfffff;
}

/* The data file's name must be as durable as what is in it; LMDB syncs only the file. */
static int sync_folder(const struct store_env *e)
{
    int fd = open(e->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || (fsync(fd) != 0 && errno != EINVAL) ? errno : 0; /* EINVAL: a file system that has no use for it */
    if (fd >= 0)
        close(fd);
    return rc;
}

/* A new file gets its name when its first pages are on the disk: LMDB writes them without a sync, and what it finds in their
 * place after a power cut it does not take for a new file. */
static int make_file(const struct store_env *e, const char *path)
{
    char aside[PATH_MAX + 4];
    MDB_env *mdb;
    (void)snprintf(aside, sizeof aside, "%s.new", path); /* has the room */
    if (unlink(aside) != 0 && errno != ENOENT)           /* of a start that did not come so far */
        return errno;
    int rc = mdb_env_create(&mdb);
    if (rc)
        return rc;
    if ((rc = mdb_env_open(mdb, aside, MDB_NOSUBDIR | MDB_NOLOCK, 0600)) == 0)
        rc = mdb_env_sync(mdb, 1);
    mdb_env_close(mdb);
    if (rc == 0 && rename(aside, path) != 0)
        rc = errno;
    return rc ? rc : sync_folder(e);
}

/* Where LMDB has mapped it, which it does not tell. NULL: not to be found. */
static const void *map_of(MDB_env *mdb)
{
    MDB_envinfo info;
    struct stat st;
    int fd;
    char line[256];
    uintptr_t found = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    if (f && mdb_env_info(mdb, &info) == 0 && mdb_env_get_fd(mdb, &fd) == 0 && fstat(fd, &st) == 0)
        while (!found && fgets(line, sizeof line, f)) {
            uintptr_t from, to;
            unsigned long inode;
            if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %lu", &from, &to, &inode) == 3 && inode == st.st_ino &&
                to - from == info.me_mapsize)
                found = from;
        }
    if (f)
        fclose(f);
    return (const void *)found;
}

static int env_create(struct store_env *e, uint64_t map)
{
    int rc = mdb_env_create(&e->mdb);
    if (rc)
        return rc;
    if ((rc = mdb_env_set_mapsize(e->mdb, (size_t)map)) == 0 &&
        (rc = mdb_env_set_maxdbs(e->mdb, STORE_DBS + BLOCKSTORE_RECORD_DBS)) == 0 &&
        (rc = mdb_env_set_maxreaders(e->mdb, READERS_MAX + 8)) == 0 && (rc = mdb_env_set_assert(e->mdb, on_assert)) == 0)
        rc = mdb_env_open(e->mdb, e->dir, MDB_NOTLS | MDB_NOMETASYNC, 0600);
    const void *at = rc == 0 ? map_of(e->mdb) : NULL;
    if (at)
        e->watch = mapfault_watch(at, (size_t)map);
    if (rc)
        store_env_close(e);
    return rc;
}

/* A format newer than ours is found before anything is written. */
static int check_format(struct store_env *e, struct why *why)
{
    MDB_txn *txn;
    MDB_dbi info;
    int rc = mdb_txn_begin(e->mdb, NULL, MDB_RDONLY, &txn);
    if (rc)
        return why_set(why, store_error(rc), "cannot read %s: %s", e->dir, mdb_strerror(rc));
    MDB_val key = store_val(span_str("format")), val;
    rc = mdb_dbi_open(txn, "info", 0, &info);
    if (rc == 0)
        rc = index_get(txn, info, &key, &val);
    uint32_t format = 0;
    if (rc == 0 && val.mv_size == sizeof format)
        memcpy(&format, val.mv_data, sizeof format);
    else if (rc == 0)
        rc = MDB_CORRUPTED;
    mdb_txn_abort(txn);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return why_set(why, store_error(rc), "%s/data.mdb is damaged: %s", e->dir, mdb_strerror(rc));
    if (format > STORE_FORMAT)
        return why_set(why, ERR_VERSION, "%s was written by a newer version (block format %u, this program knows %u)", e->dir,
                       (unsigned)format, STORE_FORMAT);
    return 0;
}

static int open_databases(struct store_env *e, struct why *why)
{
    MDB_txn *txn;
    unsigned long faults = mapfault_count();
    int rc = mdb_txn_begin(e->mdb, NULL, 0, &txn);
    if (rc)
        return why_set(why, store_error(rc), "cannot write to %s: %s", e->dir, mdb_strerror(rc));
    for (int i = 0; i < STORE_DBS && rc == 0; i++)
        rc = mdb_dbi_open(txn, databases[i].name, databases[i].flags | MDB_CREATE, &e->db[i]);
    for (unsigned i = 0; i < e->record_count && rc == 0; i++) {
        MDB_dbi dbi;
        rc = mdb_dbi_open(txn, e->records[i].name, e->records[i].flags | MDB_CREATE, &dbi);
        assert(rc || dbi == e->records[i].dbi); /* LMDB gives handles in the order of opening */
    }
    uint32_t format = STORE_FORMAT;
    MDB_val key = store_val(span_str("format")), val = {sizeof format, &format}, had;
    if (rc == 0 && (index_get(txn, e->db[DB_INFO], &key, &had) != 0 || had.mv_size != val.mv_size ||
                    memcmp(had.mv_data, val.mv_data, val.mv_size) != 0)) /* new, or older: that one is a part of this */
        rc = mdb_put(txn, e->db[DB_INFO], &key, &val, 0);
    if (mapfault_count() != faults)
        rc = EIO;
    if (rc) {
        mdb_txn_abort(txn);
    } else {
        rc = fault_point();
        rc = rc ? (mdb_txn_abort(txn), rc) : mdb_txn_commit(txn);
    }
    return rc ? why_set(why, store_error(rc), "cannot set up %s: %s", e->dir, mdb_strerror(rc)) : 0;
}

static int env_open(struct store_env *e, struct why *why)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/data.mdb", e->dir); /* dir leaves room */
    bool is_new = access(path, F_OK) != 0;
    int r = check_metas(path, why);
    bool rebuilt = false;
    if (r || (r = index_examine(e->dir, &rebuilt, why)))
        return r;
    if (rebuilt)
        atomic_store(&e->rebuilt, true);
    uint64_t map = map_size(e->dir);
    int rc = is_new ? make_file(e, path) : 0;
    if (rc == 0)
        rc = env_create(e, map);
    while (rc == ENOMEM && map / 2 >= MAP_LEAST) /* a limit on address space */
        rc = env_create(e, map /= 2);
    if (rc)
        return why_set(why, store_error(rc), "cannot open the block store in %s: %s", e->dir, mdb_strerror(rc));
    if ((r = check_length(e, why)) == 0 && (r = check_format(e, why)) == 0)
        r = open_databases(e, why);
    if (r)
        store_env_close(e);
    return r;
}

int store_env_open(struct store_env *e, const char *dir, struct why *why)
{
    size_t len = strlen(dir);
    if (len >= sizeof e->dir)
        return why_set(why, ERR_NAME_LONG, "the path of the block store is too long");
    memcpy(e->dir, dir, len + 1);
    e->record_count = 0;
    atomic_store(&e->rebuilt, false);
    atomic_store(&e->suspect, false);
    return env_open(e, why);
}

void store_env_close(struct store_env *e)
{
    mapfault_unwatch(e->watch);
    e->watch = NULL;
    if (e->mdb)
        mdb_env_close(e->mdb);
    e->mdb = NULL;
}

void store_env_mend(struct store_env *e)
{
    int fd;
    if (mapfault_any(e->watch) && mdb_env_get_fd(e->mdb, &fd) == 0)
        mapfault_mend(e->watch, fd);
}

int store_env_reopen(struct store_env *e, struct why *why)
{
    MDB_dbi before[STORE_DBS];
    memcpy(before, e->db, sizeof before);
    store_env_close(e);
    int r = env_open(e, why);
    assert(r || memcmp(before, e->db, sizeof before) == 0);
    return r;
}

bool store_env_panicked(const struct store_env *e)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(e->mdb, NULL, MDB_RDONLY, &txn);
    if (rc == 0)
        mdb_txn_abort(txn);
    return rc == MDB_PANIC;
}

int store_env_record_db(struct store_env *e, MDB_txn *mdb, const char *name, unsigned flags, MDB_dbi *ret)
{
    unsigned i = 0;
    while (i < e->record_count && strcmp(e->records[i].name, name) != 0)
        i++;
    if (i == BLOCKSTORE_RECORD_DBS || strlen(name) >= sizeof e->records[i].name)
        return ERR_LIMIT;
    int rc =
        mdb_dbi_open(mdb, name, flags | MDB_CREATE, ret); /* again also when known: the first transaction may have failed */
    if (rc)
        return store_error(rc);
    struct record_db *r = &e->records[i];
    memcpy(r->name, name, strlen(name) + 1);
    r->flags = flags;
    r->dbi = *ret;
    e->record_count += i == e->record_count;
    return 0;
}

/* ---- figures and ballast ---- */

uint64_t store_env_file_bytes(const struct store_env *e)
{
    int fd;
    struct stat st;
    if (!e->mdb || mdb_env_get_fd(e->mdb, &fd) != 0 || fstat(fd, &st) != 0)
        return 0;
    return (uint64_t)st.st_blocks * 512;
}

uint64_t store_env_free_bytes(const struct store_env *e, uint64_t unknown)
{
    struct statvfs fs;
    return statvfs(e->dir, &fs) == 0 && fs.f_blocks > 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : unknown;
}

static void ballast_path(const struct store_env *e, char path[PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/ballast", e->dir); /* dir leaves room */
}

void store_ballast_make(const struct store_env *e)
{
    char path[PATH_MAX];
    ballast_path(e, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return; /* no room even for that: the next refresh tries again */
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_size < BALLAST_SIZE && posix_fallocate(fd, 0, BALLAST_SIZE) != 0)
        (void)unlink(path); /* half a ballast helps nobody */
    close(fd);
}

bool store_ballast_burn(const struct store_env *e)
{
    char path[PATH_MAX];
    ballast_path(e, path);
    return unlink(path) == 0;
}
