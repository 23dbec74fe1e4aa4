/* LINK: store_block store_codec store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * The index looked at without LMDB: files that LMDB wrote are sound and give all of their entries; with one bit flipped anywhere in
 * what holds their pages together it is found, or does not matter, and all is saved but what was hit. */
#include "store/block/index_pages.h"
#include "store/block/index_rebuild.h"
#include "store_fixture.h"

#include "store/block/fault.h"

#include <criterion/criterion.h>
#include <lmdb.h>

#define TREES   3
#define ENTRIES 3000 /* of the last tree: branches below branches */
#define HEADER  16u

struct file {
    struct span data;
    uint32_t psize;
    uint64_t pages;
};

static int read_memory(void *arg, uint64_t at, void *out, size_t len)
{
    struct file *f = arg;
    cr_assert(at <= f->data.len && len <= f->data.len - at);
    memcpy(out, f->data.data + at, len);
    return 0;
}

static struct index_source source(struct file *f)
{
    return (struct index_source){.arg = f, .size = f->data.len, .read = read_memory};
}

/* ---- a file ---- */

static size_t key_text(char out[64], unsigned tree, unsigned i)
{
    return (size_t)snprintf(out, 64, "%u-%08x-%0*d", tree, i * 2654435761u, (int)(i % 17 + 1), 7);
}

static size_t value_size(unsigned i)
{
    return i % 97 == 0 ? 9000 : i % 11 == 0 ? 300 : 20; /* pages of its own; many in one */
}

static void fill_tree(MDB_txn *txn, unsigned tree, unsigned from, unsigned count)
{
    char name[] = "tree0", key[64];
    uint8_t value[9000];
    MDB_dbi db;
    name[4] = (char)('0' + tree);
    cr_assert_eq(mdb_dbi_open(txn, name, MDB_CREATE, &db), 0);
    for (unsigned i = from; i < from + count; i++) {
        memset(value, (int)(i % 251), sizeof value);
        MDB_val k = {key_text(key, tree, i), key}, v = {value_size(i), value};
        cr_assert_eq(mdb_put(txn, db, &k, &v, 0), 0);
        if (i >= 40 && i % 3 == 0) { /* pages that become free */
            k.mv_size = key_text(key, tree, i - 40);
            int rc = mdb_del(txn, db, &k, NULL);
            cr_assert(rc == 0 || rc == MDB_NOTFOUND);
        }
    }
}

static struct file make_file(void)
{
    static const unsigned counts[TREES] = {30, 200, ENTRIES};
    struct folder f;
    char path[96];
    MDB_env *env;
    MDB_txn *txn;
    folder_make(&f);
    cr_assert(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, TREES) == 0 && mdb_env_set_mapsize(env, 64 << 20) == 0 &&
              mdb_env_open(env, f.path, MDB_NOSYNC, 0600) == 0);
    for (unsigned part = 0; part < 10; part++) {
        cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
        for (unsigned t = 0; t < TREES; t++)
            fill_tree(txn, t, counts[t] / 10 * part, counts[t] / 10 + (part == 9 ? counts[t] % 10 : 0));
        cr_assert_eq(mdb_txn_commit(txn), 0);
    }
    mdb_env_close(env);
    snprintf(path, sizeof path, "%s/data.mdb", f.path);
    FILE *in = fopen(path, "rb");
    struct stat st;
    cr_assert(in && fstat(fileno(in), &st) == 0);
    uint8_t *data = malloc((size_t)st.st_size);
    cr_assert(data && fread(data, 1, (size_t)st.st_size, in) == (size_t)st.st_size);
    fclose(in);
    folder_remove(&f);
    struct file file = {.data = span_of(data, (size_t)st.st_size)};
    memcpy(&file.psize, data + HEADER + 24, 4);
    file.pages = file.data.len / file.psize;
    return file;
}

/* ---- what is saved of it ---- */

struct tally {
    unsigned right, wrong; /* values that are as they were written */
};

