/* SPDX-License-Identifier: MIT
 *
 * Rows are visited in key order, remembered by key between steps. Counting uses a table of fixed size, keyed by 64 mixed bits
 * of the multihash: when there are more rows than fit, the counting is done in several passes, each for the hashes of one
 * residue. Two different multihashes with equal 64 bits would be taken for one: with 10^9 blocks a chance of 3 in 100,
 * for a wrong line in a report. */
#include "store/block/verify.h"

#include "store/base/log.h"
#include "store/block/index_rebuild.h"
#include "store/block/verify_repair.h"
#include "store/codec/links.h"
#include "store/content/checksum.h"
#include "store/content/hasher.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define TABLE_SIZE (UINT32_C(1) << 17) /* 2 MiB */
#define TABLE_ROWS (TABLE_SIZE / 2)    /* expected in a pass */
#define TABLE_FULL (TABLE_SIZE / 8 * 7)

#define STRAYS_MAX 4096

#define REFUSALS 3 /* in a row, a second apart: then what is to be counted first is not waited for any longer */

enum phase { PAGES, HASH, HASH_BIG, SETTLE, PINS, RECORDS, COUNT, COMPARE, NAME, FINISH, DONE };

struct counted {
    uint64_t mix;
    uint32_t count;
    bool seen; /* compared with its row */
};

struct store_verify {
    struct blockstore *bs;
    struct store_reader *reader;
    bool repair, snapshot;
    bool settling;           /* the committer is asked to let nothing wait, … */
    unsigned moved, refused; /* … and how far it was when it last got on */
    enum phase phase;
    struct cid at;             /* multihash of the last visited row or block; len 0: at the beginning */
    unsigned records, key_len; /* of others, in which an entry was visited last: with this key */
    uint8_t key[STORE_KEY_MAX];
    struct verify_progress progress;
    atomic_uint repairs; /* operations under way */

    struct counted *table;
    uint32_t table_used;
    uint64_t pass, passes;
    bool overflow;
    uint32_t left;                 /* links still to look at of the row being counted */
    struct cid unnamed;            /* NAME: a counted child without a row */
    struct buf strays;             /* CIDs of those whose row was damaged or gone: their bytes stay for who refers to them */
    bool referred;                 /* somebody did: what it leads to is told by the next check */
    struct totals stored, counted; /* as the snapshot has them, as its rows say */
};

static const char *const problem_texts[] = {
    [VERIFY_DAMAGED] = "block is damaged",
    [VERIFY_SIZE] = "size differs",
    [VERIFY_COUNT] = "reference count differs",
    [VERIFY_INDEX] = "an index disagrees",
    [VERIFY_TOTAL] = "the store's totals disagree",
    [VERIFY_KEY] = "an entry of the index has no hash for a name",
    [VERIFY_PAGES] = "a page of the index is damaged; the next start writes it anew",
};

const char *verify_problem_text(enum verify_problem p)
{
    return problem_texts[p];
}

/* Until it has its snapshot, and not only until all was counted once: while blocks come it would hardly ever see that. */
static void ask_to_settle(struct store_verify *v, bool ask)
{
    if (ask != v->settling)
        atomic_fetch_add(&v->bs->cascade.settle, ask ? 1 : -1);
    v->settling = ask;
}

int store_verify_new(struct store_verify **ret, struct blockstore *bs, bool repair)
{
    struct store_verify *v = MEM_NEW(struct store_verify);
    int r = store_reader_new(bs, &v->reader);
    if (r) {
        free(v);
        return r;
    }
    struct blockstore_stats stats;
    blockstore_stats(bs, &stats);
    v->bs = bs;
    v->repair = repair;
    v->progress.blocks_total = stats.blocks;
    *ret = v;
    return 0;
}

bool store_verify_repairs(const struct store_verify *v)
{
    return atomic_load(&v->repairs) > 0;
}

struct store_verify *store_verify_free(struct store_verify *v)
{
    if (!v)
        return NULL;
    while (store_verify_repairs(v)) /* the committer still writes to it */
        sched_yield();
    ask_to_settle(v, false);
    buf_done(&v->strays);
    store_reader_free(v->reader);
    if (v->table)
        atomic_store(&v->bs->checks, false);
    free(v->table);
    free(v);
    return NULL;
}

