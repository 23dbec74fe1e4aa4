/* SPDX-License-Identifier: MIT */
#include "store/block/segment.h"

#include "store/base/log.h"
#include "store/base/mapfault.h"
#include "store/block/block.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SEGMENT_BYTES ((size_t)SEGMENT_UNITS * SEGMENT_UNIT)
#define GATHER        64
#define NONE          UINT32_MAX

struct segment {
    const uint8_t *map;
    struct mapfault *watch;
    _Atomic uint64_t size;
};

struct segments {
    char dir[PATH_MAX - 64];
    struct segment *_Atomic *slots; /* by number; NULL: not mapped */

    /* the writer's */
    uint32_t current;
    int fd;                        /* of `current`, or -1 */
    bool direct;                   /* it goes past the page cache */
    bool no_direct, no_punch;      /* what this file system cannot */
    bool dirty, made;              /* since segments_sync: written to; a file was made */
    struct iovec gathered[GATHER]; /* whole units in aligned memory, one behind the other in the file */
    unsigned gathered_count;
    uint64_t gathered_at, gathered_end;
    uint8_t *bounce; /* BLOCK_MAX, aligned: for data that does not lie as direct writing needs it */
};

struct segments *segments_new(const char *dir)
{
    struct segments *s = MEM_NEW(struct segments);
    snprintf(s->dir, sizeof s->dir, "%s", dir);        /* store_env_open has looked at its length */
    s->slots = calloc(SEGMENTS_MAX, sizeof *s->slots); /* pages of it exist when they are used */
    if (!s->slots)
        abort();
    s->current = NONE;
    s->fd = -1;
    return s;
}

static void segment_free(struct segment *g)
{
    mapfault_unwatch(g->watch);
    munmap((void *)(uintptr_t)g->map, SEGMENT_BYTES);
    free(g);
}

struct segments *segments_free(struct segments *s)
{
    if (!s)
        return NULL;
    for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
        struct segment *g = atomic_load_explicit(&s->slots[i], memory_order_relaxed);
        if (g)
            segment_free(g);
    }
    if (s->fd >= 0)
        close(s->fd);
    free(s->bounce);
    free(s->slots);
    free(s);
    return NULL;
}

