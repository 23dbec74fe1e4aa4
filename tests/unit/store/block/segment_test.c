/* SPDX-License-Identifier: MIT */
#include "store/block/segment.h"

#include "store/base/mapfault.h"

#include "store_fixture.h"
#include "tests/lib/short_memory.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

struct bed {
    struct folder f;
    struct segments *s;
    struct block *b; /* aligned or not, as its maker gives it */
};

static void begin(struct bed *t, uint32_t len)
{
    folder_make(&t->f);
    t->s = segments_new(t->f.path);
    t->b = raw_block(7, len);
}

static void end(struct bed *t)
{
    segments_free(t->s);
    block_unref(t->b);
    folder_remove(&t->f);
}

static void file_path(const struct bed *t, unsigned number, char path[128])
{
    snprintf(path, 128, "%s/segment-%08x", t->f.path, number);
}

static bool reads(struct bed *t, const struct extent *e, struct span data)
{
    struct span got;
    return segments_flush(t->s) == 0 && segments_get(t->s, e, &got) == 0 && span_eq(got, data);
}

Test(segment, what_is_written_is_read)
{
    struct bed t;
    begin(&t, 300001);
    struct extent a = {0, 0, 300001}, b = {0, extent_units(a.len), 4096}, c = {0, b.unit + 1, 1};
    cr_assert_eq(b.unit, 74);
    cr_assert_eq(segments_write(t.s, &a, block_span(t.b)), 0);
    cr_assert_eq(segments_write(t.s, &b, span_sub(block_span(t.b), 1, 4096)), 0); /* does not lie straight in memory */
    cr_assert_eq(segments_write(t.s, &c, span_sub(block_span(t.b), 9, 1)), 0);
    cr_assert(reads(&t, &a, block_span(t.b)));
    cr_assert(reads(&t, &b, span_sub(block_span(t.b), 1, 4096)));
    cr_assert(reads(&t, &c, span_sub(block_span(t.b), 9, 1)));
    cr_assert_eq(segments_sync(t.s), 0);
    segments_free(t.s);
    t.s = segments_new(t.f.path);
    cr_assert(reads(&t, &a, block_span(t.b)), "by the next run");
    uint32_t *list;
    cr_assert_eq(segments_list(t.s, &list), 1);
    cr_assert_eq(list[0], 0);
    free(list);
    cr_assert_geq(segments_disk_bytes(t.s), 300001);
    end(&t);
}

Test(segment, what_was_not_told_of_is_written_over)
{
    struct bed t;
    begin(&t, 200000);
    struct extent a = {3, 0, 200000}, again = {3, 10, 5000};
    cr_assert_eq(segments_write(t.s, &a, block_span(t.b)), 0);
    cr_assert_eq(segments_write(t.s, &again, span_sub(block_span(t.b), 0, 5000)), 0); /* a transaction that is tried again */
    cr_assert(reads(&t, &again, span_sub(block_span(t.b), 0, 5000)));
    struct extent forgotten = {3, 20, 196608};
    cr_assert_eq(segments_write(t.s, &forgotten, span_sub(block_span(t.b), 0, 196608)), 0);
    segments_forget(t.s);
    cr_assert_eq(segments_sync(t.s), 0);
    struct span none;
    cr_assert_eq(segments_get(t.s, &forgotten, &none), ERR_CORRUPT);
    segments_free(t.s);
    t.s = segments_new(t.f.path); /* after a crash, with nothing committed behind unit 5 */
    struct extent after = {3, 5, 100};
    cr_assert_eq(segments_write(t.s, &after, span_sub(block_span(t.b), 0, 100)), 0);
    cr_assert(reads(&t, &after, span_sub(block_span(t.b), 0, 100)));
    struct span got;
    cr_assert_eq(segments_get(t.s, &again, &got), ERR_CORRUPT, "what was behind is cut off");
    end(&t);
}

/* File systems that cannot read past the page cache say ERR_UNSUPPORTED to all of it. */
Test(segment, past_the_page_cache)
{
    struct bed t;
    char path[128];
    begin(&t, 300001);
    struct extent a = {0, 2, 300001};
    struct block *into = raw_block(1, 300001);
    cr_assert_eq(segments_write(t.s, &a, block_span(t.b)), 0);
    cr_assert_eq(segments_sync(t.s), 0);
    file_path(&t, 0, path);
    int fd = open(path, O_RDWR);
    cr_assert_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    int r = segments_read(t.s, &a, into->data);
    cr_assert(r == 0 || r == ERR_UNSUPPORTED);
    cr_assert(r < 0 || span_eq(block_span(into), block_span(t.b)));
    cr_assert(reads(&t, &a, block_span(t.b)));
    cr_assert_eq(segments_read(t.s, &a, into->data), ERR_UNSUPPORTED, "it is in the page cache now");
    cr_assert_eq(segments_read(t.s, &a, into->data + 1), ERR_UNSUPPORTED, "not aligned");
    cr_assert_eq(ftruncate(fd, 100000), 0);
    cr_assert_lt(segments_read(t.s, &a, into->data), 0);
    struct extent beyond = {0, 80, 300001};
    cr_assert_eq(segments_read(t.s, &beyond, into->data), ERR_CORRUPT);
    close(fd);
    block_unref(into);
    end(&t);
}

