/* SPDX-License-Identifier: MIT
 *
 * Two files under everything that can be done to their bytes, at random, against a copy in memory: reads and writes through
 * several descriptors of all kinds (O_APPEND, O_WRONLY, which goes past the page cache), shared mappings that live across other
 * operations, truncation both ways, holes, copy_file_range within and between, fallocate, SEEK_DATA, fsync, dropped caches.
 * Now and then the whole file is read, and its CID must be that of the same bytes written anew from the beginning to the end.
 *
 * FSX_SEED replays, FSX_OPS says how many operations a seed gets; without a seed the list below and one of the clock. */
#include "tests/mount/check.h"

#include <linux/falloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/xattr.h>

/* Seeds that found something, with what it was */
static const uint64_t found[] = {
    1, /* found nothing: none did so far */
};

#define MAX    (5u << 19) /* 2.5 MiB: chunks have 1 */
#define FDS    4
#define LOG    40
#define FILES  2
#define IO_MAX (160u << 10)

struct file {
    const char *name;
    uint8_t *data; /* zeros behind size */
    size_t size;
    struct {
        int fd, flags; /* fd -1: none */
    } open[FDS];
    uint8_t *map; /* NULL: none */
    size_t map_len;
    bool map_writes;
};

static struct file files[FILES];
static uint64_t seed, dice;
static unsigned long step;
static size_t max_size;
static bool no_mmap;
static char log_lines[LOG][160];
static uint8_t scratch[MAX + 1];

static uint64_t rnd(void)
{
    uint64_t z = (dice += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t below(size_t n)
{
    return n ? rnd() % n : 0;
}

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    char *line = log_lines[step % LOG];
    int n = snprintf(line, sizeof *log_lines, "%lu: ", step);
    va_list ap;
    va_start(ap, format);
    vsnprintf(line + n, sizeof *log_lines - (size_t)n, format, ap);
    va_end(ap);
}

__attribute__((format(printf, 1, 2), noreturn)) static void wrong(const char *format, ...)
{
    int error = errno;
    for (unsigned long i = step < LOG ? 0 : step - LOG + 1; i <= step; i++)
        fprintf(stderr, "%s\n", log_lines[i % LOG]);
    va_list ap;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, " (errno %d, %s)\nreplay: FSX_SEED=%llu FSX_OPS=%lu\n", error, strerror(error), (unsigned long long)seed,
            step + 1);
    exit(1);
}

static void same(const struct file *f, const uint8_t *got, size_t at, size_t len, const char *how)
{
    if (memcmp(got, f->data + at, len) == 0)
        return;
    size_t i = 0, end = len;
    while (got[i] == f->data[at + i])
        i++;
    while (got[end - 1] == f->data[at + end - 1])
        end--;
    wrong("%s of %s [%#zx, +%#zx): %#zx has %02x and not %02x, the last that differs is %#zx", how, f->name, at, len, at + i,
          got[i], f->data[at + i], at + end - 1);
}

/* Places near what matters: 0, pages, chunks, the end */
static size_t place(const struct file *f, size_t limit)
{
    size_t at;
    switch (below(8)) {
    case 0:
        at = below(3) * 4096 + below(9) - 4;
        break;
    case 1:
        at = ((1 + below(2)) << 20) + below(9) - 4;
        break;
    case 2:
        at = f->size + below(9) - 4;
        break;
    case 3:
        at = (rnd() % (limit + 1)) & ~(size_t)4095;
        break;
    default:
        at = below(limit + 1);
    }
    return at <= limit ? at : below(limit + 1);
}

static size_t length(size_t room)
{
    static const size_t most[] = {1, 16, 512, 4096, 4097, 32768, IO_MAX};
    size_t n = 1 + below(most[below(7)]);
    return n < room ? n : room;
}

/* The kind of descriptor that is asked for, or another that will do; -1: none is open */
static int pick(const struct file *f, bool reads, bool writes)
{
    for (unsigned n = 0, i = (unsigned)below(FDS); n < FDS; n++, i = (i + 1) % FDS) {
        int mode = f->open[i].flags & O_ACCMODE;
        if (f->open[i].fd >= 0 && !(reads && mode == O_WRONLY) && !(writes && mode == O_RDONLY))
            return (int)i;
    }
    return -1;
}

static void resize(struct file *f, size_t size)
{
    if (size < f->size)
        memset(f->data + size, 0, f->size - size);
    f->size = size;
}

/* ---- operations: each notes itself, acts, compares ---- */

