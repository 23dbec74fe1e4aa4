/* SPDX-License-Identifier: MIT
 *
 * Whole trees: compared, filled, and taken away. */
#include "tests/mount/check.h"
#include "tests/mount/tree_fuzz.h"

#include <dirent.h>

#define RECENT 1500000000 /* some_time() gives older ones */

/* Types, sizes of files and links, permissions, whether it has a name, and the time that was set; a time of today only says
 * that the content changed. Folders of the reference may be newer: what share/ refuses was done and undone there. */
void same_attributes(const struct stat st[2], const char *path)
{
    mode_t mask = S_ISLNK(st[0].st_mode) ? S_IFMT : S_IFMT | 0777;
    if ((st[0].st_mode & mask) != (st[1].st_mode & mask))
        wrong("%s: mode %o there, %o here", path, (unsigned)st[0].st_mode, (unsigned)st[1].st_mode);
    bool dir = S_ISDIR(st[0].st_mode);
    if (!dir && st[0].st_size != st[1].st_size)
        wrong("%s: size %lld there, %lld here", path, (long long)st[0].st_size, (long long)st[1].st_size);
    if ((st[0].st_nlink == 0) != (st[1].st_nlink == 0))
        wrong("%s: %u links there, %u here", path, (unsigned)st[0].st_nlink, (unsigned)st[1].st_nlink);
    const struct timespec *a = &st[0].st_mtim, *b = &st[1].st_mtim;
    bool set_there = a->tv_sec < RECENT, set_here = b->tv_sec < RECENT;
    if ((set_there && (a->tv_sec != b->tv_sec || a->tv_nsec != b->tv_nsec)) || (set_here && !set_there && !dir))
        wrong("%s: time %lld.%09ld there, %lld.%09ld here", path, (long long)a->tv_sec, a->tv_nsec, (long long)b->tv_sec,
              b->tv_nsec);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

#define ENTRIES_MAX 4000

/* Sorted; the caller frees them */
static unsigned list(int dir, char **ret)
{
    unsigned n = 0;
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d)
        wrong("a folder cannot be opened: %s", strerror(errno));
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && n < ENTRIES_MAX)
            CHECK(ret[n++] = strdup(e->d_name));
    closedir(d);
    qsort(ret, n, sizeof *ret, by_name);
    return n;
}

static void same_content(const int fd[2], const char *path)
{
    static char data[2][65536];
    for (;;) {
        BOTH(read(fd[i], data[i], sizeof *data));
        if (!agree("read of all") || memcmp(data[0], data[1], (size_t)both.result[0]) != 0)
            wrong("%s: other bytes", path);
        if (both.result[0] == 0)
            return;
    }
}

static unsigned same_folder(const int fd[2], const char *path);

static unsigned same_node(const int dir[2], const char *name, const char *path)
{
    static char target[2][5000];
    struct stat st[2];
    int fd[2];
    BOTH(fstatat(dir[i], name, &st[i], AT_SYMLINK_NOFOLLOW));
    if (!agree("lstat of all"))
        wrong("%s: listed, but not there", path);
    same_attributes(st, path);
    if (S_ISLNK(st[0].st_mode)) {
        BOTH(readlinkat(dir[i], name, target[i], sizeof *target));
        if (!agree("readlink of all") || memcmp(target[0], target[1], (size_t)both.result[0]) != 0)
            wrong("%s: another target", path);
        return 1;
    }
    for (int i = 0; i < 2; i++)
        if ((fd[i] = openat(dir[i], name, O_RDONLY | O_NOFOLLOW)) < 0)
            wrong("%s: cannot be opened: %s", path, strerror(errno));
    unsigned nodes = 1;
    if (S_ISDIR(st[0].st_mode))
        nodes += same_folder(fd, path);
    else
        same_content(fd, path);
    close(fd[0]);
    close(fd[1]);
    return nodes;
}

static unsigned same_folder(const int fd[2], const char *path)
{
    char **entries[2], longer[PATH_BYTES * 8];
    unsigned n[2], nodes = 0;
    for (int i = 0; i < 2; i++) {
        CHECK(entries[i] = malloc(ENTRIES_MAX * sizeof **entries));
        n[i] = list(fd[i], entries[i]);
    }
    for (unsigned k = 0; k < n[0] || k < n[1]; k++) {
        if (k >= n[0] || k >= n[1] || strcmp(entries[0][k], entries[1][k]) != 0)
            wrong("%s: %s there, %s here", path, k < n[0] ? entries[0][k] : "nothing", k < n[1] ? entries[1][k] : "nothing");
        snprintf(longer, sizeof longer, "%s/%s", path, entries[0][k]);
        nodes += same_node(fd, entries[0][k], longer);
    }
    for (int i = 0; i < 2; i++) {
        while (n[i] > 0)
            free(entries[i][--n[i]]);
        free(entries[i]);
    }
    return nodes;
}

unsigned compare(void)
{
    return same_folder(both.top, "");
}

/* ---- many at once ---- */

void do_bulk(void)
{
    char p[PATH_BYTES], q[PATH_BYTES + 16];
    make_path(p);
    unsigned many = below(250);
    note("%u files in %s", many, p);
    BOTH(mkdirat(both.root[i], p, 0755));
    agree("mkdir");
    touched(p);
    for (unsigned k = 0; k < many; k++) {
        snprintf(q, sizeof q, "%s/n%u", p, k);
        BOTH(mknodat(both.root[i], q, S_IFREG | 0644, 0));
        agree("mknod");
        touched(q);
    }
}

static void wipe(int dir, const char *name)
{
    char **entries;
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return;
    if (S_ISDIR(st.st_mode)) {
        int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (fd < 0)
            wrong("wipe: %s: %s", name, strerror(errno));
        CHECK(entries = malloc(ENTRIES_MAX * sizeof *entries));
        unsigned n = list(fd, entries);
        while (n > 0) {
            wipe(fd, entries[--n]);
            touched(entries[n]);
            free(entries[n]);
        }
        free(entries);
        close(fd);
    }
    if (unlinkat(dir, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) != 0)
        wrong("wipe: %s: %s", name, strerror(errno));
    touched(name);
}

void do_wipe(void)
{
    char p[PATH_BYTES];
    make_path(p);
    size_t n = strlen(p);
    if (p[n - 1] == '/' || strstr(p, "..") || p[n - 1] == '.')
        return;
    note("rm -r %s", p);
    for (int i = 0; i < 2; i++)
        wipe(both.root[i], p);
}

void wipe_all(void)
{
    char **entries;
    CHECK(entries = malloc(ENTRIES_MAX * sizeof *entries));
    unsigned n = list(both.root[0], entries);
    note("rm -r everything");
    while (n > 0) {
        for (int i = 0; i < 2; i++)
            wipe(both.root[i], entries[n - 1]);
        free(entries[--n]);
    }
    free(entries);
}