Test(segment, damage_is_an_error_and_no_signal)
{
    struct bed t;
    char path[128];
    begin(&t, 200000);
    struct extent a = {0, 0, 200000}, beyond = {0, 40, 200000}, nowhere = {9, 0, 1};
    struct extent wild = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
    struct span got;
    cr_assert_eq(segments_write(t.s, &a, block_span(t.b)), 0);
    cr_assert_eq(segments_flush(t.s), 0);
    cr_assert_eq(segments_get(t.s, &beyond, &got), ERR_CORRUPT);
    cr_assert_eq(segments_get(t.s, &nowhere, &got), ERR_CORRUPT);
    cr_assert_eq(segments_get(t.s, &wild, &got), ERR_CORRUPT);
    segments_free(t.s);
    file_path(&t, 0, path);
    cr_assert_eq(truncate(path, 100000), 0);
    t.s = segments_new(t.f.path);
    cr_assert_eq(segments_get(t.s, &a, &got), ERR_CORRUPT);
    end(&t);
}

/* What a disk with a bad sector does to a file under a map, another program's truncation does too. */
Test(segment, a_page_that_is_gone_is_told_and_comes_back)
{
    struct bed t;
    struct span got;
    char path[128];
    static uint8_t copy[100000];
    begin(&t, 100000);
    struct extent a = {0, 0, 100000};
    cr_assert_eq(segments_write(t.s, &a, block_span(t.b)), 0);
    cr_assert_eq(segments_sync(t.s), 0);
    cr_assert(reads(&t, &a, block_span(t.b)));
    file_path(&t, 0, path);
    cr_assert_eq(truncate(path, 40960), 0);
    cr_assert_eq(segments_get(t.s, &a, &got), 0);
    unsigned long before = mapfault_count(), epoch = mapfault_epoch();
    cr_assert(mapfault_look(span_sub(got, 0, 40960)));
    cr_assert_eq(mapfault_epoch(), epoch);
    cr_assert_not(mapfault_look(got));
    cr_assert_eq(mapfault_count() - before, 15, "pages");
    cr_assert_neq(mapfault_epoch(), epoch);
    cr_assert_not(mapfault_copy(copy, got), "it is zeros for whoever comes later");
    cr_assert(span_eq(span_of(copy, 40960), span_sub(block_span(t.b), 0, 40960)));
    cr_assert_eq(copy[99999], 0);
    cr_assert(mapfault_copy(copy, span_sub(got, 0, 40960)));
    cr_assert_eq(segments_get(t.s, &a, &got), 0);
    cr_assert_not(mapfault_look(got), "asked for again");
    cr_assert_eq(mapfault_count() - before, 30);
    int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, t.b->data, t.b->len, 0), 100000);
    cr_assert_eq(close(fd), 0);
    cr_assert(reads(&t, &a, block_span(t.b)), "no page of zeros stays");
    cr_assert(mapfault_copy(copy, got));
    end(&t);
}

Test(segment, a_thread_may_rather_end, .signal = SIGBUS)
{
    struct bed t;
    struct span got;
    char path[128];
    (void)signal(SIGBUS, SIG_DFL); /* of a sanitizer, which is who was there before the map was watched */
    begin(&t, 100000);
    struct extent a = {0, 0, 100000};
    cr_assert_eq(segments_write(t.s, &a, block_span(t.b)), 0);
    cr_assert_eq(segments_sync(t.s), 0);
    cr_assert_eq(segments_get(t.s, &a, &got), 0);
    file_path(&t, 0, path);
    cr_assert_eq(truncate(path, 0), 0);
    folder_remove(&t.f);
    mapfault_deadly(true);
    (void)mapfault_look(got);
    cr_assert(false);
}

Test(segment, room_comes_back)
{
    struct bed t;
    char path[128];
    struct stat before, after;
    begin(&t, 1 << 20);
    struct extent a = {0, 0, 1 << 20}, b = {0, 256, 1 << 20}, c = {1, 0, 1 << 20};
    cr_assert_eq(segments_write(t.s, &a, block_span(t.b)), 0);
    cr_assert_eq(segments_write(t.s, &b, block_span(t.b)), 0);
    cr_assert_eq(segments_write(t.s, &c, block_span(t.b)), 0);
    cr_assert_eq(segments_sync(t.s), 0);
    file_path(&t, 0, path);
    cr_assert_eq(stat(path, &before), 0);
    cr_assert_eq(segments_punch(t.s, &a), 0);
    cr_assert_eq(stat(path, &after), 0);
    cr_assert(after.st_blocks + 2000 < before.st_blocks || after.st_blocks == before.st_blocks, "or no holes here");
    cr_assert(reads(&t, &b, block_span(t.b)), "its neighbour stays");
    segments_remove(t.s, 0);
    cr_assert_not(segments_exist(t.s, 0));
    cr_assert(segments_exist(t.s, 1));
    cr_assert(reads(&t, &c, block_span(t.b)));
    segments_remove(t.s, 1); /* the one that is written to */
    cr_assert_eq(segments_write(t.s, &c, block_span(t.b)), 0);
    cr_assert(reads(&t, &c, block_span(t.b)));
    end(&t);
}

/* Whoever lists them removes what nobody needs, or begins anew: a part, or a failure, must not pass for all of them. */
Test(segment, without_memory_there_is_no_list)
{
    struct bed t;
    uint32_t *list;
    struct blockstore *bs;
    struct why why = {""};
    begin(&t, 4096);
    struct extent a = {0, 0, 4096};
    cr_assert_eq(segments_write(t.s, &a, block_span(t.b)), 0);
    cr_assert_eq(segments_sync(t.s), 0);
    struct blockstore_options o = {.dir = t.f.path};
    cr_assert_eq(blockstore_open(&bs, &o, &why), ERR_CORRUPT, "the index is gone");
    short_memory_from = 0;
    cr_assert_eq(segments_list(t.s, &list), ERR_NO_MEMORY);
    cr_assert_eq(blockstore_open(&bs, &o, &why), ERR_NO_MEMORY);
    short_memory_from = SIZE_MAX;
    cr_assert_eq(segments_list(t.s, &list), 1);
    free(list);
    end(&t);
}
