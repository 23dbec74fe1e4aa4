/* SPDX-License-Identifier: MIT */
#include "store/block/index_rebuild.h"

#include "store/base/log.h"
#include "store/block/fault.h"
#include "store/block/store_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES        64 /* of trees that a file may have */
#define COMMIT_BYTES (8u << 20)
#define COMMIT_PUTS  4096u

/* ---- looking ---- */

static int read_file(void *arg, uint64_t at, void *out, size_t len)
{
    ssize_t n;
    do
        n = pread(*(const int *)arg, out, len, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)len ? 0 : ERR_IO;
}

static int open_index(const char *dir, char path[PATH_MAX], struct stat *st, int *ret)
{
    (void)snprintf(path, PATH_MAX, "%s/data.mdb", dir); /* dir leaves room */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : err_from_errno(errno);
    if (fstat(fd, st) != 0) {
        int r = err_from_errno(errno);
        close(fd);
        return r;
    }
    *ret = fd;
    return 0;
}

static int check(int *fd, off_t size, struct index_damage *ret)
{
    struct index_source s = {.arg = fd, .size = (uint64_t)size, .read = read_file};
    return index_pages_check(&s, ret);
}

int index_look(const char *dir, struct index_damage *ret)
{
    char path[PATH_MAX];
    struct stat st;
    int fd = -1, r = open_index(dir, path, &st, &fd);
    if (r)
        return r;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
    r = check(&fd, st.st_size, ret);
    if (r == ERR_CORRUPT && fstat(fd, &st) == 0) /* a first page was just written, or the file grew */
        r = check(&fd, st.st_size, ret);
    close(fd);
    return r;
}

/* ---- writing ---- */

struct rebuild {
    MDB_env *mdb;
    MDB_txn *txn;
    char tree[NAMES]; /* whose handle it is */
    MDB_dbi dbi;
    size_t bytes;
    unsigned puts; /* since the last commit */
};

static int commit(struct rebuild *r)
{
    int rc = r->txn ? fault_point() : 0;
    if (rc == 0 && r->txn) {
        rc = mdb_txn_commit(r->txn);
        r->txn = NULL;
    }
    r->puts = 0;
    r->bytes = 0;
    return rc;
}

static int choose_tree(struct rebuild *r, struct span tree)
{
    if (!r->txn) {
        int rc = mdb_txn_begin(r->mdb, NULL, 0, &r->txn);
        if (rc)
            return rc;
    }
    if (span_eq_str(tree, r->tree))
        return 0;
    memcpy(r->tree, tree.data, tree.len); /* shorter: index_pages.h */
    r->tree[tree.len] = 0;
    return mdb_dbi_open(r->txn, r->tree, MDB_CREATE, &r->dbi);
}

static int put(void *arg, struct span tree, struct span key, struct span value)
{
    struct rebuild *r = arg;
    MDB_val k = store_val(key), v = store_val(value);
    int rc = choose_tree(r, tree);
    if (rc == 0 && (rc = mdb_put(r->txn, r->dbi, &k, &v, MDB_NOOVERWRITE)) == MDB_KEYEXIST)
        rc = 0;
    r->bytes += key.len + value.len;
    if (rc == 0 && (++r->puts == COMMIT_PUTS || r->bytes > COMMIT_BYTES))
        rc = commit(r);
    return store_error(rc);
}

static int write_new(const struct index_source *s, const char *path, struct index_saved *saved)
{
    struct rebuild r = {0};
    int rc = mdb_env_create(&r.mdb), result;
    if (rc)
        return store_error(rc);
    if ((rc = mdb_env_set_mapsize(r.mdb, (size_t)(2 * s->size + INDEX_SMALL))) == 0 &&
        (rc = mdb_env_set_maxdbs(r.mdb, NAMES)) == 0)
        rc = mdb_env_open(r.mdb, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0600);
    result = rc ? store_error(rc) : index_pages_save(s, put, &r, saved);
    if (result == 0 && (rc = commit(&r)) == 0)
        rc = mdb_env_sync(r.mdb, 1);
    if (r.txn)
        mdb_txn_abort(r.txn);
    mdb_env_close(r.mdb);
    return result ? result : store_error(rc);
}

/* The old one has a second name before the new one takes its place: there is no moment without. */
static int take_place(const char *path, const char *aside, const char *kept)
{
    if (unlink(kept) != 0 && errno != ENOENT)
        return err_from_errno(errno);
    if (link(path, kept) != 0)
        return err_from_errno(errno);
    return rename(aside, path) == 0 ? 0 : err_from_errno(errno);
}

static int rebuild(const struct index_source *s, const char *path, const struct index_damage *damage, struct why *why)
{
    char aside[PATH_MAX + 16], kept[PATH_MAX + 16];
    struct index_saved saved = {0};
    (void)snprintf(aside, sizeof aside, "%s.new", path); /* dir leaves room */
    (void)snprintf(kept, sizeof kept, "%s.damaged", path);
    int r = unlink(aside) != 0 && errno != ENOENT ? err_from_errno(errno) : write_new(s, aside, &saved);
    if (r == 0)
        r = take_place(path, aside, kept);
    if (r) {
        (void)unlink(aside);
        return why_set(why, r, "%s is damaged: page %llu %s; it could not be written anew: %s", path,
                       (unsigned long long)damage->page, damage->what, err_text(r));
    }
    log_error("store.rebuilt", "page=%llu damage=\"%s\" entries=%llu skipped=%llu kept=%s next=\"p2p verify --repair\"",
              (unsigned long long)damage->page, damage->what, (unsigned long long)saved.entries,
              (unsigned long long)saved.skipped, kept);
    return 0;
}

/* ---- */

static int examine(int fd, const char *path, off_t size, bool *ret_rebuilt, struct why *why)
{
    struct index_source s = {.arg = &fd, .size = (uint64_t)size, .read = read_file};
    struct index_damage damage;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
    int r = index_pages_check(&s, &damage);
    if (r == ERR_NO_MEMORY)
        return why_set(why, r, "%s cannot be looked at: %s", path, err_text(r));
    if (r == 0 || damage.cut)
        return 0;
    r = rebuild(&s, path, &damage, why);
    *ret_rebuilt = r == 0;
    return r;
}

int index_examine(const char *dir, bool *ret_rebuilt, struct why *why)
{
    char path[PATH_MAX], suspect[PATH_MAX];
    struct stat st;
    int fd = -1, r;
    *ret_rebuilt = false;
    if (sizeof(void *) != 8 || (r = open_index(dir, path, &st, &fd)) == ERR_NOT_FOUND) /* another layout; or none */
        return 0;
    if (r)
        return why_set(why, r, "cannot open %s: %s", path, err_text(r));
    (void)snprintf(suspect, sizeof suspect, "%s/" INDEX_SUSPECT, dir);
    if (st.st_size > 0 && (st.st_size <= INDEX_SMALL || access(suspect, F_OK) == 0))
        r = examine(fd, path, st.st_size, ret_rebuilt, why);
    close(fd);
    if (r == 0)
        (void)unlink(suspect);
    return r;
}

void index_suspect(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}
