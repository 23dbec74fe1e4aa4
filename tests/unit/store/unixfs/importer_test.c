/* SPDX-License-Identifier: MIT */
#include "store/unixfs/importer.h"

#include "tests/lib/short_memory.h"
#include "tests/unit/store/unixfs/memblocks.h"

#include <criterion/criterion.h>

/* What ipfs-unixfs-importer 17.1.1 gives for the sample bytes (memblocks.h), or zeros, under its profile of that name. */
static const struct vector {
    const char *profile;
    bool zeros;
    uint64_t size;
    const char *cid;
    uint64_t tsize;
} vectors[] = {
    {"unixfs-v1-2025", false, UINT64_C(0), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", UINT64_C(0)},
    {"unixfs-v1-2025", false, UINT64_C(1), "bafkreidogqfzz75tpkmjzjke425xqcrmpcib2p5tg44hnbirumdbpl5adu", UINT64_C(1)},
    {"unixfs-v1-2025", false, UINT64_C(262144), "bafkreidrwysiifqm7pzobrzh2o4uioiadbyud4jq5voyvuihoxcfjdcxaa",
     UINT64_C(262144)},
    {"unixfs-v1-2025", false, UINT64_C(262145), "bafkreidzpg7uhhqlpdkpljgqxlyiszudwcnlpaxpw4mtvivjwmkcwkj3bq",
     UINT64_C(262145)},
    {"unixfs-v1-2025", false, UINT64_C(1048575), "bafkreic5q7rbxe5mobj7mrfrjp3fn6jf46syqk6qm4rt7qzrasrqvlhaie",
     UINT64_C(1048575)},
    {"unixfs-v1-2025", false, UINT64_C(1048576), "bafkreidxoetxkpihty633joson5hh3vea5pj2f2z3jlc3o2lsskbjxnb4e",
     UINT64_C(1048576)},
    {"unixfs-v1-2025", false, UINT64_C(1048577), "bafybeigwyvcoevjfkin6tiizhd2nesmrkl7qsfowji4gn7paqlueewc57a",
     UINT64_C(1048681)},
    {"unixfs-v1-2025", false, UINT64_C(2097152), "bafybeiestvyg7acqtyxluhglq7nfadz6osgmg2napvkjq5z27bm4u4s3n4",
     UINT64_C(2097261)},
    {"unixfs-v1-2025", false, UINT64_C(45875200), "bafybeidsx26durgb24w6w4vqdxc76upub4oxbkahhwlj7elvrxjqkf52bi",
     UINT64_C(45877410)},
    {"unixfs-v1-2025", false, UINT64_C(1073741824), "bafybeig7dg5wsgfdn6f6invxs6tpuplfwihspf5wnsd4z2kfgxi3evdaly",
     UINT64_C(1073793035)},
    {"unixfs-v1-2025", false, UINT64_C(1073741825), "bafybeigswhyakkfydk5wd2b5o5tok44eokjuw7vnqrhsff52cciyg7zwoy",
     UINT64_C(1073793198)},
    {"unixfs-v1-2025", false, UINT64_C(1074790401), "bafybeigvdixjp5xuk3nutg7umudxdmvjhdg3pntyjvjvbizwn73ulb3wcy",
     UINT64_C(1074841830)},
    {"unixfs-v1-2025", true, UINT64_C(5368709120), "bafybeia25owrkq5h5sm47pu7sn5ygnzppldsby3gnfi3h4k7zprrjpku3m",
     UINT64_C(5368965455)},
    {"unixfs-v0-2015", false, UINT64_C(0), "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH", UINT64_C(6)},
    {"unixfs-v0-2015", false, UINT64_C(1), "QmS9JArPwa55ePgDnyg6TzX24mYTS1b1vLqWNebyVotKxQ", UINT64_C(9)},
    {"unixfs-v0-2015", false, UINT64_C(262144), "QmXm7chUep3H2aJwEj8XZ8CmusuCH2wVRtuSgiSMK9FKHJ", UINT64_C(262158)},
    {"unixfs-v0-2015", false, UINT64_C(262145), "QmSq4rSzBfcq55zgHEVJYpVVg4LYGgqvmHuwLm5RkeSkHW", UINT64_C(262267)},
    {"unixfs-v0-2015", false, UINT64_C(1048575), "QmddfUEEmXDipmbvDS3FtSA4n1UDuhNcEM5yQFD8ChMHBJ", UINT64_C(1048831)},
    {"unixfs-v0-2015", false, UINT64_C(1048576), "QmYxDLDr5MeEFkHiA16WtvungMyk2vK1BEhaVoFSxQ99Wf", UINT64_C(1048832)},
    {"unixfs-v0-2015", false, UINT64_C(1048577), "QmXKTKDk9MtMLf96P5MmxDWP4F2hjpajjFSSG8xwP4WarW", UINT64_C(1048885)},
    {"unixfs-v0-2015", false, UINT64_C(2097152), "QmQuhXwjgxnwv47CRfp5Ejh8mGM4K3iUD64h6Cra6vXJ9t", UINT64_C(2097657)},
    {"unixfs-v0-2015", false, UINT64_C(45875200), "QmNwtjs8EwTwJSbciLyg2umGarsZjpxgrmf9tTipaj2DoJ", UINT64_C(45886175)},
    {"unixfs-v0-2015", false, UINT64_C(1073741825), "QmcLvvfTee2M1F6tGfKhzxP6FDyZpKinNPw8znx5XjGMx7", UINT64_C(1073997280)},
    {"unixfs-v0-2015", true, UINT64_C(5368709120), "QmPFEywVfA5TNsbHkHSBnrBZGFt6Nj6ZHHnZM8mSWX2JKq", UINT64_C(5369985971)},
};

static void write_all(struct importer *im, struct span data)
{
    while (data.len) {
        int n = importer_write(im, data);
        cr_assert_gt(n, 0);
        data = span_from(data, (size_t)n);
    }
}

static void expect(const struct vector *v, const struct unixfs_root *root)
{
    char text[CID_TEXT_SIZE];
    cr_expect_str_eq(cid_text(&root->cid, text), v->cid, "%s %lu", v->profile, (unsigned long)v->size);
    cr_expect_eq(root->size, v->size);
    cr_expect_eq(root->tsize, v->tsize, "%s %lu: tsize %lu", v->profile, (unsigned long)v->size, (unsigned long)root->tsize);
}

Test(importer, vectors)
{
    uint8_t *sample = sample_new();
    uint8_t *zeros = mem_new(SAMPLE_CHUNK);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const struct vector *v = &vectors[i];
        const struct layout_profile *p = layout_profile_find(span_str(v->profile));
        cr_assert_not_null(p);
        struct importer *im = importer_new(&(struct importer_options){.profile = p});
        uint32_t k = 0;
        for (uint64_t left = v->size; left > 0; k++) {
            size_t n = left < SAMPLE_CHUNK ? (size_t)left : SAMPLE_CHUNK;
            sample_number(sample, k);
            write_all(im, span_of(v->zeros ? zeros : sample, n));
            left -= n;
        }
        struct unixfs_root root;
        cr_assert_eq(importer_finish(im, &root), 0);
        cr_expect_eq(importer_bytes(im), v->size);
        expect(v, &root);
        importer_free(im);
    }
    free(sample);
    free(zeros);
}