static int tally(void *arg, struct span tree, struct span key, struct span value)
{
    struct tally *t = arg;
    unsigned number, mixed, i;
    char text[64] = "", again[64];
    memcpy(text, key.data, key.len < 63 ? key.len : 63);
    bool right = sscanf(text, "%u-%8x", &number, &mixed) == 2 && tree.len == 5 && tree.data[4] == '0' + number;
    i = mixed * 244002641u; /* the inverse modulo 2^32 */
    right = right && key_text(again, number, i) == key.len && memcmp(text, again, key.len) == 0 && value.len == value_size(i);
    for (size_t b = 0; right && b < value.len; b++)
        right = value.data[b] == i % 251;
    t->right += right;
    t->wrong += !right;
    return 0;
}

static struct tally save(struct file *f, int expected)
{
    struct index_source s = source(f);
    struct tally t = {0};
    struct index_saved saved;
    cr_assert_eq(index_pages_save(&s, tally, &t, &saved), expected);
    cr_assert_eq(saved.entries, t.right + t.wrong);
    return t;
}

static int check(struct file *f, struct index_damage *ret)
{
    struct index_source s = source(f);
    return index_pages_check(&s, ret);
}

static uint8_t *page_at(const struct file *f, uint64_t page)
{
    return (uint8_t *)(uintptr_t)f->data.data + page * f->psize;
}

static unsigned kind(const struct file *f, uint64_t page)
{
    uint64_t number;
    memcpy(&number, page_at(f, page), 8);
    return number == page ? page_at(f, page)[10] & 7u : 0;
}

static uint16_t u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

Test(index_pages, what_lmdb_wrote_is_sound)
{
    struct file f = make_file();
    struct index_damage damage;
    cr_assert_eq(check(&f, &damage), 0, "page %llu %s", (unsigned long long)damage.page, damage.what);
    struct tally t = save(&f, 0);
    cr_assert(t.right > 2000 && t.wrong == 0, "%u %u", t.right, t.wrong);
    free((void *)(uintptr_t)f.data.data);
}

/* The page that names the trees */
static uint64_t names_at(const struct file *f)
{
    uint64_t txns[2], root;
    for (unsigned i = 0; i < 2; i++)
        memcpy(&txns[i], page_at(f, i) + HEADER + 128, 8);
    memcpy(&root, page_at(f, txns[1] > txns[0]) + HEADER + 72 + 40, 8);
    return root;
}

/* One bit of a header, of a place of a node, of a node's sizes and flags */
static unsigned flip_one(struct file *f, uint64_t page, unsigned at, unsigned bit, unsigned all)
{
    struct index_damage damage = {0};
    uint8_t *p = page_at(f, page) + at;
    *p ^= (uint8_t)(1u << bit);
    int r = check(f, &damage);
    struct tally t = save(f, 0);
    *p ^= (uint8_t)(1u << bit);
    cr_assert(r == 0 || r == ERR_CORRUPT);
    unsigned most = page == names_at(f) ? ENTRIES / 10 : 1; /* a tree without its name is there as of the commit before */
    cr_assert(t.right + most >= all, "page %llu byte %u bit %u: %u of %u are saved; %s", (unsigned long long)page, at, bit,
              t.right, all, damage.what ? damage.what : "");
    cr_assert(r || t.right == all, "page %llu byte %u bit %u lost something, and was not found", (unsigned long long)page, at,
              bit);
    cr_assert(t.wrong <= 1);
    return r != 0;
}

