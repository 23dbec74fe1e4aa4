/* SPDX-License-Identifier: MIT */
#include "store/base/units.h"

#include "store/base/err.h"
#include "store/base/rng.h"

#include <criterion/criterion.h>

Test(units, sizes)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"none", 0},
        {"1", 1},
        {"1b", 1},
        {"512 B", 512},
        {"1K", 1024},
        {"1kib", 1024},
        {"1Ki", 1024},
        {"1 KB", 1000},
        {"1.5G", UINT64_C(3) << 29},
        {"10M", 10 << 20},
        {"2TiB", UINT64_C(2) << 40},
        {"1P", UINT64_C(1) << 50},
        {"0.5K", 512},
        {"18446744073709551615", UINT64_MAX},
    };
    static const char *const bad[] = {
        "",   " ",      "x",    "-1",  "1.",  ".5K", "1.5",  "1KK", "1 K B", "1Kx", "18446744073709551616",
        "1E", "99999P", "0x10", "1,5", "1K ", " 1",  "NoneK"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t v = 99;
        cr_assert_eq(size_parse(span_str(good[i].text), &v), 0, "%s", good[i].text);
        cr_assert_eq(v, good[i].bytes, "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t v = 99;
        cr_assert_eq(size_parse(span_str(bad[i]), &v), ERR_INVALID, "%s", bad[i]);
        cr_assert_eq(v, 99);
    }
    char text[UNITS_TEXT_SIZE];
    cr_assert_str_eq(size_text(0, text), "0 B");
    cr_assert_str_eq(size_text(999, text), "999 B");
    cr_assert_str_eq(size_text(1000, text), "0.98 KiB");
    cr_assert_str_eq(size_text(4096, text), "4.00 KiB");
    cr_assert_str_eq(size_text(12 << 20, text), "12.0 MiB");
    cr_assert_str_eq(size_text(UINT64_C(300) << 30, text), "300 GiB");
    cr_assert_str_eq(size_text(UINT64_MAX, text), "16.0 EiB");
    cr_assert_str_eq(size_text_exact(1536, text), "1536");
    cr_assert_str_eq(size_text_exact(1536 * 1024, text), "1536K");
    cr_assert_str_eq(size_text_exact(UINT64_C(10) << 30, text), "10G");
    struct rng rng;
    rng_init_seed(&rng, 3);
    for (int i = 0; i < 2000; i++) {
        uint64_t v = rng_u64(&rng) >> rng_below(&rng, 64), back;
        v <<= rng_below(&rng, 2) * 10;
        cr_assert(size_parse(span_str(size_text_exact(v, text)), &back) == 0 && back == v, "%s", text);
    }
}

Test(units, durations)
{
    static const struct {
        const char *text;
        mono_ns ns;
    } good[] = {
        {"10", 10 * MONO_S},
        {"10s", 10 * MONO_S},
        {"1m30s", 90 * MONO_S},
        {"250ms", 250 * MONO_MS},
        {"1.5h", 5400 * MONO_S},
        {"2d", 172800 * MONO_S},
        {"1w", 604800 * MONO_S},
        {"3us", 3000},
        {"7ns", 7},
        {"0", 0},
        {"none", 0},
        {"0.25", 250 * MONO_MS},
    };
    static const char *const bad[] = {"", "s", "1x", "1m30", "-1s", "1 s", "1s ", "99999999999999999999s", "600000w", "1..5s"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        mono_ns v = 99;
        cr_assert_eq(duration_parse(span_str(good[i].text), &v), 0, "%s", good[i].text);
        cr_assert_eq(v, good[i].ns, "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mono_ns v = 99;
        cr_assert_eq(duration_parse(span_str(bad[i]), &v), ERR_INVALID, "%s", bad[i]);
        cr_assert_eq(v, 99);
    }
    char text[UNITS_TEXT_SIZE];
    cr_assert_str_eq(duration_text(0, text), "0s");
    cr_assert_str_eq(duration_text(90 * MONO_S, text), "1m30s");
    cr_assert_str_eq(duration_text(250 * MONO_MS, text), "250ms");
    struct rng rng;
    rng_init_seed(&rng, 4);
    for (int i = 0; i < 2000; i++) {
        mono_ns v = rng_u64(&rng) >> rng_below(&rng, 64), back;
        cr_assert(duration_parse(span_str(duration_text(v, text)), &back) == 0 && back == v, "%s of %llu", text,
                  (unsigned long long)v);
    }
}
