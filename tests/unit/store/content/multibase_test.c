/* SPDX-License-Identifier: MIT */
#include "store/content/multibase.h"

#include "store/base/err.h"
#include "store/base/rng.h"

#include <criterion/criterion.h>

/* multiformats/multibase tests: basic.csv, leading_zero.csv, two_leading_zeros.csv */
static const struct {
    const char *data;
    size_t len;
    const char *text;
} vectors[] = {
    {"yes mani !", 10, "bpfsxgidnmfxgsibb"},
    {"yes mani !", 10, "BPFSXGIDNMFXGSIBB"},
    {"yes mani !", 10, "k2lcpzo5yikidynfl"},
    {"yes mani !", 10, "K2LCPZO5YIKIDYNFL"},
    {"yes mani !", 10, "z7paNL19xttacUY"},
    {"yes mani !", 10, "f796573206d616e692021"},
    {"yes mani !", 10, "F796573206D616E692021"},
    {"yes mani !", 10, "ueWVzIG1hbmkgIQ"},
    {"yes mani !", 10, "meWVzIG1hbmkgIQ"},
    {"\0yes mani !", 11, "bab4wk4zanvqw42jaee"},
    {"\0yes mani !", 11, "k02lcpzo5yikidynfl"},
    {"\0yes mani !", 11, "z17paNL19xttacUY"},
    {"\0yes mani !", 11, "f00796573206d616e692021"},
    {"\0yes mani !", 11, "uAHllcyBtYW5pICE"},
    {"\0\0yes mani !", 12, "baaahszltebwwc3tjeaqq"},
    {"\0\0yes mani !", 12, "k002lcpzo5yikidynfl"},
    {"\0\0yes mani !", 12, "z117paNL19xttacUY"},
    {"\0\0yes mani !", 12, "uAAB5ZXMgbWFuaSAh"},
    {"", 0, "b"},
    {"", 0, "z"},
    {"", 0, "k"},
    {"\0", 1, "z1"},
    {"\0", 1, "k0"},
};

Test(multibase, vectors)
{
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct span data = span_of(vectors[i].data, vectors[i].len);
        struct buf text = BUF_INIT, back = BUF_INIT;
        multibase_encode(&text, vectors[i].text[0], data);
        cr_assert_str_eq(buf_cstr(&text), vectors[i].text);
        cr_assert_eq(multibase_decode(&back, buf_span(&text)), 0, "%s", vectors[i].text);
        cr_assert(span_eq(buf_span(&back), data), "%s", vectors[i].text);
        buf_done(&text);
        buf_done(&back);
    }
}

/* case_insensitivity.csv: "hello world" */
Test(multibase, one_case_bases_take_both)
{
    static const char *const texts[] = {
        "f68656c6c6f20776F726C64", "F68656c6c6f20776F726C64", "bnbswy3dpeB3W64TMMQ",
        "Bnbswy3dpeB3W64TMMQ",     "kfUvrsIvVnfRbjWaJo",      "KfUVrSIVVnFRbJWAJo",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct buf back = BUF_INIT;
        cr_assert_eq(multibase_decode(&back, span_str(texts[i])), 0, "%s", texts[i]);
        cr_assert(span_eq_str(buf_span(&back), "hello world"), "%s", texts[i]);
        buf_done(&back);
    }
}

Test(multibase, refuses)
{
    static const char *const texts[] = {
        "",     "q",     "x1", "f0", "f0g", "bpfsxgidnmfxgsib=", "b1",  "ba",  "bab", /* unused bits, half characters */
        "bpfr", "z0OIl", "k-", "ua", "ueX", "ueWVzIG1hbmkgIQ==", "u+/", "m-_", " bpfsxgidnmfxgsibb",
        "uAB", /* the low bits of B are not zero */
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct buf out = BUF_INIT;
        buf_add_str(&out, "kept");
        cr_assert_eq(multibase_decode(&out, span_str(texts[i])), ERR_INVALID, "%s", texts[i]);
        cr_assert(span_eq_str(buf_span(&out), "kept"), "%s", texts[i]);
        buf_done(&out);
    }
    uint8_t longer[MULTIBASE_TEXT_MAX + 2];
    struct buf out = BUF_INIT;
    memset(longer, '1', sizeof longer);
    longer[0] = 'z';
    cr_assert_eq(multibase_decode(&out, span_of(longer, sizeof longer)), ERR_INVALID);
    cr_assert_eq(multibase_decode(&out, span_of(longer, sizeof longer - 1)), 0);
    cr_assert_eq(buf_len(&out), MULTIBASE_TEXT_MAX);
    buf_done(&out);
}

Test(multibase, round_trips)
{
    struct rng rng;
    rng_init_seed(&rng, 1);
    for (int i = 0; i < 2000; i++) {
        uint8_t data[64];
        size_t len = rng_below(&rng, sizeof data + 1);
        rng_fill(&rng, data, len);
        if (i % 3 == 0)
            memset(data, 0, len / 2);
        for (const char *base = "bBkKzfFum"; *base; base++) {
            struct buf text = BUF_INIT, back = BUF_INIT;
            multibase_encode(&text, *base, span_of(data, len));
            cr_assert_eq(multibase_decode(&back, buf_span(&text)), 0);
            cr_assert(span_eq(buf_span(&back), span_of(data, len)));
            buf_done(&text);
            buf_done(&back);
        }
    }
}

Test(multibase, base58_without_prefix)
{
    struct buf out = BUF_INIT;
    base58btc_encode(&out, span_str("Hello World!"));
    cr_assert_str_eq(buf_cstr(&out), "2NEpo7TZRRrLZSi2U");
    struct buf back = BUF_INIT;
    cr_assert_eq(base58btc_decode(&back, buf_span(&out)), 0);
    cr_assert(span_eq_str(buf_span(&back), "Hello World!"));
    cr_assert_eq(base58btc_decode(&back, span_str("0")), ERR_INVALID);
    buf_done(&out);
    buf_done(&back);
}
