/* SPDX-License-Identifier: MIT
 *
 * A disk whose power fails: from a record of writes and syncs (tests/lib/disk_shim.h) a file as it may be found afterwards. What
 * was written before the last sync that had ended is there; of what was written later any part may be, in any order: whole
 * writes, pages, or sectors of 512 bytes, which a disk writes as one. */
#ifndef TESTS_UNIT_STORE_TREE_POWERCUT_H
#define TESTS_UNIT_STORE_TREE_POWERCUT_H

#include "tests/lib/disk_shim.h"
#include "tests/unit/store/tree/treebed.h"

#include <fcntl.h>

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

/* The file after the first `cut` bytes of the record, which end with a whole one. */
static inline void powercut_make(const struct recording *r, size_t cut, enum luck luck, struct rng *rng, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    size_t safe = 0;
    for (size_t at = 0; at < cut;) {
        struct disk_record d = record_at(r, at);
        at += sizeof d + d.len;
        safe = d.kind == DISK_SYNC ? at : safe;
    }
    for (size_t at = 0; at < cut;) {
        struct disk_record d = record_at(r, at);
        const uint8_t *data = r->bytes + at + sizeof d;
        size_t end = at + sizeof d + d.len;
        bool last = end == cut;
        if (d.kind == DISK_NAME)
            CHECK_EQ(ftruncate(fd, (off_t)d.at), 0);
        else if (d.kind == DISK_WRITE && (at < safe || d.synced || luck == LUCK_ALL || (luck == LUCK_LAST && last)))
            put_bytes(fd, data, d.len, d.at);
        else if (d.kind == DISK_WRITE && luck != LUCK_NONE && luck != LUCK_LAST)
            put_part(fd, &d, data, luck, rng);
        at = end;
    }
    close(fd);
}

#endif