Test(importer, unknown_profile)
{
    cr_expect_null(layout_profile_find(span_str("unixfs-v2")));
}

/* Pieces of odd sizes, chunks handed out and given back in any order, a sink that refuses: the root does not change, and
 * the sink has each block of the DAG. */
static void import_hard(const struct vector *v, unsigned in_flight, unsigned refuse_every, uint64_t seed)
{
    struct rng rng;
    rng_init_seed(&rng, seed);
    struct mem_blocks *m = mem_blocks_new();
    m->refuse_every = refuse_every;
    struct importer *im = importer_new(&(struct importer_options){
        .profile = layout_profile_find(span_str(v->profile)), .sink = &m->sink, .in_flight = in_flight});
    const struct layout_profile *p = layout_profile_find(span_str(v->profile));
    uint8_t *sample = sample_new();
    struct block *away[IMPORTER_FLIGHT_MAX];
    unsigned away_count = 0;
    uint64_t at = 0;
    struct unixfs_root root;
    for (unsigned turn = 0;; turn++) {
        cr_assert_lt(turn, 1000000u);
        if (at < v->size) {
            sample_number(sample, (uint32_t)(at / SAMPLE_CHUNK));
            size_t in = at % SAMPLE_CHUNK;
            uint64_t len = rng_below(&rng, 300000) + 1;
            struct span s = span_sub(span_of(sample + in, SAMPLE_CHUNK - in), 0, len < v->size - at ? len : v->size - at);
            int n = importer_write(im, s);
            cr_assert(n > 0 || n == ERR_AGAIN, "%s", err_name(n));
            at += n > 0 ? (uint64_t)n : 0;
        } else {
            int r = importer_finish(im, &root);
            if (r == 0)
                break;
            cr_assert_eq(r, ERR_AGAIN);
        }
        if (!in_flight)
            continue;
        while (away_count < in_flight && importer_next(im, &away[away_count]) == 1)
            away_count++;
        if (away_count > 0 && (rng_below(&rng, 3) == 0 || at == v->size)) {
            unsigned i = (unsigned)rng_below(&rng, away_count);
            struct block *b = away[i];
            away[i] = away[--away_count];
            layout_leaf_cid(p, block_span(b), &b->cid);
            int r = importer_hashed(im, b);
            cr_assert(r == 0 || r == ERR_AGAIN);
        }
    }
    cr_assert_eq(away_count, 0u);
    expect(v, &root);
    struct span ignored;
    cr_expect_eq(source_get(&m->source, &root.cid, &ignored), 0);
    importer_free(im);
    mem_blocks_free(m);
    free(sample);
}

