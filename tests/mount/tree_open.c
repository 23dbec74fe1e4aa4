/* SPDX-License-Identifier: MIT
 *
 * Open files and folders: used on after their names have gone, opened again through /proc, and listed while they change. */
#include "tests/mount/check.h"
#include "tests/mount/tree_fuzz.h"

#include <dirent.h>
#include <linux/falloc.h>

static uint8_t data[2][70000];

/* Long ago: a change of the content gives a time of today, so both are told apart for ever */
struct timespec some_time(void)
{
    return (struct timespec){.tv_sec = (time_t)(1000000000 + below(100000000)), .tv_nsec = below(1000000000)};
}

/* ---- opening ---- */

static void close_slot(struct slot *s)
{
    if (!s->used)
        return;
    BOTH(close(s->fd[i]));
    agree("close");
    s->used = false;
}

void close_slots(void)
{
    for (unsigned k = 0; k < SLOTS; k++)
        close_slot(&slots[k]);
}

static void keep(struct slot *s, const long fd[2])
{
    struct stat st;
    for (int i = 0; i < 2; i++)
        s->fd[i] = (int)fd[i];
    CHECK(fstat(s->fd[0], &st) == 0);
    s->dir = S_ISDIR(st.st_mode);
    s->used = true;
}

/* A descriptor of one without a position that counts is opened anew: by name, or though the name may be gone */
static void open_again(struct slot *from, struct slot *to)
{
    static const int flags[] = {O_RDONLY, O_RDWR, O_WRONLY, O_RDWR | O_TRUNC};
    int how = from->dir ? O_RDONLY | O_DIRECTORY : flags[below(4)];
    char path[2][64];
    note("open again #%d -> #%d %#x", (int)(from - slots), (int)(to - slots), (unsigned)how);
    for (int i = 0; i < 2; i++)
        snprintf(path[i], sizeof *path, "/proc/self/fd/%d", from->fd[i]);
    BOTH(open(path[i], how));
    long fd[2] = {both.result[0], both.result[1]};
    both.result[0] = both.result[1] = 0;
    if (!agree("open again"))
        return;
    close_slot(to);
    keep(to, fd);
}

void do_open(void)
{
    static const int flags[] = {O_RDWR | O_CREAT,
                                O_RDWR | O_CREAT,
                                O_WRONLY | O_CREAT | O_TRUNC,
                                O_RDWR | O_CREAT | O_EXCL,
                                O_RDONLY,
                                O_RDONLY | O_DIRECTORY,
                                O_RDWR | O_NOFOLLOW,
                                O_WRONLY | O_APPEND | O_CREAT,
                                O_RDWR | O_TRUNC,
                                O_RDONLY | O_CREAT | O_NOFOLLOW,
                                O_RDONLY | O_PATH,
                                O_RDWR | O_TMPFILE};
    struct base b;
    char p[PATH_BYTES];
    struct slot *s = &slots[below(SLOTS)], *from = &slots[below(SLOTS)];
    if (s->used && below(3) == 0) {
        note("close #%d", (int)(s - slots));
        close_slot(s);
        return;
    }
    if (from->used && from != s && below(8) == 0) {
        open_again(from, s);
        return;
    }
    make_base(&b), make_path(p);
    int how = flags[below(12)];
    bool without_name = (how & O_TMPFILE) == O_TMPFILE;
    note("open %#x %s%s -> #%d", (unsigned)how, b.name, p, (int)(s - slots));
    BOTH(openat(b.fd[i], p, how, 0666));
    long fd[2] = {both.result[0], both.result[1]};
    both.result[0] = both.result[1] = 0;
    bool opened = agree(without_name ? "tmpfile" : "open");
    if (without_name && only_reference())
        close((int)fd[0]);
    if (!opened)
        return;
    if (how & O_CREAT)
        know(b.name[0] ? "" : p), touched(p);
    close_slot(s);
    keep(s, fd);
}

/* ---- using what is open ---- */

static void use_read(struct slot *s)
{
    unsigned at = below(75000), len = below(4) ? below(3000) : below(sizeof *data);
    bool position = below(3) == 0;
    note("read #%d %u, %u", (int)(s - slots), at, len);
    BOTH(position ? read(s->fd[i], data[i], len) : pread(s->fd[i], data[i], len, at));
    if (agree("read") && memcmp(data[0], data[1], (size_t)both.result[0]) != 0)
        wrong("read: other bytes");
}

