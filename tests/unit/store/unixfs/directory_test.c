/* SPDX-License-Identifier: MIT */
#include "store/unixfs/directory.h"

#include "store/unixfs/hamt.h"
#include "store/unixfs/murmur3.h"
#include "tests/lib/short_memory.h"
#include "tests/unit/store/unixfs/dirs.h"

struct seen {
    unsigned count, stop_after; /* 0: never */
    char last[256];
    uint64_t next;
    uint8_t marks[100000];
    char all[256]; /* names, for small directories */
};

static int see(void *arg, const struct unixfs_entry *e, uint64_t next)
{
    struct seen *s = arg;
    unsigned number;
    if (s->stop_after && s->count == s->stop_after)
        return 1;
    cr_assert_gt(next, s->next);
    cr_assert_leq(next, UNIXFS_CURSOR_MAX);
    s->next = next;
    s->count++;
    (void)snprintf(s->last, sizeof s->last, "%.*s", (int)e->name.len, (const char *)e->name.data);
    if (sscanf(s->last, "file-%u", &number) == 1)
        s->marks[number]++;
    if (strlen(s->all) + e->name.len + 2 < sizeof s->all)
        strcat(strcat(s->all, s->last), " ");
    return 0;
}

static struct seen *seen_new(void)
{
    return MEM_NEW(struct seen);
}

static void expect_each_once(const struct seen *s, unsigned n)
{
    cr_assert_eq(s->count, n);
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(s->marks[i], 1, "file-%u: %u", i, s->marks[i]);
}

Test(directory, lookup)
{
    static const unsigned sizes[] = {0, 1, 1000, 20000};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct mem_blocks *m = mem_blocks_new();
        struct dirs_root root = dirs_many(m, sizes[k]);
        struct unixfs_entry e;
        struct cid empty = dirs_raw("");
        char name[32];
        for (unsigned i = 0; i < sizes[k]; i += 1 + sizes[k] / 500) {
            (void)snprintf(name, sizeof name, "file-%u", i);
            cr_assert_eq(unixfs_dir_lookup(&m->source, &root.cid, span_str(name), &e), 0);
            cr_assert(cid_eq(&e.cid, &empty) && e.known_file && e.tsize == 0);
        }
        (void)snprintf(name, sizeof name, "file-%u", sizes[k]);
        cr_assert_eq(unixfs_dir_lookup(&m->source, &root.cid, span_str(name), &e), ERR_NOT_FOUND);
        cr_assert_eq(unixfs_dir_lookup(&m->source, &root.cid, span_str(".."), &e), ERR_NOT_FOUND);
        cr_assert_eq(unixfs_dir_lookup(&m->source, &root.cid, SPAN_NONE, &e), ERR_NOT_FOUND);
        cr_assert_eq(unixfs_dir_lookup(&m->source, &empty, span_str("a"), &e), ERR_MISSING);
        cr_assert(cid_eq(&m->source.missing[0], &empty));
        mem_add_bytes(m, CODEC_RAW, SPAN_NONE, &empty);
        cr_assert_eq(unixfs_dir_lookup(&m->source, &empty, span_str("a"), &e), ERR_NOT_DIR);
        mem_blocks_free(m);
    }
}

Test(directory, listing_in_pieces)
{
    static const unsigned sizes[] = {0, 1, 7, 1000, 20000};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct mem_blocks *m = mem_blocks_new();
        struct dirs_root root = dirs_many(m, sizes[k]);
        struct seen *s = seen_new();
        uint64_t cursor = 0;
        int n;
        do {
            s->stop_after = s->count + 1 + sizes[k] / 97;
            n = unixfs_dir_list(&m->source, &root.cid, &cursor, see, s);
        } while (n == 1);
        cr_assert_eq(n, 0);
        expect_each_once(s, sizes[k]);
        unsigned count = s->count;
        cr_assert_eq(unixfs_dir_list(&m->source, &root.cid, &cursor, see, s), 0);
        cr_assert_eq(s->count, count); /* the end stays the end */
        cursor = UNIXFS_CURSOR_MAX;
        cr_assert_eq(unixfs_dir_list(&m->source, &root.cid, &cursor, see, s), 0);
        cr_assert_eq(s->count, count);
        free(s);
        mem_blocks_free(m);
    }
}

static int stop_with_error(void *arg, const struct unixfs_entry *e, uint64_t next)
{
    (void)arg, (void)e, (void)next;
    return ERR_NO_MEMORY;
}

Test(directory, callback_error_ends_the_listing)
{
    struct mem_blocks *m = mem_blocks_new();
    static const unsigned sizes[] = {3, 6000};
    for (unsigned k = 0; k < 2; k++) {
        struct dirs_root root = dirs_many(m, sizes[k]);
        uint64_t cursor = 0;
        cr_assert_eq(unixfs_dir_list(&m->source, &root.cid, &cursor, stop_with_error, NULL), ERR_NO_MEMORY);
        cr_assert_eq(cursor, 0);
    }
    mem_blocks_free(m);
}

