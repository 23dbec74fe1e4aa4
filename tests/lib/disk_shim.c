/* SPDX-License-Identifier: MIT
 *
 * The calls are wrapped by definitions that come before libc's; what is below is reached with dlsym. Descriptors are known by
 * number from their open: nothing else of the process is touched. */
#include "tests/lib/disk_shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS 4096
#define BIG         (64 << 10)
#define PAGE        4096u

enum { UNKNOWN, KNOWN = 1, RECORDED = 2, DSYNC = 4, FOLDER = 8, DIRECT = 16 };

static struct disk_shim own;
static struct disk_shim *shim = &own;
static char root[PATH_MAX];
static int record_fd = -1;
static unsigned char known[DESCRIPTORS];
static uint32_t file_of[DESCRIPTORS]; /* when RECORDED */
static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER;

#define NEXT(type, name, ...)                                                                                                  \
    static type (*next)(__VA_ARGS__);                                                                                          \
    if (!next)                                                                                                                 \
    next = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

struct disk_shim *disk_shim(void)
{
    return shim;
}

void disk_shim_begin(const char *folder, const char *record_path)
{
    memset(known, 0, sizeof known);
    snprintf(root, sizeof root, "%s", folder);
    record_fd = -1;
    if (!record_path)
        return;
    int fd = open(record_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    record_fd = fd;
    atomic_store(&shim->recorded, 0);
}

__attribute__((constructor)) static void begin(void)
{
    const char *control = getenv("DISK_SHIM"), *folder = getenv("DISK_SHIM_ROOT"), *lacking = getenv("DISK_SHIM_LACKS");
    if (folder && lacking)
        atomic_store(&own.lacks, (uint32_t)strtoul(lacking, NULL, 10));
    if (folder && !control)
        disk_shim_begin(folder, NULL);
    if (!control || !folder)
        return;
    int fd = open(control, O_RDWR | O_CLOEXEC);
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        fprintf(stderr, "disk_shim: cannot map %s: %s\n", control, strerror(errno));
        _exit(99);
    }
    close(fd);
    shim = map;
    disk_shim_begin(folder, getenv("DISK_SHIM_RECORD"));
}

__attribute__((destructor)) static void linger(void)
{
    const char *pipe = getenv("DISK_SHIM_LINGER");
    char byte;
    int fd = pipe ? open(pipe, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0 && read(fd, &byte, 1) >= 0)
        close(fd);
}

/* ---- striking ---- */

enum strike { PASS, FAIL, HALF, DIE_HALF };