void store_verify_progress(const struct store_verify *v, struct verify_progress *ret)
{
    *ret = v->progress;
}

/* ---- events ---- */

static void repair_submit(struct store_verify *v, struct repair_op *p)
{
    atomic_fetch_add(&v->repairs, 1);
    v->progress.repaired++;
    blockstore_submit(v->bs, &p->op);
}

static int found(struct store_verify *v, struct verify_event *e)
{
    v->progress.problems++;
    e->repaired = v->repair;
    return 1;
}

static int found_damaged(struct store_verify *v, const struct cid *cid, struct verify_event *e)
{
    *e = (struct verify_event){.problem = VERIFY_DAMAGED, .cid = *cid};
    vouched_drop(v->bs->vouched, cid); /* whoever reads it next is told as well */
    if (v->repair) {
        repair_submit(v, repair_new(&v->repairs, cid, repair_drop));
        if (buf_len(&v->strays) < STRAYS_MAX * sizeof *cid) /* more: the next check's */
            buf_add(&v->strays, cid, sizeof *cid);
    }
    return found(v, e);
}

/* All who refer to them have been told of, and nobody did: nobody needs what has no row. */
static void drop_strays(struct store_verify *v)
{
    struct cid cid;
    for (struct span s = buf_span(&v->strays); !v->referred && s.len > 0; s = span_from(s, sizeof cid)) {
        memcpy(&cid, s.data, sizeof cid);
        atomic_fetch_add(&v->repairs, 1);
        blockstore_submit(v->bs, &repair_new(&v->repairs, &cid, repair_stray)->op);
    }
    buf_done(&v->strays);
}

static int found_key(struct store_verify *v, struct verify_event *e)
{
    *e = (struct verify_event){.problem = VERIFY_KEY};
    if (v->repair)
        repair_submit(v, repair_new(&v->repairs, &v->at, repair_key));
    return found(v, e);
}

static int found_index(struct store_verify *v, const struct cid *cid, struct verify_event *e)
{
    *e = (struct verify_event){.problem = VERIFY_INDEX, .cid = *cid};
    if (v->repair)
        repair_submit(v, repair_new(&v->repairs, cid, repair_index));
    return found(v, e);
}

static int found_count(struct store_verify *v, const struct cid *cid, uint64_t expected, struct verify_event *e, uint64_t is)
{
    *e = (struct verify_event){.problem = VERIFY_COUNT, .cid = *cid, .expected = expected, .found = is};
    if (v->repair) {
        struct repair_op *p = repair_new(&v->repairs, cid, repair_count);
        p->delta = (int64_t)(expected - is);
        repair_submit(v, p);
    }
    return found(v, e);
}

/* ---- walking ---- */

/* The entry after v->at, which moves to it. 1, 0: end, or an error. */
static int next_key(struct store_verify *v, enum store_db db, struct span *ret)
{
    return index_next(store_reader_txn(v->reader), v->bs->env.db[db], &v->at, ret);
}

static int get(struct store_verify *v, enum store_db db, struct span key, struct span *ret)
{
    MDB_val k = store_val(key), val;
    int rc = index_get(store_reader_txn(v->reader), v->bs->env.db[db], &k, &val);
    if (rc == 0)
        *ret = store_span(val);
    return store_error(rc);
}

/* ---- PAGES ---- */

/* No page that is looked at is used anew: a reader is open. */
static int check_pages(struct blockstore *bs, struct store_reader *reader, struct index_damage *ret)
{
    char suspect[PATH_MAX];
    int r = store_read_begin(reader);
    if (r)
        return r;
    r = index_look(bs->env.dir, ret);
    store_read_end(reader);
    if (r != ERR_CORRUPT)
        return r;
    (void)snprintf(suspect, sizeof suspect, "%s/" INDEX_SUSPECT, bs->env.dir);
    index_suspect(suspect);
    atomic_store(&bs->env.suspect, true);
    log_error("store.damaged", "page=%llu damage=\"%s\" next=\"p2p down; p2p up\"", (unsigned long long)ret->page, ret->what);
    return r;
}

int store_check_pages(struct blockstore *bs)
{
    struct store_reader *reader;
    struct index_damage damage;
    int r = store_reader_new(bs, &reader);
    if (r)
        return r;
    r = check_pages(bs, reader, &damage);
    store_reader_free(reader);
    return r;
}