struct looking_up {
    struct mem_blocks *m;
    const struct cid *dir;
    unsigned count;
};

static int look_up(void *arg, const struct unixfs_entry *e, uint64_t next)
{
    struct looking_up *l = arg;
    struct unixfs_entry again;
    cr_assert_eq(unixfs_dir_lookup(&l->m->source, l->dir, e->name, &again), 0);
    cr_assert_eq(again.next, next);
    cr_assert_eq(e->next, next);
    return l->count++ > 500;
}

Test(directory, a_lookup_knows_the_place_in_the_listing)
{
    struct mem_blocks *m = mem_blocks_new();
    static const unsigned sizes[] = {3, 6000}; /* basic, HAMT */
    for (unsigned k = 0; k < 2; k++) {
        struct dirs_root root = dirs_many(m, sizes[k]);
        struct looking_up l = {m, &root.cid, 0};
        uint64_t cursor = 0;
        cr_assert_geq(unixfs_dir_list(&m->source, &root.cid, &cursor, look_up, &l), 0);
        cr_assert_geq(l.count, 3);
    }
    mem_blocks_free(m);
}

/* Every shard comes from far away: what is noted is what gets fetched, and the number of round trips must be small. */
Test(directory, listing_with_missing_shards)
{
    struct mem_blocks *m = mem_blocks_new();
    struct dirs_root root = dirs_many(m, 20000);
    struct seen *s = seen_new();
    uint64_t cursor = 0;
    unsigned rounds = 0;
    int n;
    mem_hide_all(m, true);
    while ((n = unixfs_dir_list(&m->source, &root.cid, &cursor, see, s)) == ERR_MISSING) {
        cr_assert_gt(m->source.missing_count, 0);
        for (unsigned i = 0; i < m->source.missing_count; i++)
            mem_hide(m, &m->source.missing[i], false);
        source_forget_missing(&m->source);
        rounds++;
    }
    cr_assert_eq(n, 0);
    expect_each_once(s, 20000);
    cr_assert(rounds <= 4 + m->count / MISSING_MAX, "%u rounds for %u shards", rounds, m->count);
    free(s);
    mem_blocks_free(m);
}

/* Asks for what is noted and not asked for yet. */
static void ask(struct mem_blocks *m, struct cid *asked, unsigned came, unsigned *count)
{
    for (unsigned i = 0; i < m->source.missing_count; i++) {
        unsigned k = came;
        while (k < *count && !cid_eq(&asked[k], &m->source.missing[i]))
            k++;
        if (k == *count)
            asked[(*count)++] = m->source.missing[i];
    }
    source_forget_missing(&m->source);
}

/* The mount asks for all that is noted, and lists again for each block that comes: that must not look at all of a large
 * directory each time. */
Test(directory, listing_with_shards_that_come_one_by_one)
{
    struct mem_blocks *m = mem_blocks_new();
    struct dirs_root root = dirs_many(m, 20000);
    struct seen *s = seen_new();
    struct cid *asked = mem_array(m->count, sizeof *asked);
    unsigned count = 0, came = 0;
    uint64_t cursor = 0;
    int n;
    mem_hide_all(m, true);
    m->gets = 0;
    while ((n = unixfs_dir_list(&m->source, &root.cid, &cursor, see, s)) == ERR_MISSING) {
        ask(m, asked, came, &count);
        cr_assert(came < count);
        mem_hide(m, &asked[came++], false);
    }
    cr_assert_eq(n, 0);
    expect_each_once(s, 20000);
    cr_assert(m->gets <= 3 * MISSING_MAX / 2 * m->count, "%u looks for %u shards", m->gets, m->count);
    free(asked);
    free(s);
    mem_blocks_free(m);
}

static struct cid add_basic(struct mem_blocks *m, const char *const *names, unsigned n)
{
    struct buf block = BUF_INIT, message = BUF_INIT;
    struct cid cid;
    for (unsigned i = 0; i < n; i++) {
        char content[16];
        (void)snprintf(content, sizeof content, "%u", i);
        cid = dirs_raw(content);
        dagpb_add_link(&block, &cid, span_str(names[i]), i);
    }
    unixfs_add_directory_message(&message, NULL);
    dagpb_add_data(&block, buf_span(&message));
    mem_add_bytes(m, CODEC_DAG_PB, buf_span(&block), &cid);
    buf_done(&message);
    buf_done(&block);
    return cid;
}

