/* SPDX-License-Identifier: MIT */
#include "store/repo/repo.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define NAME_ROOM 96 /* repo_file's names and the suffix of temporary files */

struct repo {
    struct repo_paths paths;
    int lock_fd, run_fd;
};

/* ---- where ---- */

static int path_set(char out[PATH_MAX], struct why *why, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int path_set(char out[PATH_MAX], struct why *why, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(out, PATH_MAX, fmt, args);
    va_end(args);
    if (n < 0 || n >= PATH_MAX - NAME_ROOM)
        return why_set(why, ERR_NAME_LONG, "the path %.60s… is too long", out);
    return 0;
}

/* The value of a variable that must be an absolute path; NULL when it is unset or empty. */
static int absolute(const char *name, const char **ret, struct why *why)
{
    const char *v = getenv(name);
    *ret = v && *v ? v : NULL;
    if (*ret && v[0] != '/')
        return why_set(why, ERR_INVALID, "%s is \"%s\": it must be an absolute path", name, v);
    return 0;
}

static int own_home(struct repo_paths *ret, const char *home, struct why *why)
{
    size_t len = strlen(home);
    while (len > 1 && home[len - 1] == '/')
        len--;
    int r = path_set(ret->config, why, "%.*s/config", (int)len, home);
    if (r == 0)
        r = path_set(ret->state, why, "%.*s/state", (int)len, home);
    return r ? r : path_set(ret->run, why, "%.*s/run", (int)len, home);
}

int repo_paths(struct repo_paths *ret, struct why *why)
{
    const char *own, *home, *config, *data, *run;
    struct repo_paths p;
    int r;
    if ((r = absolute("P2P_HOME", &own, why)))
        return r;
    if (own) {
        r = own_home(&p, own, why);
        if (r == 0)
            *ret = p;
        return r;
    }
    if ((r = absolute("HOME", &home, why)) || (r = absolute("XDG_CONFIG_HOME", &config, why)) ||
        (r = absolute("XDG_DATA_HOME", &data, why)) || (r = absolute("XDG_RUNTIME_DIR", &run, why)))
        return r;
    if (!home && !(config && data))
        return why_set(why, ERR_INVALID, "neither HOME nor P2P_HOME is set: where should the node keep its state?");
    r = config ? path_set(p.config, why, "%s/p2p/config", config) : path_set(p.config, why, "%s/.config/p2p/config", home);
    if (r == 0)
        r = data ? path_set(p.state, why, "%s/p2p", data) : path_set(p.state, why, "%s/.local/share/p2p", home);
    if (r == 0)
        r = run ? path_set(p.run, why, "%s/p2p", run) : path_set(p.run, why, "/tmp/p2p-%u", (unsigned)geteuid());
    if (r == 0)
        *ret = p;
    return r;
}

/* ---- folders ---- */

/* mkdir -p; missing folders are made 0700 */
static int make_folders(const char *path, struct why *why)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return why_set(why, err_from_errno(errno), "cannot make the folder %s: %s", part, strerror(errno));
    }
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return why_set(why, ERR_NOT_DIR, "%s is not a folder", path);
    return 0;
}