static void do_read(struct file *f)
{
    int i = pick(f, true, false);
    size_t at = place(f, f->size + 100), len = length(IO_MAX);
    note("read %s #%d [%#zx, +%#zx)", f->name, i, at, len);
    if (i < 0)
        return;
    ssize_t n = pread(f->open[i].fd, scratch, len, (off_t)at);
    size_t left = f->size > at ? f->size - at : 0;
    if (n != (ssize_t)(len < left ? len : left))
        wrong("read gave %zd", n);
    if (n > 0)
        same(f, scratch, at, (size_t)n, "read");
}

static void do_write(struct file *f)
{
    int i = pick(f, false, true);
    if (i < 0)
        return;
    bool append = f->open[i].flags & O_APPEND;
    size_t at = append ? f->size : place(f, max_size), len = length(max_size > at ? max_size - at : 0);
    note("write %s #%d%s [%#zx, +%#zx)", f->name, i, append ? " append" : "", at, len);
    if (len == 0)
        return;
    uint64_t fill = rnd();
    for (size_t k = 0; k < len; k++)
        scratch[k] = (uint8_t)((fill >> (k % 7)) + k * 31 + (k >> 8));
    if (below(16) == 0)
        memset(scratch, 0, len);
    ssize_t n = append ? write(f->open[i].fd, scratch, len) : pwrite(f->open[i].fd, scratch, len, (off_t)at);
    if (n != (ssize_t)len)
        wrong("write gave %zd", n);
    memcpy(f->data + at, scratch, len);
    if (at + len > f->size)
        f->size = at + len;
}

static void do_map(struct file *f)
{
    if (f->map || below(3) == 0) {
        note("munmap %s", f->name);
        if (f->map && munmap(f->map, f->map_len) != 0)
            wrong("munmap");
        f->map = NULL;
    }
    bool writes = below(3) > 0;
    int i = pick(f, true, writes);
    note("mmap %s #%d%s %#zx", f->name, i, writes ? " writable" : "", f->size);
    if (i < 0 || f->size == 0 || no_mmap)
        return;
    f->map_len = f->size;
    f->map_writes = writes;
    f->map = mmap(NULL, f->map_len, writes ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, f->open[i].fd, 0);
    if (f->map == MAP_FAILED) {
        no_mmap = errno == ENODEV;
        f->map = NULL;
        if (!no_mmap)
            wrong("mmap");
        printf("no shared mappings past the page cache in this kernel: left out\n");
    }
}

static size_t mapped(const struct file *f)
{
    return !f->map ? 0 : f->map_len < f->size ? f->map_len : f->size;
}

static void do_map_read(struct file *f)
{
    size_t end = mapped(f), at = below(end), len = length(end - at);
    note("map read %s [%#zx, +%#zx)", f->name, at, len);
    if (end == 0)
        return;
    memcpy(scratch, f->map + at, len);
    same(f, scratch, at, len, "mapping");
}

static void do_map_write(struct file *f)
{
    size_t end = mapped(f), at = below(end), len = length(end - at);
    unsigned sync = (unsigned)below(3);
    note("map write %s [%#zx, +%#zx)%s", f->name, at, len, sync ? "" : " msync");
    if (end == 0 || !f->map_writes)
        return;
    uint8_t fill = (uint8_t)rnd();
    for (size_t k = 0; k < len; k++)
        f->map[at + k] = f->data[at + k] = (uint8_t)(fill + k * 5 + (k >> 9));
    size_t page = at & ~(size_t)4095;
    if (sync == 0 && msync(f->map + page, at + len - page, below(2) ? MS_SYNC : MS_ASYNC) != 0)
        wrong("msync");
}

static void do_truncate(struct file *f)
{
    size_t size = place(f, max_size);
    int i = below(2) ? pick(f, false, true) : -1;
    note("%s %s %#zx → %#zx", i < 0 ? "truncate" : "ftruncate", f->name, f->size, size);
    if ((i < 0 ? truncate(f->name, (off_t)size) : ftruncate(f->open[i].fd, (off_t)size)) != 0)
        wrong("truncate");
    resize(f, size);
}

/* Lengthening is there; what would make holes or move bytes is refused, always with the same words. */
static void do_fallocate(struct file *f)
{
    static const int modes[] = {0,
                                FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_ZERO_RANGE,
                                FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_COLLAPSE_RANGE,
                                FALLOC_FL_INSERT_RANGE};
    unsigned mode = (unsigned)below(7);
    int i = pick(f, false, true);
    size_t at = place(f, max_size), len = length(max_size > at ? max_size - at : 0);
    if (i < 0 || len == 0 || (mode > 1 && f->open[i].flags & O_APPEND))
        return;
    note("fallocate %s mode %#x [%#zx, +%#zx)", f->name, modes[mode], at, len);
    int rc = fallocate(f->open[i].fd, modes[mode], (off_t)at, (off_t)len);
    if (mode <= 1 ? rc != 0 : rc == 0 || errno != EOPNOTSUPP)
        wrong("fallocate gave %d", rc);
    if (mode == 0 && at + len > f->size)
        f->size = at + len;
}