/* Unsorted, repeated and impossible names, as foreign directories may have them. */
Test(directory, foreign_basic)
{
    static const char *const names[] = {"z", "a", "..", "a/b", "", "m", "a", ".", "z", "b"};
    struct mem_blocks *m = mem_blocks_new();
    struct cid dir = add_basic(m, names, 10);
    struct seen *s = seen_new();
    struct unixfs_entry e;
    uint64_t cursor = 0;
    int n;
    do {
        s->stop_after = s->count + 1;
        n = unixfs_dir_list(&m->source, &dir, &cursor, see, s);
    } while (n == 1);
    cr_assert_eq(n, 0);
    cr_assert_str_eq(s->all, "z a m b ");
    cr_assert_eq(unixfs_dir_lookup(&m->source, &dir, span_str("a"), &e), 0);
    cr_assert_eq(e.tsize, 1); /* the first */
    cr_assert_eq(unixfs_dir_lookup(&m->source, &dir, span_str("a/b"), &e), ERR_NOT_FOUND);
    free(s);
    mem_blocks_free(m);
}

/* One shard with another fanout: names are chosen so that their buckets differ. */
static struct cid add_shard(struct mem_blocks *m, unsigned bits, const char *const *names, unsigned n)
{
    static const char hex[] = "0123456789ABCDEF";
    struct buf block = BUF_INIT, message = BUF_INIT;
    uint8_t field[128] = {0};
    unsigned width = (bits + 3) / 4, size = (1u << bits) / 8;
    struct cid cid = dirs_raw("x");
    for (unsigned bucket = 0; bucket < 1u << bits; bucket++) {
        for (unsigned i = 0; i < n; i++) {
            char name[64];
            if (murmur3_x64_64(span_str(names[i])) >> (64 - bits) != bucket)
                continue;
            for (unsigned k = 0; k < width; k++)
                name[k] = hex[bucket >> (4 * (width - 1 - k)) & 15];
            (void)snprintf(name + width, sizeof name - width, "%s", names[i]);
            dagpb_add_link(&block, &cid, span_str(name), i);
            field[size - 1 - bucket / 8] |= (uint8_t)(1 << bucket % 8);
        }
    }
    unixfs_add_hamt_message(&message, span_of(field, size), 1u << bits, NULL);
    dagpb_add_data(&block, buf_span(&message));
    mem_add_bytes(m, CODEC_DAG_PB, buf_span(&block), &cid);
    buf_done(&message);
    buf_done(&block);
    return cid;
}

Test(directory, foreign_fanouts)
{
    static const char *const names[] = {"a", "hello", "470.txt", "0123456789abcdefg"}; /* 8, c, 0, 8e: not all with 3 bits */
    struct mem_blocks *m = mem_blocks_new();
    for (unsigned bits = 3; bits <= 10; bits++) {
        struct cid dir = add_shard(m, bits, names, bits == 3 ? 3 : 4);
        struct seen *s = seen_new();
        struct unixfs_entry e;
        uint64_t cursor = 0;
        if (bits >= 4 && bits < 5) { /* 85… and 8e… share the first four bits: one bucket twice */
            cr_assert_eq(unixfs_dir_list(&m->source, &dir, &cursor, see, s), ERR_INVALID);
        } else {
            cr_assert_eq(unixfs_dir_list(&m->source, &dir, &cursor, see, s), 0, "%u bits", bits);
            cr_assert_eq(s->count, bits == 3 ? 3 : 4);
            cr_assert_eq(unixfs_dir_lookup(&m->source, &dir, span_str("hello"), &e), 0);
            cr_assert_eq(unixfs_dir_lookup(&m->source, &dir, span_str("hullo"), &e), ERR_NOT_FOUND);
        }
        free(s);
    }
    mem_blocks_free(m);
}

/* Of a directory whose names do not ascend a table is made; a block of 2 MiB has a hundred thousand. */
Test(directory, no_memory_for_a_table_of_names)
{
    static const char *const names[] = {"z", "a", "m", "a"};
    struct mem_blocks *m = mem_blocks_new();
    struct cid dir = add_basic(m, names, 4);
    struct seen *s = seen_new();
    uint64_t cursor = 0;
    short_memory_from = 4 * 16;
    cr_assert_eq(unixfs_dir_list(&m->source, &dir, &cursor, see, s), ERR_NO_MEMORY);
    cr_assert(cursor == 0 && s->count == 0);
    short_memory_from = SIZE_MAX;
    cr_assert_eq(unixfs_dir_list(&m->source, &dir, &cursor, see, s), 0);
    cr_assert_str_eq(s->all, "z a m ");
    free(s);
    mem_blocks_free(m);
}

Test(directory, names)
{
    char longer[256];
    memset(longer, 'n', sizeof longer);
    cr_assert_eq(unixfs_name_check(span_of(longer, 255)), 0);
    cr_assert_eq(unixfs_name_check(span_of(longer, 256)), ERR_NAME_LONG);
    cr_assert_eq(unixfs_name_check(span_str("...")), 0);
    cr_assert_eq(unixfs_name_check(span_str("\xff\xfe")), 0); /* bytes, not UTF-8 */
    cr_assert_eq(unixfs_name_check(span_of("a\0", 2)), ERR_INVALID);
}