static int step_pages(struct store_verify *v, struct verify_event *e)
{
    struct index_damage damage;
    int r = check_pages(v->bs, v->reader, &damage);
    if (r == 0)
        v->phase = HASH;
    if (r != ERR_CORRUPT)
        return r;
    v->phase = DONE; /* of what cannot be trusted nothing is believed, and nothing repaired */
    v->progress.done = true;
    *e = (struct verify_event){.problem = VERIFY_PAGES, .found = damage.page};
    v->progress.problems++;
    return 1;
}

/* ---- HASH, HASH_BIG ---- */

static int hash_one(struct store_verify *v, struct span hash, struct span data, struct verify_event *e)
{
    struct span in = SPAN_NONE;
    struct row row = {0};
    struct cid cid;
    int r = get(v, DB_ROWS, hash, &in);
    if (r == 0)
        r = row_parse(in, 0, &row);
    if (!row.exists)
        row.codec = CODEC_RAW;
    if (row_cid(hash, &row, &cid) != 0) /* nothing of ours wrote it */
        return found_key(v, e);
    v->progress.blocks++;
    v->progress.bytes += data.len;
    if (r || !row.held) /* a block without its row cannot be counted or evicted */
        return found_damaged(v, &cid, e);
    if (data.len != row.size) {
        (void)found_damaged(v, &cid, e);
        *e = (struct verify_event){VERIFY_SIZE, cid, row.size, data.len, v->repair};
        return 1;
    }
    r = check_bytes(&cid, data);
    v->progress.unchecked += r == ERR_UNSUPPORTED;
    return r == ERR_CORRUPT ? found_damaged(v, &cid, e) : 0;
}

static int step_hash(struct store_verify *v, unsigned blocks, struct verify_event *e)
{
    int r = store_read_begin(v->reader);
    if (r)
        return r;
    for (unsigned i = 0; i < blocks && r == 0; i++) {
        struct span bytes;
        bool big = v->phase == HASH_BIG;
        r = next_key(v, big ? DB_EXTENTS : DB_BLOCKS, &bytes);
        if (r == 0) {
            v->phase = big ? SETTLE : HASH_BIG;
            v->at.len = 0;
            break;
        }
        if (r == 1 && big && extent_bytes(v->bs, bytes, &bytes) != 0)
            bytes = SPAN_NONE; /* not where it should be: damaged whatever its hash is */
        if (r == 1)
            r = hash_one(v, cid_span(&v->at), bytes, e);
    }
    store_read_end(v->reader);
    return r;
}

/* ---- SETTLE ---- */

static void begin_pass(struct store_verify *v)
{
    memset(v->table, 0, TABLE_SIZE * sizeof *v->table);
    v->table_used = 0;
    v->overflow = false;
    v->phase = COUNT;
    v->at.len = 0;
}

/* ERR_AGAIN: it gets on; or why it does not. What else it writes meanwhile tells nothing: a full disk takes small things. */
static int wait_for_counts(struct store_verify *v)
{
    struct cascade *c = &v->bs->cascade;
    unsigned counted = atomic_load(&c->counted), refused = atomic_load(&c->refused);
    if (!v->settling || counted != v->moved) {
        v->moved = counted;
        v->refused = refused;
    }
    ask_to_settle(v, true);
    return refused - v->refused < REFUSALS ? ERR_AGAIN : atomic_load(&c->why);
}

static int step_settle(struct store_verify *v)
{
    if (atomic_load(&v->repairs) > 0)
        return ERR_AGAIN;
    int r = store_read_begin(v->reader);
    if (r)
        return r;
    struct span in = SPAN_NONE;
    MDB_stat stat;
    r = get(v, DB_INFO, span_str("totals"), &in);
    if (r == 0 && in.len == sizeof v->stored)
        memcpy(&v->stored, in.data, sizeof v->stored);
    else if (r == 0 || r == ERR_NOT_FOUND)
        r = ERR_CORRUPT;
    int rc = mdb_stat(store_reader_txn(v->reader), v->bs->env.db[DB_ROWS], &stat);
    r = r ? r : store_error(rc);
    if (r == 0 && v->stored.pending[LANE_LIVE] > 0)
        r = wait_for_counts(v);
    if (r) {
        store_read_end(v->reader);
        return r;
    }
    bool busy = atomic_exchange(&v->bs->checks, true);              /* one table is enough, and one snapshot that is kept */
    v->table = busy ? NULL : mem_big(TABLE_SIZE, sizeof *v->table); /* begin_pass clears it */
    if (!v->table) {
        store_read_end(v->reader);
        if (!busy)
            atomic_store(&v->bs->checks, false);
        return busy ? ERR_AGAIN : ERR_NO_MEMORY;
    }
    ask_to_settle(v, false);
    v->snapshot = true; /* kept until the counting is done */
    v->passes = stat.ms_entries / TABLE_ROWS + 1;
    v->pass = 0;
    v->phase = PINS;
    v->at.len = 0;
    return 0;
}

