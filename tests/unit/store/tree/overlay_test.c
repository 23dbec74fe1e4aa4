/* SPDX-License-Identifier: MIT */
#include "store/tree/overlay.h"

#include "store/base/rng.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define KEYS      500
#define VALUE_MAX 40

/* A plain array says what the overlay must say. */
struct model {
    bool there[KEYS], deleted[KEYS];
    uint8_t value[KEYS][VALUE_MAX];
    size_t len[KEYS];
    uint64_t seq[KEYS];
};

static struct span key_of(unsigned i, uint8_t key[3])
{
    key[0] = 'k';
    key[1] = (uint8_t)(i >> 8);
    key[2] = (uint8_t)i;
    return span_of(key, 3);
}

static void compare(const struct overlay *o, const struct model *m)
{
    uint8_t key[3];
    const struct overlay_entry *e = overlay_from(o, span_str("k"));
    size_t count = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        struct span k = key_of(i, key);
        const struct overlay_entry *f = overlay_find(o, k);
        cr_assert_eq(f != NULL, m->there[i]);
        if (!f)
            continue;
        count++;
        cr_assert_eq(f, e); /* the order of keys */
        cr_assert_eq(f, overlay_from(o, k));
        cr_assert_eq(f->deleted, m->deleted[i]);
        cr_assert_eq(f->seq, m->seq[i]);
        if (!f->deleted)
            cr_assert(span_eq(f->value, span_of(m->value[i], m->len[i])));
        e = overlay_next(e);
    }
    cr_assert_null(e);
    cr_assert_eq(count, overlay_count(o));
}

Test(overlay, behaves_as_an_array)
{
    struct overlay *o = overlay_new();
    struct model *m = calloc(1, sizeof *m);
    struct rng rng;
    rng_init_seed(&rng, 5);
    cr_assert_null(overlay_from(o, SPAN_NONE));
    for (uint64_t seq = 1; seq < 20000; seq++) {
        unsigned i = (unsigned)rng_below(&rng, KEYS);
        uint8_t key[3];
        struct span k = key_of(i, key);
        switch (rng_below(&rng, 4)) {
        case 0:
            m->len[i] = rng_below(&rng, VALUE_MAX + 1); /* shorter and longer than what was there */
            memset(m->value[i], (int)rng_below(&rng, 256), m->len[i]);
            m->there[i] = true;
            m->deleted[i] = false;
            m->seq[i] = seq;
            overlay_set(o, k, span_of(m->value[i], m->len[i]), seq);
            break;
        case 1:
            m->there[i] = m->deleted[i] = true;
            m->seq[i] = seq;
            overlay_delete(o, k, seq);
            break;
        case 2:
            overlay_drop(o, k, m->seq[i]);
            m->there[i] = false;
            break;
        default:
            overlay_drop(o, k, m->seq[i] - 1); /* changed since: stays */
        }
        if (seq % 500 == 0)
            compare(o, m);
    }
    overlay_free(o);
    free(m);
}

Test(overlay, a_value_of_its_own)
{
    struct overlay *o = overlay_new();
    overlay_set(o, span_str("a"), span_str("long value"), 1);
    struct span own = overlay_find(o, span_str("a"))->value;
    overlay_set(o, span_str("a"), span_sub(own, 5, 5), 2);
    cr_expect(span_eq_str(overlay_find(o, span_str("a"))->value, "value"));
    overlay_set(o, span_str("a"), span_str("a value that is longer"), 3);
    own = overlay_find(o, span_str("a"))->value;
    overlay_set(o, span_str("a"), span_sub(own, 2, 15), 4); /* still too long for the first one's place */
    cr_expect(span_eq_str(overlay_find(o, span_str("a"))->value, "value that is l"));
    own = overlay_find(o, span_str("a"))->value;
    overlay_set(o, span_str("a"), span_sub(own, 0, 5), 5);
    cr_expect(span_eq_str(overlay_find(o, span_str("a"))->value, "value"));
    overlay_free(o);
    cr_expect_null(overlay_free(NULL));
}
