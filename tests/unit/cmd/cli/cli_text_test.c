/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_text.h"

#include <criterion/criterion.h>

static void expect_escape(const char *in, size_t len, const char *want)
{
    struct buf out = BUF_INIT;
    cli_text_escape(&out, span_of(in, len));
    cr_expect_str_eq(buf_cstr(&out), want);
    buf_done(&out);
}
#define ESCAPE(in, want) expect_escape(in, sizeof(in) - 1, want)

Test(cli_text, escape)
{
    ESCAPE("", "");
    ESCAPE("plain name.txt", "plain name.txt");
    ESCAPE("ünïcode 🎬", "ünïcode 🎬");
    ESCAPE("a\nb\tc\\d", "a\\nb\\tc\\\\d");
    ESCAPE("\x1b[31mred", "\\x1b[31mred");
    ESCAPE("\x7f", "\\x7f");
    ESCAPE("nul\0byte", "nul\\x00byte");
    ESCAPE("\xff\xfe", "\\xff\\xfe");          /* not UTF-8 */
    ESCAPE("\xc3", "\\xc3");                   /* cut short */
    ESCAPE("\xc0\xaf", "\\xc0\\xaf");          /* overlong '/' */
    ESCAPE("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* a surrogate */
    ESCAPE("\xc2\x9b"
           "31m",
           "\\xc2\\x9b31m");                                 /* CSI as a C1 control */
    ESCAPE("\xe2\x80\xaegpj.exe", "\\xe2\\x80\\xaegpj.exe"); /* right-to-left override */
}

Test(cli_text, width)
{
    cr_expect_eq(cli_text_width(span_str("")), 0);
    cr_expect_eq(cli_text_width(span_str("abc")), 3);
    cr_expect_eq(cli_text_width(span_str("ünï")), 3);
    cr_expect_eq(cli_text_width(span_str("日本🎬")), 6);
    cr_expect_eq(cli_text_width(span_str("u\u0308")), 1);
    cr_expect_eq(cli_text_width(span_str("\xff\xe6")), 2);
    cr_expect_eq(cli_text_prefix(span_str("日本語"), 5), 6, "no half of a character");
    cr_expect_eq(cli_text_prefix(span_str("abc"), 9), 3);
}

Test(cli_text, fit)
{
    static const struct {
        const char *name, *rest;
        size_t columns;
        const char *want;
    } rows[] = {
        {"film.mkv", "  42 %  1 MiB", 80, "film.mkv  42 %  1 MiB"},
        {"film.mkv", "  42 %", 14, "film.mkv  42 %"},
        {"abcdefghijklmnopqrstuvwxyz", "  42 %", 20, "…nopqrstuvwxyz  42 %"},
        {"日本語日本語日本語日本語", "  42 %", 19, "…日本語日本語  42 %"},
        {"abcdefghijklmnopqrstuvwxyz", "  42 %  1.0 MiB/s", 20, "…pqrstuvwxyz  42 %  "},
        {"short", "  42 %  1.0 MiB/s", 10, "short  42 "},
        {"abcdefghijklmnopqrstuvwxyz", "  42 %", 5, "…wxyz"},
        {"", "  42 %", 80, "  42 %"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = BUF_INIT;
        cli_text_fit(&out, span_str(rows[i].name), span_str(rows[i].rest), rows[i].columns);
        cr_expect_str_eq(buf_cstr(&out), rows[i].want);
        cr_expect_leq(cli_text_width(buf_span(&out)), rows[i].columns);
        buf_done(&out);
    }
}

Test(cli_text, seconds)
{
    static const struct {
        double s;
        const char *want;
    } rows[] = {
        {0, "0.0 ms"},     {0.0042, "4.2 ms"},  {0.35, "350 ms"},    {1, "1.0 s"},        {9.94, "9.9 s"}, {42.4, "42 s"},
        {60, "1 min 0 s"}, {200, "3 min 20 s"}, {7500, "2 h 5 min"}, {273600, "3 d 4 h"}, {-5, "0.0 ms"},
    };
    char out[CLI_TEXT_SIZE];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_str_eq(cli_text_seconds(rows[i].s, out), rows[i].want);
}

Test(cli_text, url)
{
    struct buf out = BUF_INIT;
    cli_text_url(&out, "/ipfs/a b&c=d%\xff?#");
    cr_expect_str_eq(buf_cstr(&out), "/ipfs/a%20b%26c%3Dd%25%FF%3F%23");
    buf_done(&out);
}