static void do_copy(struct file *f)
{
    struct file *from = &files[below(FILES)];
    int in = pick(from, true, false), out = pick(f, false, true);
    if (in < 0 || out < 0)
        return;
    bool whole = below(4) == 0;
    size_t at = whole ? 0 : place(from, from->size), to = whole ? 0 : below(3) ? place(f, max_size) : at;
    size_t len = whole ? MAX : length(MAX);
    if (to + len > max_size)
        len = max_size > to ? max_size - to : 0;
    note("copy %s #%d [%#zx, +%#zx) → %s #%d %#zx", from->name, in, at, len, f->name, out, to);
    off_t off_in = (off_t)at, off_out = (off_t)to;
    ssize_t n = copy_file_range(from->open[in].fd, &off_in, f->open[out].fd, &off_out, len, 0);
    size_t left = from->size > at ? from->size - at : 0;
    if (f->open[out].flags & O_APPEND) { /* copy_file_range(2): EBADF */
        if (n != -1 || errno != EBADF)
            wrong("copy to O_APPEND gave %zd", n);
        return;
    }
    size_t overlap = len < left ? len : left; /* the kernel cuts to the file's end before it looks whether they overlap */
    if (from == f && overlap > 0 && at < to + overlap && to < at + overlap) {
        if (n != -1 || errno != EINVAL)
            wrong("an overlapping copy gave %zd", n);
        return;
    }
    if (n < 0 || (n == 0 && len > 0 && left > 0) || (size_t)n > len || (size_t)n > left)
        wrong("copy gave %zd", n);
    memmove(f->data + to, from->data + at, (size_t)n);
    if (n > 0 && to + (size_t)n > f->size)
        f->size = to + (size_t)n;
}

static void do_seek(struct file *f)
{
    int i = pick(f, false, false);
    size_t at = place(f, f->size + 8);
    bool hole = below(2);
    if (i < 0)
        return;
    note("seek %s %s %#zx", f->name, hole ? "hole" : "data", at);
    off_t got = lseek(f->open[i].fd, (off_t)at, hole ? SEEK_HOLE : SEEK_DATA);
    if (at >= f->size) {
        if (got != -1 || errno != ENXIO)
            wrong("lseek past the end gave %lld", (long long)got);
        return;
    }
    if (got < 0 || (size_t)got < at || (size_t)got > f->size)
        wrong("lseek gave %lld", (long long)got);
    for (size_t k = at; k < (size_t)got && !hole; k++) /* what SEEK_DATA goes over is zeros */
        if (f->data[k])
            wrong("data before %#llx", (long long)got);
}

static void do_open(struct file *f)
{
    static const int kinds[] = {
        O_RDWR, O_RDWR, O_RDONLY, O_WRONLY, O_RDWR | O_APPEND, O_WRONLY | O_APPEND, O_RDWR | O_TRUNC, O_WRONLY | O_TRUNC};
    unsigned i = (unsigned)below(FDS);
    int flags = kinds[below(40) == 0 ? 6 + below(2) : below(6)];
    bool only_close = below(5) == 0;
    note("close %s #%u%s %#x", f->name, i, only_close ? "" : " open", (unsigned)flags);
    if (f->open[i].fd >= 0 && close(f->open[i].fd) != 0)
        wrong("close");
    f->open[i].fd = -1;
    if (only_close)
        return;
    f->open[i].fd = open(f->name, flags);
    f->open[i].flags = flags;
    if (f->open[i].fd < 0)
        wrong("open");
    if (flags & O_TRUNC)
        resize(f, 0);
}

static void do_close_all(struct file *f)
{
    note("close all of %s", f->name);
    if (f->map && munmap(f->map, f->map_len) != 0)
        wrong("munmap");
    f->map = NULL;
    for (unsigned i = 0; i < FDS; i++) {
        if (f->open[i].fd >= 0 && close(f->open[i].fd) != 0)
            wrong("close");
        f->open[i].fd = -1;
    }
}

static void do_sync(struct file *f)
{
    int i = pick(f, false, false);
    unsigned how = (unsigned)below(3);
    note("%s %s #%d", how == 0 ? "fdatasync" : how == 1 ? "fsync" : "drop", f->name, i);
    if (i < 0)
        return;
    int fd = f->open[i].fd;
    if ((how == 0 ? fdatasync(fd) : how == 1 ? fsync(fd) : posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)) != 0)
        wrong("sync");
}