/* ---- PINS, RECORDS ---- */

/* Something refers to this block: does its row know? Before counts are compared: what they are corrected by is added to this,
 * so that none is 0 in between. */
static int check_root(struct store_verify *v, const struct cid *cid, struct span key, const struct record_db *from,
                      struct verify_event *e)
{
    struct span in, data;
    struct row row = {0};
    if (cid_inline(cid, &data) && !links_possible(cid_codec(cid)))
        return 0;
    int r = get(v, DB_ROWS, cid_hash(cid), &in);
    if (r && r != ERR_NOT_FOUND)
        return r;
    if (r == 0 && (row_parse(in, 0, &row) != 0 || row.roots > 0)) /* not: told already */
        return 0;
    *e = (struct verify_event){.problem = VERIFY_COUNT, .cid = *cid, .expected = 1};
    v->referred = true;
    if (v->repair) {
        struct repair_op *p = repair_new(&v->repairs, cid, repair_root);
        p->db = from ? from->dbi : v->bs->env.db[DB_PINS];
        p->refers = from ? from->refers : NULL;
        p->key_len = (unsigned)key.len;
        memcpy(p->key, key.data, key.len);
        repair_submit(v, p);
    }
    return found(v, e);
}

static int step_pins(struct store_verify *v, unsigned pins, struct verify_event *e)
{
    struct pin pin;
    int r = 0;
    for (unsigned i = 0; i < pins && r == 0; i++) {
        r = store_pin_next(v->reader, &v->at, &pin);
        if (r == 0) {
            v->phase = RECORDS;
            break;
        }
        r = r == 1 ? check_root(v, &pin.cid, cid_span(&pin.cid), NULL, e) : r;
    }
    return r;
}

/* The next entry of the records at which we are: 1, 0: no more, or an error. */
static int next_record(struct store_verify *v, struct span *ret)
{
    MDB_cursor *c;
    MDB_val k = {v->key_len, v->key}, value;
    int rc = mdb_cursor_open(store_reader_txn(v->reader), v->bs->env.records[v->records].dbi, &c);
    if (rc)
        return store_error(rc);
    rc = index_move(c, &k, &value, v->key_len ? MDB_SET_RANGE : MDB_FIRST);
    while (rc == 0 && v->key_len && span_cmp(store_span(k), span_of(v->key, v->key_len)) <= 0) /* less: the page is damaged */
        rc = index_move(c, &k, &value, MDB_NEXT);
    mdb_cursor_close(c);
    if (rc == 0 && k.mv_size > sizeof v->key)
        rc = MDB_CORRUPTED;
    if (rc)
        return rc == MDB_NOTFOUND ? 0 : store_error(rc);
    memcpy(v->key, k.mv_data, k.mv_size);
    v->key_len = (unsigned)k.mv_size;
    *ret = store_span(value);
    return 1;
}

static int step_records(struct store_verify *v, unsigned entries, struct verify_event *e)
{
    const struct store_env *env = &v->bs->env;
    int r = 0;
    for (unsigned i = 0; i < entries && r == 0; i++) {
        struct span value;
        struct cid cid;
        if (v->records == env->record_count) {
            begin_pass(v);
            break;
        }
        const struct record_db *from = &env->records[v->records];
        r = from->refers ? next_record(v, &value) : 0;
        if (r == 1) {
            struct span key = span_of(v->key, v->key_len);
            r = from->refers(key, value, &cid) == 1 ? check_root(v, &cid, key, from, e) : 0;
        } else if (r == 0) {
            v->records++;
            v->key_len = 0;
        }
    }
    return r;
}

/* ---- COUNT, COMPARE, NAME ---- */