static enum strike strike(uint32_t kind) /* one, or the kinds that a call is of */
{
    if (!(atomic_load(&shim->kinds) & kind))
        return PASS;
    uint64_t n = atomic_fetch_add(&shim->calls, 1) + 1, at = atomic_load(&shim->strike_at), more = atomic_load(&shim->more);
    if (at == 0 || n < at || (more != UINT64_MAX && n > at + more))
        return PASS;
    uint64_t every = atomic_load(&shim->every);
    if (every > 1 && (n - at) % every != 0)
        return PASS;
    atomic_fetch_add(&shim->struck, 1);
    switch (atomic_load(&shim->action)) {
    case DISK_FAIL:
        errno = (int)atomic_load(&shim->error);
        return FAIL;
    case DISK_SHORT:
        return (kind & DISK_WRITE) ? HALF : PASS;
    case DISK_KILL_HALF:
        if (kind & DISK_WRITE)
            return DIE_HALF;
        break;
    default:
        break;
    }
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* ---- knowing ---- */

static bool below_root(const char *path)
{
    char where[PATH_MAX];
    size_t len = strlen(root);
    if (len == 0 || !path)
        return false;
    if (path[0] != '/') {
        if (!getcwd(where, sizeof where))
            return false;
        return strncmp(where, root, len) == 0;
    }
    return strncmp(path, root, len) == 0 && (path[len] == '/' || path[len] == 0);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The files that are recorded */
static bool file_number(const char *path, uint32_t *ret)
{
    const char *name = base_name(path);
    unsigned number;
    if (strcmp(name, "data.mdb") == 0)
        *ret = DISK_DATA_FILE;
    else if (strcmp(name, "data.mdb.new") == 0)
        *ret = DISK_NEW_FILE;
    else if (sscanf(name, "segment-%8x", &number) == 1)
        *ret = DISK_SEGMENTS + number;
    else
        return false;
    return true;
}

static bool lacks(enum disk_lack what)
{
    if (!(atomic_load(&shim->lacks) & (uint32_t)what))
        return false;
    atomic_fetch_add(&shim->lacked, 1);
    return true;
}

static void know(int fd, const char *path, int flags)
{
    if (fd < 0 || fd >= DESCRIPTORS)
        return;
    bool folder = (flags & O_DIRECTORY) != 0;
    bool recorded = !folder && file_number(path, &file_of[fd]);
    known[fd] = (unsigned char)(KNOWN | (recorded ? RECORDED : 0) | ((flags & O_DSYNC) ? DSYNC : 0) | (folder ? FOLDER : 0) |
                                ((flags & O_DIRECT) ? DIRECT : 0));
}

static int knows(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS ? known[fd] : UNKNOWN;
}

static void record(struct disk_record r, const struct iovec *iov, int count)
{
    NEXT(ssize_t, "write", int, const void *, size_t);
    if (record_fd < 0)
        return;
    size_t len = r.len;
    pthread_mutex_lock(&record_lock);
    ssize_t n = next(record_fd, &r, sizeof r);
    for (int i = 0; i < count && n > 0 && len > 0; i++) {
        size_t part = iov[i].iov_len < len ? iov[i].iov_len : len;
        n = part ? next(record_fd, iov[i].iov_base, part) : 1;
        len -= part;
    }
    if (n <= 0)
        _exit(98); /* a record with a hole proves nothing */
    atomic_fetch_add(&shim->recorded, sizeof r + r.len);
    pthread_mutex_unlock(&record_lock);
}

static void record_change(int fd, enum disk_change change, uint64_t at, uint32_t size)
{
    if (knows(fd) & RECORDED)
        record((struct disk_record){.change = change, .file = file_of[fd], .at = at, .size = size}, NULL, 0);
}

/* ---- writes ---- */

static size_t half_of(size_t len)
{
    return len >= 2 * PAGE ? len / 2 / PAGE * PAGE : len / 2;
}

/* `at` < 0: at the descriptor's place */
static ssize_t put(int fd, const struct iovec *iov, int count, off_t at)
{
    NEXT(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
    static ssize_t (*plain)(int, const struct iovec *, int);
    if (!plain)
        plain = (ssize_t(*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
    if (!knows(fd))
        return at < 0 ? plain(fd, iov, count) : next(fd, iov, count, at);
    if ((knows(fd) & DIRECT) && lacks(DISK_NO_DIRECT_WRITE)) {
        errno = EINVAL;
        return -1;
    }
    off_t place = at < 0 ? lseek(fd, 0, SEEK_CUR) : at;
    uint32_t kinds = DISK_WRITE;
    if ((knows(fd) & RECORDED) && file_of[fd] == DISK_DATA_FILE && place < 2 * (off_t)PAGE)
        kinds |= DISK_META;
    if ((knows(fd) & RECORDED) && file_of[fd] >= DISK_SEGMENTS)
        kinds |= DISK_BLOCK;
    enum strike s = strike(kinds);
    if (s == FAIL)
        return -1;
    ssize_t n;
    if (s == PASS) {
        n = at < 0 ? plain(fd, iov, count) : next(fd, iov, count, at);
    } else { /* the first piece, or half of the only one: in whole pages, as direct writing needs it */
        struct iovec half = {iov[0].iov_base, count > 1 ? iov[0].iov_len : half_of(iov[0].iov_len)};
        n = at < 0 ? plain(fd, &half, 1) : next(fd, &half, 1, at);
        if (s == DIE_HALF)
            die();
    }
    if (n >= 0 && (knows(fd) & RECORDED))
        record((struct disk_record){.change = DISK_WROTE,
                                    .file = file_of[fd],
                                    .synced = (knows(fd) & DSYNC) != 0,
                                    .at = (uint64_t)place,
                                    .len = (uint64_t)n},
               iov, count);
    return n;
}

ssize_t write(int fd, const void *data, size_t len)
{
    NEXT(ssize_t, "write", int, const void *, size_t);
    struct iovec one = {(void *)(uintptr_t)data, len};
    return knows(fd) ? put(fd, &one, 1, -1) : next(fd, data, len);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    return put(fd, iov, count, -1);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    struct iovec one = {(void *)(uintptr_t)data, len};
    return put(fd, &one, 1, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
    return pwrite(fd, data, len, at);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
    return put(fd, iov, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off_t at)
{
    return put(fd, iov, count, at);
}

int ftruncate(int fd, off_t size)
{
    NEXT(int, "ftruncate", int, off_t);
    if (knows(fd) && strike(DISK_WRITE) == FAIL)
        return -1;
    int rc = next(fd, size);
    if (rc == 0)
        record_change(fd, DISK_CUT, (uint64_t)size, 0);
    return rc;
}

int ftruncate64(int fd, off_t size)
{
    return ftruncate(fd, size);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
    NEXT(int, "fallocate", int, int, off_t, off_t);
    if (knows(fd) && strike(DISK_WRITE) == FAIL)
        return -1;
    if (knows(fd) && (mode & FALLOC_FL_PUNCH_HOLE) && lacks(DISK_NO_HOLES)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    int rc = next(fd, mode, at, len);
    if (rc == 0 && (mode & FALLOC_FL_PUNCH_HOLE))
        record_change(fd, DISK_PUNCHED, (uint64_t)at, (uint32_t)len);
    return rc;
}

int fallocate64(int fd, int mode, off_t at, off_t len)
{
    return fallocate(fd, mode, at, len);
}

int posix_fallocate(int fd, off_t at, off_t len)
{
    NEXT(int, "posix_fallocate", int, off_t, off_t);
    return knows(fd) && strike(DISK_WRITE) == FAIL ? errno : next(fd, at, len);
}

int posix_fallocate64(int fd, off_t at, off_t len)
{
    return posix_fallocate(fd, at, len);
}

/* ---- syncs ---- */

static int unsynced(int fd)
{
    int error = errno;
    record_change(fd, DISK_UNSYNCED, 0, 0);
    errno = error;
    return -1;
}

static int synced(int fd, int rc)
{
    if (rc == 0 && (knows(fd) & FOLDER))
        record((struct disk_record){.change = DISK_FOLDER}, NULL, 0);
    else if (rc == 0)
        record_change(fd, DISK_SYNCED, 0, 0);
    return rc;
}

int fdatasync(int fd)
{
    NEXT(int, "fdatasync", int);
    return knows(fd) && strike(DISK_SYNC) == FAIL ? unsynced(fd) : synced(fd, next(fd));
}

int fsync(int fd)
{
    NEXT(int, "fsync", int);
    return knows(fd) && strike(DISK_SYNC) == FAIL ? unsynced(fd) : synced(fd, next(fd));
}

/* ---- names ---- */

static int open_known(int (*next)(const char *, int, ...), const char *path, int flags, mode_t mode)
{
    bool ours = below_root(path);
    if (ours && strike(DISK_NAME) == FAIL)
        return -1;
    if (ours && (flags & O_DIRECT) && lacks(DISK_NO_DIRECT)) {
        errno = EINVAL;
        return -1;
    }
    bool made = ours && (flags & O_CREAT) && access(path, F_OK) != 0;
    int fd = next(path, flags, mode);
    if (fd >= 0 && fd < DESCRIPTORS)
        known[fd] = UNKNOWN; /* a number that is used again */
    if (ours && ((flags & O_ACCMODE) != O_RDONLY || (flags & O_DIRECTORY)))
        know(fd, path, flags);
    if (made && fd >= 0)
        record_change(fd, DISK_MADE, 0, 0);
    return fd;
}

int open(const char *path, int flags, ...)
{
    NEXT(int, "open", const char *, int, ...);
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(ap, int) : 0;
    va_end(ap);
    return open_known(next, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    NEXT(int, "open64", const char *, int, ...);
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(ap, int) : 0;
    va_end(ap);
    return open_known(next, path, flags, mode);
}

int close(int fd)
{
    NEXT(int, "close", int);
    if (fd >= 0 && fd < DESCRIPTORS)
        known[fd] = UNKNOWN;
    return next(fd);
}

/* The argument is an int, a pointer or not there: it is passed on as it lies in its register. */
static int control(int (*next)(int, int, ...), int fd, int command, long arg)
{
    int rc = next(fd, command, arg);
    if (rc == 0 && command == F_SETFL && knows(fd) && !(arg & O_DIRECT))
        known[fd] &= (unsigned char)~DIRECT;
    return rc;
}

int fcntl(int fd, int command, ...)
{
    NEXT(int, "fcntl", int, int, ...);
    va_list ap;
    va_start(ap, command);
    long arg = va_arg(ap, long);
    va_end(ap);
    return control(next, fd, command, arg);
}

int fcntl64(int fd, int command, ...)
{
    NEXT(int, "fcntl64", int, int, ...);
    va_list ap;
    va_start(ap, command);
    long arg = va_arg(ap, long);
    va_end(ap);
    return control(next, fd, command, arg);
}

int rename(const char *from, const char *to)
{
    NEXT(int, "rename", const char *, const char *);
    uint32_t old, new;
    if (!below_root(to))
        return next(from, to);
    if (strike(DISK_NAME) == FAIL)
        return -1;
    int rc = next(from, to);
    if (rc == 0 && file_number(from, &old) && file_number(to, &new))
        record((struct disk_record){.change = DISK_RENAMED, .file = new, .size = old}, NULL, 0);
    return rc;
}

int unlink(const char *path)
{
    NEXT(int, "unlink", const char *);
    uint32_t file;
    if (!below_root(path))
        return next(path);
    if (strike(DISK_NAME) == FAIL)
        return -1;
    int rc = next(path);
    if (rc == 0 && file_number(path, &file))
        record((struct disk_record){.change = DISK_REMOVED, .file = file}, NULL, 0);
    return rc;
}

int mkdir(const char *path, mode_t mode)
{
    NEXT(int, "mkdir", const char *, mode_t);
    return below_root(path) && strike(DISK_NAME) == FAIL ? -1 : next(path, mode);
}

/* ---- big buffers ---- */

#ifdef DISK_SHIM_MEMORY

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t align, size_t size);

static bool refused(size_t size)
{
    uint64_t big = atomic_load(&shim->big), most = atomic_load(&shim->big_most);
    return size >= (big ? big : BIG) && (most == 0 || size <= most) && strike(DISK_MEMORY) == FAIL;
}

void *malloc(size_t size)
{
    return refused(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return size && refused(count > SIZE_MAX / size ? SIZE_MAX : count * size) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return refused(size) ? NULL : __libc_realloc(old, size);
}

int posix_memalign(void **ret, size_t align, size_t size)
{
    if (refused(size))
        return ENOMEM;
    void *p = __libc_memalign(align, size);
    if (!p)
        return ENOMEM;
    *ret = p;
    return 0;
}

/* Of files: what maps without one is not memory yet. */
void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t from)
{
    NEXT(void *, "mmap", void *, size_t, int, int, int, off_t);
    return fd >= 0 && refused(len) ? MAP_FAILED : next(at, len, prot, flags, fd, from);
}

void *mmap64(void *at, size_t len, int prot, int flags, int fd, off_t from)
{
    return mmap(at, len, prot, flags, fd, from);
}

#endif

/* ---- room ---- */

int statvfs(const char *path, struct statvfs *v)
{
    NEXT(int, "statvfs", const char *, struct statvfs *);
    int rc = next(path, v);
    uint64_t room = atomic_load(&shim->room);
    if (rc == 0 && room && below_root(path))
        v->f_bfree = v->f_bavail = (room - 1) / v->f_frsize;
    return rc;
}