static void use_write(struct slot *s)
{
    unsigned at = below(60) == 0 ? below(1300000) : below(60000), len = below(4) ? below(3000) : below(sizeof *data);
    bool position = below(3) == 0;
    note("write #%d %u, %u", (int)(s - slots), at, len);
    uint64_t fill = rnd();
    for (unsigned k = 0; k < len; k++)
        data[0][k] = (uint8_t)((fill >> (k % 8)) + k);
    BOTH(position ? write(s->fd[i], data[0], len) : pwrite(s->fd[i], data[0], len, at));
    agree("write");
}

static void use_truncate(struct slot *s)
{
    unsigned size = below(70000);
    note("ftruncate #%d %u", (int)(s - slots), size);
    BOTH(ftruncate(s->fd[i], size));
    agree("ftruncate");
}

static void use_stat(struct slot *s)
{
    struct stat st[2];
    note("fstat #%d", (int)(s - slots));
    BOTH(fstat(s->fd[i], &st[i]));
    if (agree("fstat"))
        same_attributes(st, "(open)");
}

static void use_attributes(struct slot *s)
{
    struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, some_time()};
    unsigned what = below(3);
    note("%s #%d %lld", what == 0 ? "fchmod" : "futimens", (int)(s - slots), (long long)t[1].tv_sec);
    if (what == 0) {
        BOTH(fchmod(s->fd[i], 0640));
    } else {
        BOTH(futimens(s->fd[i], t));
    }
    agree("fchmod or futimens");
}

static void use_sync(struct slot *s)
{
    note("fsync #%d", (int)(s - slots));
    bool all = below(2);
    BOTH(all ? fsync(s->fd[i]) : fdatasync(s->fd[i]));
    agree("fsync");
}

static void use_seek(struct slot *s)
{
    static const int whence[] = {SEEK_SET, SEEK_CUR, SEEK_END};
    unsigned to = below(50000), how = below(3);
    if (s->dir)
        return; /* positions of folders are the file system's own */
    note("lseek #%d %u, %u", (int)(s - slots), to, how);
    BOTH(lseek(s->fd[i], to, whence[how]));
    agree("lseek");
}

/* What is open and what a name leads to are the same node here and there, or other nodes here and there. */
static void use_identity(struct slot *s)
{
    struct stat open_st[2], name_st[2];
    struct base b;
    char p[PATH_BYTES];
    make_base(&b), make_path(p);
    note("identity #%d %s%s", (int)(s - slots), b.name, p);
    BOTH(fstat(s->fd[i], &open_st[i]) == 0 ? fstatat(b.fd[i], p, &name_st[i], 0) : -1);
    if (agree("identity") && (open_st[0].st_ino == name_st[0].st_ino) != (open_st[1].st_ino == name_st[1].st_ino))
        wrong("identity: the same node there, another here, or the other way round");
}

static void use_allocate(struct slot *s)
{
    unsigned at = below(60000), len = below(3) ? below(9000) : 0;
    int mode = below(2) ? 0 : FALLOC_FL_KEEP_SIZE;
    note("fallocate #%d %d %u, %u", (int)(s - slots), mode, at, len);
    BOTH(fallocate(s->fd[i], mode, at, len));
    agree("fallocate");
}

static void use_copy(struct slot *s)
{
    struct slot *to = &slots[below(SLOTS)];
    loff_t from[2], at[2];
    from[0] = from[1] = below(3) ? 0 : below(30000);
    at[0] = at[1] = below(3) ? from[0] : below(30000);
    unsigned len = below(3) ? 1000000 : below(20000);
    if (!to->used || to == s)
        return;
    note("copy #%d -> #%d %lld, %lld, %u", (int)(s - slots), (int)(to - slots), (long long)from[0], (long long)at[0], len);
    BOTH(copy_file_range(s->fd[i], &from[i], to->fd[i], &at[i], len, 0));
    agree("copy");
}

void do_use(void)
{
    static void (*const uses[])(struct slot *) = {use_read,     use_read,     use_write,      use_write, use_write,
                                                  use_truncate, use_stat,     use_attributes, use_sync,  use_seek,
                                                  use_copy,     use_identity, use_allocate};
    struct slot *s = &slots[below(SLOTS)];
    if (s->used)
        uses[below(13)](s);
}

/* ---- listings while names come and go ---- */

#define NAMES_MAX   4000
#define TOUCHED_MAX 400

struct name_list {
    char *name[NAMES_MAX];
    unsigned count;
};

static struct {
    DIR *dir;      /* of share/; NULL: none is open */
    int reference; /* the same folder there */
    struct name_list before, seen;
    char touched[TOUCHED_MAX][256];
    unsigned touched_count; /* TOUCHED_MAX: too many to tell */
    long cookie;            /* telldir after that many of `seen`; -1: none */
    unsigned cookie_seen;
} stream;

