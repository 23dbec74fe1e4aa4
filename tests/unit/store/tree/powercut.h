/* SPDX-License-Identifier: MIT
 *
 * A disk whose power fails: from a record of changes (tests/lib/disk_shim.h) the store's files as they may be found afterwards.
 * What was done to a file before the last sync of it that had ended is there; of what was done later any part may be, in any
 * order: whole writes, pages, or sectors of 512 bytes, which a disk writes as one. When a sync failed, the same is so for ever of
 * what was done since the one before it. Names are as safe as the last sync of their folder. */
#ifndef TESTS_UNIT_STORE_TREE_POWERCUT_H
#define TESTS_UNIT_STORE_TREE_POWERCUT_H

#include "tests/lib/disk_shim.h"
#include "tests/unit/store/tree/treebed.h"

#include <fcntl.h>

#define POWERCUT_FILES 16
#define POWERCUT_LOST  16

struct recording {
    uint8_t *bytes;
    size_t len;
};

static inline struct recording recording_read(const char *path)
{
    struct recording r = {0};
    FILE *f = fopen(path, "rbe");
    CHECK(f);
    CHECK_EQ(fseek(f, 0, SEEK_END), 0);
    r.len = (size_t)ftell(f);
    rewind(f);
    r.bytes = mem_new(r.len + 1);
    CHECK_EQ(fread(r.bytes, 1, r.len, f), r.len);
    fclose(f);
    return r;
}

static inline struct disk_record record_at(const struct recording *r, size_t at)
{
    struct disk_record d;
    CHECK(r->len - at >= sizeof d);
    memcpy(&d, r->bytes + at, sizeof d);
    CHECK(d.len <= r->len - at - sizeof d);
    return d;
}

enum luck { LUCK_NONE, LUCK_ALL, LUCK_WRITES, LUCK_PAGES, LUCK_SECTORS, LUCK_LAST, LUCKS };

static inline void put_bytes(int fd, const uint8_t *data, size_t len, uint64_t at)
{
    CHECK_EQ(pwrite(fd, data, len, (off_t)at), len);
}

static inline void put_part(int fd, const struct disk_record *d, const uint8_t *data, enum luck luck, struct rng *rng)
{
    size_t unit = luck == LUCK_PAGES ? 4096 : luck == LUCK_SECTORS ? 512 : SIZE_MAX;
    for (size_t at = 0, n; at < d->len; at += n) {
        n = d->len - at < unit ? d->len - at : unit;
        if (rng_below(rng, 2))
            put_bytes(fd, data + at, n, d->at + at);
    }
}

/* What is certain at a cut: per file the end of its last sync, but for what a failed one lost; and that of the folder */
struct certain {
    size_t synced[POWERCUT_FILES], folder;
    struct lost {
        uint32_t file;
        size_t from, to;
    } lost[POWERCUT_LOST];
    unsigned lost_count;
};

static inline bool is_certain(const struct certain *c, uint32_t file, size_t at)
{
    for (unsigned i = 0; i < c->lost_count; i++)
        if (c->lost[i].file == file && at >= c->lost[i].from && at < c->lost[i].to)
            return false;
    return at < c->synced[file];
}

static inline struct certain certain_at(const struct recording *r, size_t cut)
{
    struct certain c = {.folder = 0};
    for (size_t at = 0; at < cut;) {
        struct disk_record d = record_at(r, at);
        at += sizeof d + d.len;
        CHECK(d.file < POWERCUT_FILES);
        if (d.change == DISK_SYNCED)
            c.synced[d.file] = at;
        else if (d.change == DISK_UNSYNCED) {
            CHECK(c.lost_count < POWERCUT_LOST);
            c.lost[c.lost_count++] = (struct lost){d.file, c.synced[d.file], at};
        }
        if (d.change == DISK_FOLDER)
            c.folder = at;
    }
    return c;
}

static inline void file_path(const char *dir, uint32_t file, char path[128])
{
    if (file == DISK_DATA_FILE)
        snprintf(path, 128, "%s/data.mdb", dir);
    else if (file == DISK_NEW_FILE)
        snprintf(path, 128, "%s/data.mdb.new", dir);
    else
        snprintf(path, 128, "%s/segment-%08x", dir, (unsigned)(file - DISK_SEGMENTS));
}

static inline void do_change(int fd, const struct disk_record *d)
{
    static const uint8_t zeros[4096];
    if (d->change == DISK_CUT)
        CHECK_EQ(ftruncate(fd, (off_t)d->at), 0);
    for (uint64_t at = d->at; d->change == DISK_PUNCHED && at < d->at + d->size; at += sizeof zeros)
        put_bytes(fd, zeros, sizeof zeros, at);
}

static inline void do_write(int fd, const struct disk_record *d, const uint8_t *data, enum luck luck, bool last,
                            struct rng *rng)
{
    if (luck == LUCK_ALL || (luck == LUCK_LAST && last))
        put_bytes(fd, data, d->len, d->at);
    else if (luck != LUCK_NONE && luck != LUCK_LAST)
        put_part(fd, d, data, luck, rng);
}

static inline void do_rename(int fds[POWERCUT_FILES], const struct disk_record *d, const char *dir)
{
    char from[128], to[128];
    CHECK(d->size < POWERCUT_FILES);
    if (fds[d->size] < 0)
        return;
    file_path(dir, d->size, from);
    file_path(dir, d->file, to);
    CHECK_EQ(rename(from, to), 0);
    fds[d->file] = fds[d->size];
    fds[d->size] = -1;
}

/* The files after the first `cut` bytes of the record, which end with a whole one. */
static inline void powercut_make(const struct recording *r, size_t cut, enum luck luck, struct rng *rng, const char *dir)
{
    struct certain c = certain_at(r, cut);
    int fds[POWERCUT_FILES];
    char path[128];
    memset(fds, -1, sizeof fds);
    for (size_t at = 0, end; at < cut; at = end) {
        struct disk_record d = record_at(r, at);
        const uint8_t *data = r->bytes + at + sizeof d;
        int *fd = &fds[d.file];
        end = at + sizeof d + d.len;
        bool lucky = luck == LUCK_ALL || (luck != LUCK_NONE && rng_below(rng, 2));
        bool named = at < c.folder || lucky;
        file_path(dir, d.file, path);
        if (d.change == DISK_MADE && named)
            *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        else if (d.change == DISK_REMOVED && named && *fd >= 0) {
            CHECK_EQ(unlink(path), 0);
            close(*fd);
            *fd = -1;
        } else if (d.change == DISK_RENAMED && named)
            do_rename(fds, &d, dir);
        if (*fd < 0) /* its name did not come so far */
            continue;
        bool sure = is_certain(&c, d.file, at) || d.synced;
        if (d.change == DISK_WROTE)
            do_write(*fd, &d, data, sure ? LUCK_ALL : luck, end == cut, rng);
        else if (sure || lucky)
            do_change(*fd, &d);
    }
    for (unsigned i = 0; i < POWERCUT_FILES; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

#endif