static void path_of(const struct segments *s, uint32_t number, char path[PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/segment-%08x", s->dir, (unsigned)number); /* dir leaves room */
}

/* ---- reading ---- */

static int map_segment(struct segments *s, uint32_t number, struct segment **ret)
{
    char path[PATH_MAX];
    struct stat st;
    path_of(s, number, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_CORRUPT : err_from_errno(errno);
    void *map = fstat(fd, &st) == 0 ? mmap(NULL, SEGMENT_BYTES, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    int err = errno;
    close(fd);
    if (map == MAP_FAILED)
        return err_from_errno(err);
    struct segment *g = MEM_NEW(struct segment), *none = NULL;
    g->map = map;
    g->watch = mapfault_watch(map, SEGMENT_BYTES);
    atomic_store(&g->size, (uint64_t)st.st_size);
    if (atomic_compare_exchange_strong(&s->slots[number], &none, g)) {
        *ret = g;
        return 0;
    }
    segment_free(g); /* another thread was quicker */
    *ret = none;
    return 0;
}

static int find_segment(struct segments *s, uint32_t number, struct segment **ret)
{
    if (number >= SEGMENTS_MAX)
        return ERR_CORRUPT;
    *ret = atomic_load(&s->slots[number]);
    return *ret ? 0 : map_segment(s, number, ret);
}

/* What the disk did not give is asked for again. */
static void mend(const struct segments *s, uint32_t number, const struct segment *g)
{
    char path[PATH_MAX];
    path_of(s, number, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    mapfault_mend(g->watch, fd);
    close(fd);
}

int segments_get(struct segments *s, const struct extent *e, struct span *ret)
{
    struct segment *g;
    int r = find_segment(s, e->segment, &g);
    if (r)
        return r;
    uint64_t at = (uint64_t)e->unit * SEGMENT_UNIT;
    if (at + e->len > atomic_load(&g->size) || at + e->len > SEGMENT_BYTES) /* looking there would be a SIGBUS */
        return ERR_CORRUPT;
    if (mapfault_any(g->watch))
        mend(s, e->segment, g);
    *ret = span_of(g->map + at, e->len);
    return 0;
}

static bool in_page_cache(const uint8_t *at, size_t len)
{
    unsigned char pages[BLOCK_MAX / SEGMENT_UNIT];
    size_t count = len / SEGMENT_UNIT;
    if (mincore((void *)(uintptr_t)at, len, pages) != 0)
        return true; /* then the mapping will show what is wrong */
    for (size_t i = 0; i < count; i++)
        if (!(pages[i] & 1))
            return false;
    return true;
}

static int read_direct(const char *path, uint8_t *into, size_t len, off_t at)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (fd < 0)
        return errno == EINVAL ? ERR_UNSUPPORTED : err_from_errno(errno);
    ssize_t n = pread(fd, into, len, at);
    int r = n < 0 ? err_from_errno(errno) : (size_t)n < len ? ERR_CORRUPT : 0;
    if (n < 0 && errno == EINVAL)
        r = ERR_UNSUPPORTED;
    close(fd);
    return r;
}

int segments_read(struct segments *s, const struct extent *e, uint8_t *into)
{
    char path[PATH_MAX];
    struct span mapped;
    int r = segments_get(s, e, &mapped);
    size_t whole = e->len - e->len % SEGMENT_UNIT;
    if (r)
        return r;
    if (whole == 0 || (uintptr_t)into % SEGMENT_UNIT != 0 || in_page_cache(mapped.data, whole))
        return ERR_UNSUPPORTED;
    path_of(s, e->segment, path);
    r = read_direct(path, into, whole, (off_t)e->unit * SEGMENT_UNIT);
    return r || mapfault_copy(into + whole, span_from(mapped, whole)) ? r : ERR_IO;
}

/* ---- writing ---- */

static int open_current(struct segments *s, const struct extent *e)
{
    char path[PATH_MAX];
    struct stat st;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    path_of(s, e->segment, path);
    int flags = O_RDWR | O_CLOEXEC | (s->no_direct ? 0 : O_DIRECT);
    int fd = open(path, flags);
    if (fd < 0 && errno == EINVAL && !s->no_direct) {
        s->no_direct = true;
        return open_current(s, e);
    }
    if (fd < 0 && errno == ENOENT) {
        fd = open(path, flags | O_CREAT, 0600);
        s->made = true;
    }
    off_t end = (off_t)e->unit * SEGMENT_UNIT;
    if (fd < 0 || fstat(fd, &st) != 0 || (st.st_size > end && ftruncate(fd, end) != 0)) {
        int err = errno;
        if (fd >= 0)
            close(fd);
        return err_from_errno(err);
    }
    struct segment *g;
    int r = find_segment(s, e->segment, &g);
    if (r) {
        close(fd);
        return r;
    }
    if (atomic_load(&g->size) > (uint64_t)end)
        atomic_store(&g->size, (uint64_t)end); /* what a crash left behind */
    s->fd = fd;
    s->direct = !s->no_direct;
    s->current = e->segment;
    return 0;
}

static int write_all(struct segments *s, const uint8_t *data, size_t len, uint64_t at)
{
    while (len > 0) {
        ssize_t n = pwrite(s->fd, data, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EINVAL && s->direct && fcntl(s->fd, F_SETFL, 0) == 0) { /* it takes O_DIRECT, and means it not */
            s->no_direct = true;
            s->direct = false;
            continue;
        }
        if (n <= 0)
            return n < 0 ? err_from_errno(errno) : ERR_IO;
        if (s->direct && (size_t)n < len)
            n -= n % SEGMENT_UNIT;
        if (n == 0)
            return ERR_NO_SPACE; /* less than a page: the disk takes no more */
        data += n;
        len -= (size_t)n;
        at += (uint64_t)n;
    }
    return 0;
}

static uint8_t *bounce(struct segments *s)
{
    void *p;
    if (!s->bounce && posix_memalign(&p, SEGMENT_UNIT, BLOCK_MAX) == 0)
        s->bounce = p;
    return s->bounce;
}

/* `len` bytes as whole units: the last one filled up with zeros */
static int write_bounced(struct segments *s, const uint8_t *data, size_t len, uint64_t at)
{
    uint8_t *p = bounce(s);
    if (!p)
        return ERR_NO_MEMORY;
    size_t whole = (size_t)extent_units((uint32_t)len) * SEGMENT_UNIT;
    memcpy(p, data, len);
    memset(p + len, 0, whole - len);
    return write_all(s, p, whole, at);
}

static void written(struct segments *s, uint64_t at, uint64_t end)
{
    if (!s->direct) /* so that syncing finds little left to do */
        (void)sync_file_range(s->fd, (off_t)at, (off_t)(end - at), SYNC_FILE_RANGE_WRITE);
    struct segment *g = atomic_load(&s->slots[s->current]);
    if (end > atomic_load(&g->size))
        atomic_store(&g->size, end);
}

int segments_flush(struct segments *s)
{
    unsigned count = s->gathered_count;
    uint64_t at = s->gathered_at, end = s->gathered_end;
    int r = 0;
    s->gathered_count = 0;
    if (count == 0)
        return 0;
    s->dirty = true;
    ssize_t n = pwritev(s->fd, s->gathered, (int)count, (off_t)at);
    if (n < 0 || (uint64_t)n < end - at) /* one by one: that knows what to do about it */
        for (unsigned i = 0; i < count && r == 0; i++) {
            r = write_all(s, s->gathered[i].iov_base, s->gathered[i].iov_len, at);
            at += s->gathered[i].iov_len;
        }
    if (r == 0)
        written(s, s->gathered_at, end);
    return r;
}

void segments_forget(struct segments *s)
{
    s->gathered_count = 0;
}

static int gather(struct segments *s, uint64_t at, struct span data)
{
    if (s->gathered_count == GATHER || (s->gathered_count > 0 && s->gathered_end != at)) {
        int r = segments_flush(s);
        if (r)
            return r;
    }
    if (s->gathered_count == 0)
        s->gathered_at = at;
    s->gathered[s->gathered_count++] = (struct iovec){(void *)(uintptr_t)data.data, data.len};
    s->gathered_end = at + data.len;
    return 0;
}

int segments_write(struct segments *s, const struct extent *e, struct span data)
{
    int r = e->segment == s->current && s->fd >= 0 ? 0 : segments_sync(s);
    if (r == 0 && (e->segment != s->current || s->fd < 0))
        r = open_current(s, e);
    if (r)
        return r;
    uint64_t at = (uint64_t)e->unit * SEGMENT_UNIT;
    size_t straight = (uintptr_t)data.data % SEGMENT_UNIT == 0 ? data.len - data.len % SEGMENT_UNIT : 0;
    if (straight > 0)
        r = gather(s, at, span_sub(data, 0, straight));
    if (r || straight == data.len)
        return r;
    s->dirty = true;
    r = segments_flush(s);
    if (r == 0)
        r = write_bounced(s, data.data + straight, data.len - straight, at + straight);
    if (r == 0)
        written(s, at + straight, at + (uint64_t)extent_units((uint32_t)data.len) * SEGMENT_UNIT);
    return r;
}

void segments_cut(struct segments *s, uint32_t number, uint32_t unit)
{
    char path[PATH_MAX];
    struct stat st;
    off_t end = (off_t)unit * SEGMENT_UNIT;
    struct segment *g = atomic_load(&s->slots[number]);
    path_of(s, number, path);
    if (stat(path, &st) != 0 || st.st_size <= end)
        return;
    if (g && atomic_load(&g->size) > (uint64_t)end)
        atomic_store(&g->size, (uint64_t)end);
    (void)truncate(path, end);
}

static int sync_dir(const struct segments *s)
{
    int fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) != 0 ? err_from_errno(errno) : 0;
    if (fd >= 0)
        close(fd);
    return r;
}

int segments_sync(struct segments *s)
{
    int r = segments_flush(s);
    if (r || !s->dirty)
        return r;
    if (fdatasync(s->fd) != 0)
        return err_from_errno(errno);
    r = s->made ? sync_dir(s) : 0;
    if (r)
        return r;
    s->dirty = s->made = false;
    return 0;
}

/* ---- giving up ---- */

int segments_punch(struct segments *s, const struct extent *e)
{
    char path[PATH_MAX];
    if (s->no_punch)
        return 0;
    path_of(s, e->segment, path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) /* removed already, or not to be opened: then its room is not ours to give */
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? err_from_errno(errno) : 0;
    off_t at = (off_t)e->unit * SEGMENT_UNIT, len = (off_t)extent_units(e->len) * SEGMENT_UNIT;
    int r = 0;
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, len) != 0)
        r = err_from_errno(errno);
    close(fd);
    if (r != ERR_UNSUPPORTED)
        return r;
    s->no_punch = true;
    log_info("store.no_holes", "dir=%s next=\"room comes back by the GiB\"", s->dir);
    return 0;
}