Test(index_pages, a_flipped_bit_is_found_and_costs_one_entry_at_most)
{
    struct file f = make_file();
    unsigned all = save(&f, 0).right, random = 1, found = 0, kinds[8] = {0};
    for (uint64_t page = 2; page < f.pages; page++) {
        unsigned k = kind(&f, page), nodes = k == 4 ? 0 : (u16(page_at(&f, page) + 12) - HEADER) / 2;
        if (k != 1 && k != 2 && k != 4)
            continue;
        kinds[k]++;
        for (unsigned i = 0; i < (k == 1 ? 24 : 4); i++) {
            random = random * 1664525u + 1013904223u;
            unsigned at = (random >> 8) % HEADER, node = nodes ? (random >> 12) % nodes : 0;
            if (nodes && i % 2)
                at = HEADER + 2 * node + (random >> 20) % 2;
            if (nodes && i % 4 == 2)
                at = u16(page_at(&f, page) + HEADER + 2 * node) + (random >> 20) % 8;
            found += flip_one(&f, page, at, random >> 29, all);
        }
    }
    cr_assert(kinds[1] > 2 && kinds[2] > 20 && kinds[4] > 10 && found > 100, "%u %u %u, %u", kinds[1], kinds[2], kinds[4],
              found);
    free((void *)(uintptr_t)f.data.data);
}

Test(index_pages, the_end_cut_off)
{
    struct file f = make_file();
    struct index_damage damage;
    unsigned cuts = 0;
    for (uint64_t page = f.pages - 1; page > 2; page /= 2) {
        struct file cut = {span_sub(f.data, 0, page * f.psize - 1), f.psize, page};
        if (check(&cut, &damage) == 0) /* nothing that is used */
            continue;
        cr_assert(damage.cut, "%s", damage.what);
        cuts++;
    }
    cr_assert(cuts > 2);
    for (size_t len = 0; len < 2 * (size_t)f.psize; len += 61) {
        struct file cut = {span_sub(f.data, 0, len), f.psize, 0};
        cr_assert_eq(check(&cut, &damage), ERR_CORRUPT);
        cr_assert_eq(save(&cut, ERR_CORRUPT).right, 0);
    }
    free((void *)(uintptr_t)f.data.data);
}

/* The root of one tree points to that of another: both trees are there, each under its name. */
Test(index_pages, a_tree_that_points_to_another)
{
    struct file f = make_file();
    unsigned all = save(&f, 0).right;
    struct index_damage damage;
    uint64_t root = names_at(&f);
    uint8_t *records[TREES] = {NULL};
    for (size_t i = root * f.psize; i < (root + 1) * f.psize - 5; i++)
        for (unsigned t = 0; t < TREES; t++) {
            const char name[] = {'t', 'r', 'e', 'e', (char)('0' + t)};
            if (memcmp(f.data.data + i, name, 5) == 0)
                records[t] = (uint8_t *)(uintptr_t)f.data.data + i + 5;
        }
    for (unsigned from = 0; from < TREES; from++)
        for (unsigned to = 0; to < TREES; to++) {
            uint8_t before[8];
            memcpy(before, records[from] + 40, 8);
            memcpy(records[from] + 40, records[to] + 40, 8);
            cr_assert_eq(check(&f, &damage), from == to ? 0 : ERR_CORRUPT);
            struct tally t = save(&f, 0);
            memcpy(records[from] + 40, before, 8);
            cr_assert(from != 2 || to == 2 || t.right + 200 > all, "%u of %u", t.right, all); /* leaves that nobody points to */
            cr_assert_leq(t.wrong, 300);
        }
    free((void *)(uintptr_t)f.data.data);
}

/* ---- a store ---- */

static void data_path(const struct folder *f, const char *end, char out[128])
{
    snprintf(out, 128, "%s/data.mdb%s", f->path, end);
}

#define BLOCKS 600u

static void fill_store(const struct folder *f)
{
    struct blockstore *bs = store_open(f->path, 0);
    for (unsigned i = 0; i < BLOCKS; i++) {
        struct block *b = raw_block(i, 500);
        cr_assert_eq(do_put(bs, b), 0);
        block_unref(b);
    }
    blockstore_close(bs);
}