int repo_make_run(struct repo *r, struct why *why)
{
    const char *run = r->paths.run;
    struct stat st;
    int e = make_folders(run, why);
    if (e)
        return e;
    assert(r->run_fd < 0);
    r->run_fd = open(run, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    /* A folder of ours that others may enter is closed to them before the socket is made in it; one of somebody else's is
     * refused. */
    bool ours = r->run_fd >= 0 && fstat(r->run_fd, &st) == 0 && st.st_uid == geteuid();
    if (!ours || ((st.st_mode & 077) && fchmod(r->run_fd, 0700) != 0))
        return why_set(why, ERR_DENIED, "%s must be a folder of our own that nobody else may enter (mode 0700): remove it",
                       run);
    if (flock(r->run_fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) /* what cannot lock folders keeps nobody out */
        return why_set(why, ERR_LOCKED, "another node of yours, with another state folder, answers in %s", run);
    return 0;
}

char *repo_file(const struct repo *r, const char *name, char path[PATH_MAX])
{
    int n = snprintf(path, PATH_MAX, "%s/%s", r->paths.state, name);
    assert(n > 0 && n < PATH_MAX && strlen(name) <= 64);
    (void)n;
    return path;
}

int repo_dir(const struct repo *r, const char *name, char path[PATH_MAX], struct why *why)
{
    return make_folders(repo_file(r, name, path), why);
}

int repo_disk_free(const char *folder, uint64_t *ret_bytes)
{
    char at[PATH_MAX];
    struct statvfs v;
    if (snprintf(at, sizeof at, "%s", folder) >= (int)sizeof at)
        return ERR_INVALID;
    while (statvfs(at, &v) < 0) {
        char *slash = strrchr(at, '/');
        if (errno != ENOENT || !slash || !slash[1])
            return err_from_errno(errno);
        slash[slash == at] = 0; /* "/a" is in "/" */
    }
    *ret_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    return 0;
}

const struct repo_paths *repo_where(const struct repo *r)
{
    return &r->paths;
}

/* ---- small files ---- */

static int write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash || (size_t)(slash - path) >= sizeof folder)
        return 0;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = 0;
    int fd = open(folder[0] ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int r = fsync(fd);
    close(fd);
    return r;
}

int repo_write_file(const char *path, const void *data, size_t len, unsigned mode, struct why *why)
{
    char temporary[PATH_MAX];
    int n = snprintf(temporary, sizeof temporary, "%s.new-XXXXXX", path);
    if (n < 0 || n >= (int)sizeof temporary)
        return why_set(why, ERR_NAME_LONG, "the path %.60s… is too long", path);
    int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
    if (fd < 0)
        return why_set(why, err_from_errno(errno), "cannot write %s: %s", path, strerror(errno));
    bool ok = fchmod(fd, mode) == 0 && write_all(fd, data, len) == 0 && fsync(fd) == 0;
    int number = errno;
    close(fd);
    if (ok && rename(temporary, path) == 0 && sync_folder_of(path) == 0)
        return 0;
    number = ok ? errno : number;
    (void)unlink(temporary); /* gone already when only the folder's sync failed */
    return why_set(why, err_from_errno(number), "cannot write %s: %s", path, strerror(number));
}

int repo_read_file(const char *path, size_t most, struct buf *ret, struct why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO here must not stop us */
    if (fd < 0)
        return why_set(why, err_from_errno(errno), "cannot open %s: %s", path, strerror(errno));
    size_t start = buf_len(ret);
    int r = 0;
    for (;;) {
        uint8_t *at = buf_reserve(ret, 4096);
        ssize_t n = read(fd, at, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            r = why_set(why, err_from_errno(errno), "cannot read %s: %s", path, strerror(errno));
        if (n <= 0)
            break;
        buf_commit(ret, (size_t)n);
        if (buf_len(ret) - start > most) {
            r = why_set(why, ERR_TOO_BIG, "%s is larger than %zu bytes", path, most);
            break;
        }
    }
    close(fd);
    if (r)
        buf_truncate(ret, start);
    return r;
}

/* ---- the lock ---- */

static int lock_state(struct repo *r, struct why *why)
{
    char path[PATH_MAX], text[32];
    r->lock_fd = open(repo_file(r, "lock", path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (r->lock_fd < 0)
        return why_set(why, err_from_errno(errno), "cannot open %s: %s", path, strerror(errno));
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return why_set(why, err_from_errno(errno), "cannot lock %s: %s", path, strerror(errno));
        ssize_t n = pread(r->lock_fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = 0;
        long pid = strtol(text, NULL, 10);
        if (pid > 0)
            return why_set(why, ERR_LOCKED, "another node (pid %ld) uses %s", pid, r->paths.state);
        return why_set(why, ERR_LOCKED, "another node uses %s", r->paths.state);
    }
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(r->lock_fd, 0) != 0 || pwrite(r->lock_fd, text, (size_t)n, 0) != n)
        return why_set(why, err_from_errno(errno), "cannot write %s: %s", path, strerror(errno));
    return 0;
}

/* ---- the version ---- */

/* *ret 0: there is none */
static int read_version(const char *path, unsigned *ret, struct why *why)
{
    struct buf text = BUF_INIT;
    int r = repo_read_file(path, 32, &text, why);
    if (r == ERR_NOT_FOUND) {
        *ret = 0;
        return 0;
    }
    if (r == 0) {
        char *end;
        const char *begin = buf_cstr(&text);
        unsigned long v = strtoul(begin, &end, 10);
        bool good = end != begin && begin[0] >= '0' && begin[0] <= '9' && (*end == 0 || (*end == '\n' && end[1] == 0)) &&
                    v > 0 && v < 1000000;
        if (good)
            *ret = (unsigned)v;
        else
            r = why_set(why, ERR_CORRUPT, "%s should hold the number of the state's format, and does not", path);
    }
    buf_done(&text);
    return r;
}

static int write_version(const char *path, unsigned version, struct why *why)
{
    char text[16];
    int n = snprintf(text, sizeof text, "%u\n", version);
    return repo_write_file(path, text, (size_t)n, 0600, why);
}

static const struct repo_migration *migration_from(const struct repo_migration *table, unsigned from)
{
    for (; table->run; table++)
        if (table->from == from)
            return table;
    return NULL;
}

static int migrate(struct repo *r, const struct repo_migration *table, unsigned version, struct why *why)
{
    char path[PATH_MAX];
    unsigned at = 0;
    int e = read_version(repo_file(r, "version", path), &at, why);
    if (e)
        return e;
    if (at == 0) /* a new state folder */
        return write_version(path, version, why);
    for (; at < version; at++) {
        const struct repo_migration *m = migration_from(table, at);
        if (!m)
            return why_set(why, ERR_VERSION, "%s has format %u, which this version can no longer bring forward", r->paths.state,
                           at);
        if ((e = m->run(r->paths.state, why)) || (e = write_version(path, at + 1, why)))
            return e;
    }
    return 0;
}

/* Before the lock: a newer state is not touched at all. */
static int refuse_newer(const struct repo *r, unsigned version, struct why *why)
{
    char path[PATH_MAX];
    unsigned at = 0;
    int e = read_version(repo_file(r, "version", path), &at, why);
    if (e)
        return e;
    if (at > version)
        return why_set(why, ERR_VERSION, "%s was written by a newer version (format %u, this program knows %u)", r->paths.state,
                       at, version);
    return 0;
}

/* ---- opening ---- */

int repo_open_with(struct repo **ret, const struct repo_paths *p, const struct repo_migration *table, unsigned version,
                   struct why *why)
{
    struct repo *r = MEM_NEW(struct repo);
    r->paths = *p;
    r->lock_fd = r->run_fd = -1;
    int e = make_folders(p->state, why);
    if (e == 0)
        e = refuse_newer(r, version, why);
    if (e == 0)
        e = lock_state(r, why);
    if (e == 0)
        e = migrate(r, table, version, why);
    if (e) {
        repo_close(r);
        return e;
    }
    *ret = r;
    return 0;
}

/* None yet: format 1 is the first. A row {n, step} brings format n to n + 1. */
static const struct repo_migration migrations[] = {
    {0, NULL},
};

int repo_open(struct repo **ret, const struct repo_paths *p, struct why *why)
{
    return repo_open_with(ret, p, migrations, REPO_VERSION, why);
}

struct repo *repo_close(struct repo *r)
{
    if (!r)
        return NULL;
    if (r->lock_fd >= 0)
        close(r->lock_fd); /* the lock goes with it; the file stays, so that nobody locks a file that is being removed */
    if (r->run_fd >= 0)
        close(r->run_fd);
    free(r);
    return NULL;
}