void segments_remove(struct segments *s, uint32_t number)
{
    char path[PATH_MAX];
    struct segment *g = atomic_exchange(&s->slots[number], NULL);
    if (g)
        segment_free(g);
    if (number == s->current && s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
        s->current = NONE;
        s->dirty = false;
        s->gathered_count = 0;
    }
    path_of(s, number, path);
    (void)unlink(path); /* what stays is found again at the next start */
}

/* ---- figures ---- */

bool segments_exist(const struct segments *s, uint32_t number)
{
    char path[PATH_MAX];
    struct stat st;
    path_of(s, number, path);
    return stat(path, &st) == 0 || errno != ENOENT;
}

#define LIST_STEP 1024 /* of a TiB */

static bool list_add(uint32_t **list, int count, uint32_t number)
{
    if (count % LIST_STEP == 0) {
        uint32_t *longer = mem_big_grow(*list, (size_t)count + LIST_STEP, sizeof **list);
        if (!longer)
            return false;
        *list = longer;
    }
    (*list)[count] = number;
    return true;
}

int segments_list(struct segments *s, uint32_t **ret)
{
    DIR *d = opendir(s->dir);
    if (!d)
        return err_from_errno(errno);
    uint32_t *list = NULL;
    int count = 0;
    for (struct dirent *e; (e = readdir(d));) {
        unsigned number;
        int end = 0;
        if (sscanf(e->d_name, "segment-%8x%n", &number, &end) != 1 || end != 16 || e->d_name[end] != 0 ||
            number >= SEGMENTS_MAX)
            continue;
        if (!list_add(&list, count, number)) {
            free(list);
            closedir(d);
            return ERR_NO_MEMORY;
        }
        count++;
    }
    closedir(d);
    *ret = list;
    return count;
}

uint64_t segments_disk_bytes(struct segments *s)
{
    uint32_t *list;
    uint64_t sum = 0;
    int count = segments_list(s, &list);
    if (count < 0)
        return 0;
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        struct stat st;
        path_of(s, list[i], path);
        if (stat(path, &st) == 0)
            sum += (uint64_t)st.st_blocks * 512;
    }
    free(list);
    return sum;
}