static bool in_pass(const struct store_verify *v, uint64_t mix)
{
    return mix % v->passes == v->pass;
}

/* The entry of `mix`; one with count 0 is free. */
static struct counted *table_find(struct store_verify *v, uint64_t mix)
{
    uint32_t i = (uint32_t)(mix >> 32) % TABLE_SIZE;
    while (v->table[i].count > 0 && v->table[i].mix != mix)
        i = (i + 1) % TABLE_SIZE;
    return &v->table[i];
}

static int count_link(void *arg, const struct cid *child)
{
    struct store_verify *v = arg;
    if (v->left-- == 0)
        return 1;
    uint64_t mix = cid_mix(child);
    if (!in_pass(v, mix))
        return 0;
    struct counted *c = table_find(v, mix);
    if (c->count == 0 && v->table_used++ >= TABLE_FULL) {
        v->overflow = true;
        return 1;
    }
    c->mix = mix;
    c->count++;
    return 0;
}

/* Notes the first child that was counted and has no row. */
static int name_link(void *arg, const struct cid *child)
{
    struct store_verify *v = arg;
    if (v->left-- == 0)
        return 1;
    uint64_t mix = cid_mix(child);
    struct counted *c = in_pass(v, mix) ? table_find(v, mix) : NULL;
    if (!c || c->count == 0 || c->seen)
        return 0;
    v->unnamed = *child;
    c->seen = true;
    return 1;
}

static void visit_links(struct store_verify *v, struct span hash, const struct row *row,
                        int (*each)(void *arg, const struct cid *child))
{
    struct cid cid;
    struct span data;
    v->left = row->lane[LANE_LIVE].done;
    if (v->left == 0 || row_cid(hash, row, &cid) != 0)
        return;
    if (!cid_inline(&cid, &data) && block_find(v->bs, store_reader_txn(v->reader), hash, &data) != 0)
        return; /* gone for repair: its children's counts come back with it */
    (void)links_of(&cid, data, each, v);
}

static void count_row(struct store_verify *v, const struct row *row)
{
    if (v->pass > 0 || row->inline_block)
        return;
    bool live = row->lane[LANE_LIVE].count > 0;
    v->counted.blocks += row->held;
    v->counted.bytes += row->held ? row->size : 0;
    v->counted.live_blocks += row->held && live;
    v->counted.live_bytes += row->held && live ? row->size : 0;
    v->counted.wanted += row_is_wanted(row);
}

static bool indexes_agree(struct store_verify *v, struct span hash, const struct row *row)
{
    uint8_t key[8];
    struct span in = SPAN_NONE;
    if (row->inline_block)
        return true;
    put_be64(key, row->stamp);
    if (row_in_lru(row) && (get(v, DB_LRU, span_of(key, sizeof key), &in) != 0 || !span_eq(in, hash)))
        return false;
    return row_is_wanted(row) == (get(v, DB_WANTED, hash, &in) == 0);
}

static int compare_row(struct store_verify *v, struct span hash, const struct row *row, struct verify_event *e)
{
    struct cid cid;
    struct span in = SPAN_NONE;
    if (row_cid(hash, row, &cid) != 0)
        return ERR_CORRUPT;
    uint64_t mix = cid_mix(&cid);
    if (!in_pass(v, mix))
        return 0;
    struct counted *c = table_find(v, mix);
    if (c->count > 0)
        c->seen = true;
    uint64_t expected = (uint64_t)row->roots + c->count;
    if (expected != row->lane[LANE_LIVE].count)
        return found_count(v, &cid, expected, e, row->lane[LANE_LIVE].count);
    if (!indexes_agree(v, hash, row))
        return found_index(v, &cid, e);
    if (row->held && !row->inline_block && block_find(v->bs, store_reader_txn(v->reader), hash, &in) == ERR_NOT_FOUND)
        return found_damaged(v, &cid, e);
    return 0;
}