static void list_clear(struct name_list *l)
{
    while (l->count > 0)
        free(l->name[--l->count]);
}

static void list_add(struct name_list *l, const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return;
    if (l->count == NAMES_MAX)
        wrong("a listing does not end");
    CHECK(l->name[l->count++] = strdup(name));
}

static unsigned list_has(const struct name_list *l, const char *name)
{
    unsigned n = 0;
    for (unsigned k = 0; k < l->count; k++)
        n += strcmp(l->name[k], name) == 0;
    return n;
}

static void list_reference(struct name_list *l)
{
    int fd = openat(stream.reference, ".", O_RDONLY | O_DIRECTORY);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *e; d && (e = readdir(d));)
        list_add(l, e->d_name);
    if (d)
        closedir(d);
}

void touched(const char *path)
{
    char copy[PATH_BYTES];
    size_t n = strlen(strcpy(copy, path));
    while (n > 0 && copy[n - 1] == '/')
        copy[--n] = 0;
    const char *slash = strrchr(copy, '/');
    if (stream.dir && stream.touched_count < TOUCHED_MAX)
        snprintf(stream.touched[stream.touched_count++], 256, "%.255s", slash ? slash + 1 : copy);
}

static bool is_touched(const char *name)
{
    for (unsigned k = 0; k < stream.touched_count; k++)
        if (strcmp(stream.touched[k], name) == 0)
            return true;
    return false;
}

static void stream_open(void)
{
    struct slot *s = &slots[below(SLOTS)];
    bool root = !s->used || !s->dir;
    note("opendir %s", root ? "." : "(open folder)");
    int fd[2];
    for (int i = 0; i < 2; i++)
        fd[i] = openat(root ? both.root[i] : s->fd[i], ".", O_RDONLY | O_DIRECTORY);
    if ((fd[0] < 0) != (fd[1] < 0))
        wrong("opendir: %d and %d", fd[0], fd[1]);
    if (fd[0] < 0)
        return; /* a folder without name */
    stream.reference = fd[0];
    CHECK(stream.dir = fdopendir(fd[1]));
    stream.touched_count = 0;
    stream.cookie = -1;
    list_reference(&stream.before);
}

static void stream_read(unsigned count)
{
    struct dirent *e;
    note("readdir, %u entries", count);
    errno = 0;
    while (count-- > 0 && (errno = 0, e = readdir(stream.dir)))
        list_add(&stream.seen, e->d_name);
    if (errno)
        wrong("readdir: %s", strerror(errno));
}

/* Back to the start, or to where it was some time ago */
static void stream_back(void)
{
    bool back = stream.cookie >= 0 && below(2);
    note(back ? "seekdir" : "rewinddir");
    if (back)
        seekdir(stream.dir, stream.cookie);
    else
        rewinddir(stream.dir);
    while (stream.seen.count > (back ? stream.cookie_seen : 0))
        free(stream.seen.name[--stream.seen.count]);
    if (!back)
        stream.cookie = -1;
}

static void stream_close(void)
{
    static struct name_list after;
    stream_read(NAMES_MAX + 1);
    list_reference(&after);
    note("closedir");
    for (unsigned k = 0; k < stream.seen.count && stream.touched_count < TOUCHED_MAX; k++) {
        const char *name = stream.seen.name[k];
        if (is_touched(name))
            continue;
        if (list_has(&stream.seen, name) != 1)
            wrong("listing: %s comes %u times", name, list_has(&stream.seen, name));
        if (!list_has(&stream.before, name) && !list_has(&after, name))
            wrong("listing: %s was never there", name);
    }
    for (unsigned k = 0; k < stream.before.count && stream.touched_count < TOUCHED_MAX; k++) {
        const char *name = stream.before.name[k];
        if (!is_touched(name) && list_has(&after, name) && !list_has(&stream.seen, name))
            wrong("listing: %s is left out", name);
    }
    list_clear(&after);
    list_clear(&stream.before);
    list_clear(&stream.seen);
    closedir(stream.dir);
    close(stream.reference);
    stream.dir = NULL;
}

void do_stream(void)
{
    if (!stream.dir) {
        stream_open();
        return;
    }
    switch (below(8)) {
    case 0:
        stream_close();
        break;
    case 1:
        stream_back();
        break;
    case 2:
        note("telldir");
        stream.cookie = telldir(stream.dir);
        stream.cookie_seen = stream.seen.count;
        break;
    default:
        stream_read(below(3) ? below(5) : below(400));
    }
}