static unsigned held(struct blockstore *bs)
{
    struct blockstore_stats s;
    blockstore_stats(bs, &s);
    unsigned count = 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
        struct block *b = raw_block(i, 500);
        count += has(bs, &b->cid);
        block_unref(b);
    }
    return count;
}

/* A branch of a tree loses its first child. */
static void damage_branch(const struct folder *f)
{
    char path[128];
    uint8_t page[4096];
    struct index_damage damage;
    int found = 0;
    data_path(f, "", path);
    FILE *io = fopen(path, "r+b");
    cr_assert(io);
    for (uint64_t n = 2; !found && fseek(io, (long)(n * sizeof page), SEEK_SET) == 0 && fread(page, sizeof page, 1, io) == 1;
         n++) {
        uint64_t number;
        memcpy(&number, page, 8);
        if (number != n || (page[10] & 7) != 1)
            continue;
        for (int times = 0; times < 2 && !found; times++) { /* and back again: nobody uses this page */
            page[u16(page + HEADER)] ^= 4;                  /* the number of the child */
            cr_assert(fseek(io, (long)(n * sizeof page), SEEK_SET) == 0 && fwrite(page, sizeof page, 1, io) == 1);
            cr_assert_eq(fflush(io), 0);
            found = index_look(f->path, &damage);
        }
    }
    cr_assert_eq(found, ERR_CORRUPT);
    fclose(io);
}

Test(index_pages, a_damaged_store_is_written_anew)
{
    struct folder f;
    char kept[128];
    struct why why;
    struct blockstore *bs;
    struct blockstore_stats s;
    folder_make(&f);
    fill_store(&f);
    damage_branch(&f);
    data_path(&f, ".damaged", kept);
    cr_assert(access(kept, F_OK) != 0);
    fault_arm(1, FAULT_NO_SPACE);
    struct blockstore_options o = {.dir = f.path};
    cr_assert_eq(blockstore_open(&bs, &o, &why), ERR_NO_SPACE, "%s", why.text);
    fault_arm(0, FAULT_NO_SPACE);
    cr_assert(strstr(why.text, "damaged: page"), "%s", why.text);
    cr_assert(access(kept, F_OK) != 0); /* nothing is changed */
    bs = store_open(f.path, 0);
    blockstore_stats(bs, &s);
    cr_assert(s.rebuilt);
    cr_assert_eq(access(kept, F_OK), 0);
    cr_assert_geq(held(bs) + 1, BLOCKS);
    (void)verify_all(bs, true, NULL);
    do_sync(bs);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    bs = store_open(f.path, 0);
    blockstore_stats(bs, &s);
    cr_assert_not(s.rebuilt);
    blockstore_close(bs);
    folder_remove(&f);
}

/* While it is open: a check tells it, and leaves a mark for the next start. */
Test(index_pages, a_check_of_an_open_store_finds_it)
{
    struct folder f;
    folder_make(&f);
    fill_store(&f);
    struct blockstore *bs = store_open(f.path, 0);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    cr_assert_eq(store_check_pages(bs), 0);
    damage_branch(&f);
    struct store_verify *v;
    struct verify_event e;
    cr_assert_eq(store_verify_new(&v, bs, true), 0);
    cr_assert_eq(store_verify_step(v, 1, &e), 1);
    cr_assert(e.problem == VERIFY_PAGES && !e.repaired && e.found > 1);
    store_verify_free(v);
    struct blockstore_stats s;
    blockstore_stats(bs, &s);
    cr_assert(s.suspect);
    cr_assert_eq(store_check_pages(bs), ERR_CORRUPT);
    blockstore_close(bs);
    char path[128];
    snprintf(path, sizeof path, "%s/" INDEX_SUSPECT, f.path);
    cr_assert_eq(access(path, F_OK), 0);
    bs = store_open(f.path, 0);
    cr_assert_geq(held(bs) + 1, BLOCKS);
    cr_assert(access(path, F_OK) != 0);
    blockstore_close(bs);
    folder_remove(&f);
}