static int visit_row(struct store_verify *v, struct span hash, struct span in, struct verify_event *e)
{
    struct row parsed, *row = &parsed;
    struct cid cid;
    struct span data;
    bool is_hash = cid_from_hash(&cid, 1, CODEC_RAW, hash) == 0;
    if (!is_hash || row_parse(in, 0, row) != 0) { /* told once, in the first pass, unless its block was there to tell it by */
        if (v->phase != COUNT || v->pass > 0 || block_find(v->bs, store_reader_txn(v->reader), hash, &data) != ERR_NOT_FOUND)
            return 0;
        return is_hash ? found_damaged(v, &cid, e) : found_key(v, e);
    }
    switch (v->phase) {
    case COUNT:
        count_row(v, row);
        visit_links(v, hash, row, count_link);
        return 0;
    case COMPARE:
        return compare_row(v, hash, row, e);
    default:
        v->unnamed.len = 0;
        visit_links(v, hash, row, name_link);
        if (v->unnamed.len == 0)
            return 0;
        v->referred = true;
        return found_count(v, &v->unnamed, table_find(v, cid_mix(&v->unnamed))->count, e, 0);
    }
}

static void next_phase(struct store_verify *v)
{
    v->at.len = 0;
    if (v->phase == COUNT && v->overflow) {
        v->passes *= 2;
        v->pass = 0;
        v->counted = (struct totals){0};
        begin_pass(v);
    } else if (v->phase != NAME) {
        v->phase = v->phase == COUNT ? COMPARE : NAME;
    } else if (++v->pass < v->passes) {
        begin_pass(v);
    } else {
        v->phase = FINISH;
    }
}

static int step_rows(struct store_verify *v, unsigned rows, struct verify_event *e)
{
    int r = 0;
    for (unsigned i = 0; i < rows && r == 0; i++) {
        struct span in;
        r = next_key(v, DB_ROWS, &in);
        if (r == 0) {
            next_phase(v);
            return 0;
        }
        if (r == 1)
            r = visit_row(v, cid_span(&v->at), in, e);
    }
    return r;
}

/* ---- FINISH ---- */

/* All pins in one step: they are few beside blocks. */
static int count_pins(struct store_verify *v)
{
    struct cid at = {.len = 0};
    struct pin pin;
    int r;
    v->counted.pins = v->counted.pins_incomplete = 0;
    while ((r = store_pin_next(v->reader, &at, &pin)) == 1) {
        v->counted.pins++;
        v->counted.pins_incomplete += !pin.complete;
    }
    return r;
}

static int step_finish(struct store_verify *v, struct verify_event *e)
{
    int r = count_pins(v);
    if (r)
        return r;
    store_read_end(v->reader);
    drop_strays(v);
    v->snapshot = false;
    v->phase = DONE;
    v->progress.done = true;
    const struct totals *a = &v->stored, *b = &v->counted;
    struct totals d = {.blocks = b->blocks - a->blocks,
                       .bytes = b->bytes - a->bytes,
                       .live_blocks = b->live_blocks - a->live_blocks,
                       .live_bytes = b->live_bytes - a->live_bytes,
                       .wanted = b->wanted - a->wanted,
                       .pins = b->pins - a->pins,
                       .pins_incomplete = b->pins_incomplete - a->pins_incomplete};
    const struct totals none = {0};
    if (memcmp(&d, &none, sizeof d) == 0)
        return 0;
    *e = (struct verify_event){.problem = VERIFY_TOTAL, .expected = b->bytes, .found = a->bytes};
    if (v->repair) {
        struct repair_op *p = repair_new(&v->repairs, NULL, repair_totals);
        p->totals = d;
        repair_submit(v, p);
    }
    return found(v, e);
}

/* The snapshot is in the way of opening the store again, for which everybody waits: the check has to begin anew. */
static int give_up(struct store_verify *v, int why)
{
    store_read_end(v->reader);
    v->snapshot = false;
    v->phase = DONE;
    return why == ERR_AGAIN ? ERR_IO : why;
}

int store_verify_step(struct store_verify *v, unsigned blocks, struct verify_event *ret_event)
{
    int shut = v->snapshot ? atomic_load(&v->bs->gate) : 0;
    if (shut)
        return give_up(v, shut);
    switch (v->phase) {
    case PAGES:
        return step_pages(v, ret_event);
    case HASH:
    case HASH_BIG:
        return step_hash(v, blocks, ret_event);
    case SETTLE:
        return step_settle(v);
    case PINS:
        return step_pins(v, blocks, ret_event);
    case RECORDS:
        return step_records(v, blocks, ret_event);
    case FINISH:
        return step_finish(v, ret_event);
    case DONE:
        return ERR_CLOSED;
    default:
        return step_rows(v, blocks, ret_event);
    }
}