static void do_stat(struct file *f)
{
    struct stat st;
    int i = below(2) ? pick(f, false, false) : -1;
    note("stat %s #%d", f->name, i);
    if ((i < 0 ? stat(f->name, &st) : fstat(f->open[i].fd, &st)) != 0)
        wrong("stat");
    if ((size_t)st.st_size != f->size || st.st_nlink != 1)
        wrong("size %#llx and not %#zx", (long long)st.st_size, f->size);
}

static void whole(const struct file *f, const char *name)
{
    int fd = open(name, O_RDONLY);
    if (fd < 0)
        wrong("open for the whole");
    if (below(2))
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    size_t at = 0;
    for (ssize_t n; at <= f->size; at += (size_t)n) {
        n = pread(fd, scratch + at, sizeof scratch - at, (off_t)at);
        if (n < 0)
            wrong("read of the whole");
        if (n == 0)
            break;
    }
    if (at != f->size)
        wrong("the whole has %#zx and not %#zx", at, f->size);
    same(f, scratch, 0, f->size, "whole");
    close(fd);
}

static void cid_of(const char *name, char *ret)
{
    memset(ret, 0, 128);
    if (getxattr(name, "user.p2p.cid", ret, 127) < 0)
        wrong("cid of %s", name);
}

static void do_whole(struct file *f)
{
    note("whole of %s", f->name);
    whole(f, f->name);
}

/* The same bytes have the same CID, however they came to be. What is only in dirty pages of a mapping is not the node's yet. */
static void do_cid(struct file *f)
{
    char a[128], b[128];
    note("cid of %s", f->name);
    if (f->map && msync(f->map, f->map_len, MS_SYNC) != 0)
        wrong("msync");
    int fd = open("new", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        wrong("new");
    for (size_t at = 0; at < f->size;) {
        size_t n = f->size - at < 300000 ? f->size - at : 300000;
        if (write(fd, f->data + at, n) != (ssize_t)n)
            wrong("write of new");
        at += n;
    }
    if (close(fd) != 0)
        wrong("close of new");
    cid_of(f->name, a);
    cid_of("new", b);
    if (strcmp(a, b) != 0)
        wrong("the CID is %s, and of the same bytes %s", a, b);
    if (below(4) == 0)
        whole(f, "new");
}

static const struct {
    void (*act)(struct file *f);
    unsigned weight;
} ops[] = {{do_read, 200},    {do_write, 200},    {do_map, 20},  {do_map_read, 60}, {do_map_write, 60},
           {do_truncate, 40}, {do_fallocate, 20}, {do_copy, 30}, {do_seek, 20},     {do_open, 80},
           {do_close_all, 6}, {do_sync, 8},       {do_stat, 40}, {do_whole, 8},     {do_cid, 2}};
#define OPS (sizeof ops / sizeof *ops)

static void run(uint64_t with, unsigned long count)
{
    static const size_t sizes[] = {20000, 300000, (1u << 20) + 5000, MAX};
    unsigned total = 0, weights[OPS];
    seed = dice = with;
    max_size = sizes[below(4)];
    for (unsigned k = 0; k < OPS; k++) /* each seed likes other operations */
        total += weights[k] = ops[k].weight * (below(4) == 0 ? 4 : 1);
    for (unsigned i = 0; i < FILES; i++) {
        struct file *f = &files[i];
        resize(f, 0);
        for (unsigned k = 0; k < FDS; k++)
            f->open[k].fd = -1;
        put_file(f->name, "");
    }
    for (step = 0; step < count; step++) {
        unsigned k = 0, at = (unsigned)below(total);
        while (at >= weights[k])
            at -= weights[k++];
        note("-");
        ops[k].act(&files[below(FILES)]);
    }
    for (unsigned i = 0; i < FILES; i++) {
        do_cid(&files[i]);
        do_close_all(&files[i]);
        whole(&files[i], files[i].name);
    }
}

int main(int argc, char **argv)
{
    static const char *const names[FILES] = {"a", "b"};
    enter(argc, argv);
    for (unsigned i = 0; i < FILES; i++) {
        files[i].name = names[i];
        CHECK(files[i].data = calloc(1, MAX + 1));
    }
    const char *replay = getenv("FSX_SEED"), *many = getenv("FSX_OPS");
    unsigned long count = many ? strtoul(many, NULL, 10) : 10000;
    if (replay) {
        run(strtoull(replay, NULL, 10), count);
        return 0;
    }
    for (unsigned i = 0; i < sizeof found / sizeof *found; i++)
        run(found[i], count);
    uint64_t fresh = now_ms();
    printf("seed %llu\n", (unsigned long long)fresh);
    run(fresh, count);
    return 0;
}