Test(importer, handed_out_and_refused)
{
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        if (vectors[i].zeros || vectors[i].size > (64u << 20))
            continue;
        import_hard(&vectors[i], 0, 0, i);
        import_hard(&vectors[i], 0, 3, i);
        import_hard(&vectors[i], 1, 2, i);
        import_hard(&vectors[i], 7, 3, i);
    }
}

Test(importer, dropped_half_way)
{
    struct mem_blocks *m = mem_blocks_new();
    uint8_t *sample = sample_new();
    struct importer *im = importer_new(&(struct importer_options){.sink = &m->sink, .in_flight = 2});
    struct block *b;
    write_all(im, span_of(sample, SAMPLE_CHUNK));
    write_all(im, span_of(sample, SAMPLE_CHUNK));
    cr_assert_eq(importer_write(im, span_of(sample, SAMPLE_CHUNK)), (int)SAMPLE_CHUNK); /* fills the open chunk */
    cr_assert_eq(importer_write(im, span_of(sample, 1)), ERR_AGAIN);
    cr_assert_eq(importer_next(im, &b), 1);
    importer_free(im); /* one chunk is away: it stays ours */
    cr_expect_eq(b->len, SAMPLE_CHUNK);
    block_unref(b);
    free(sample);
    mem_blocks_free(m);
}

Test(importer, budget_bounds_the_chunks)
{
    struct budget *budget = budget_new(BUDGET_MIN);
    struct mem_blocks *m = mem_blocks_new();
    m->sink.budget = budget;
    uint8_t *sample = sample_new();
    struct importer *im = importer_new(&(struct importer_options){.sink = &m->sink, .in_flight = IMPORTER_FLIGHT_MAX});
    int n = 1;
    unsigned chunks = 0;
    for (; n > 0 && chunks < 100; chunks++)
        n = importer_write(im, span_of(sample, SAMPLE_CHUNK));
    cr_expect_eq(n, ERR_AGAIN);
    cr_expect_lt(chunks, 17u);
    importer_free(im);
    mem_blocks_free(m);
    cr_expect_eq(budget_used(budget), 0u);
    budget_free(budget);
    free(sample);
}

/* It holds the long buffer of the open chunk: it must not wait for more. */
Test(importer, a_short_chunk_without_room_for_a_copy)
{
    struct budget *budget = budget_new(BUDGET_MIN);
    struct mem_blocks *m = mem_blocks_new();
    m->sink.budget = budget;
    struct importer *im = importer_new(&(struct importer_options){.sink = &m->sink});
    struct unixfs_root root;
    size_t others = 0;
    cr_assert_eq(importer_write(im, span_str("short")), 5);
    while (budget_take(budget, BUDGET_WRITE, 4096))
        others += 4096;
    while (budget_take(budget, BUDGET_WRITE, 1))
        others++;
    cr_assert_eq(importer_finish(im, &root), 0);
    cr_assert_eq(root.size, 5u);
    importer_free(im);
    mem_blocks_free(m);
    budget_give(budget, BUDGET_WRITE, others);
    cr_assert_eq(budget_used(budget), 0u);
    budget_free(budget);
}

/* Of a file of 600 leaves; what was taken is not asked for again. */
Test(importer, without_memory_for_a_moment)
{
    enum { CHUNK = 1 << 20, CHUNKS = 600 };
    static uint8_t zeros[CHUNK];
    struct unixfs_root root[2];
    for (int i = 0; i < 2; i++) {
        struct importer *im = importer_new(&(struct importer_options){.profile = &layout_v1_2025});
        unsigned waited = 0;
        int r;
        short_memory_from = i ? 65536 : SIZE_MAX;
        for (unsigned c = 0; c < CHUNKS; c++)
            for (struct span data = span_of(zeros, CHUNK - (c + 1 == CHUNKS)); data.len;
                 data = span_from(data, r < 0 ? 0 : (size_t)r)) {
                r = importer_write(im, data);
                cr_assert(r > 0 || r == ERR_NO_MEMORY, "%s", err_name(r));
                if (r < 0 && ++waited % 2)
                    short_memory_from = SIZE_MAX;
            }
        short_memory_from = i ? 16384 : SIZE_MAX;
        r = importer_finish(im, &root[i]);
        cr_assert_eq(r, i ? ERR_NO_MEMORY : 0, "%s", err_name(r));
        short_memory_from = SIZE_MAX;
        cr_assert_eq(importer_finish(im, &root[i]), 0);
        cr_assert_eq(importer_bytes(im), (uint64_t)CHUNK * CHUNKS - 1);
        cr_assert_eq(waited, (unsigned)i);
        importer_free(im);
    }
    cr_assert(cid_eq(&root[0].cid, &root[1].cid));
}
