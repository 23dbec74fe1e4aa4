/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/ctl_parse.h"

#include "store/base/err.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define HELLO "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"

Test(ctl_parse, numbers)
{
    static const struct {
        const char *text;
        int result;
        uint64_t value;
    } rows[] = {
        {"0", 0, 0},
        {"007", 0, 7},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", ERR_INVALID, 1},
        {"99999999999999999999", ERR_INVALID, 1},
        {"", ERR_INVALID, 1},
        {"-1", ERR_INVALID, 1},
        {"+1", ERR_INVALID, 1},
        {" 1", ERR_INVALID, 1},
        {"1 ", ERR_INVALID, 1},
        {"0x10", ERR_INVALID, 1},
        {"1e3", ERR_INVALID, 1},
        {"\xb2", ERR_INVALID, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t n = 1;
        cr_expect_eq(ctl_parse_u64(rows[i].text, &n), rows[i].result, "%s", rows[i].text);
        cr_expect_eq(n, rows[i].value, "%s", rows[i].text);
    }
}

Test(ctl_parse, paths)
{
    static const struct {
        const char *text, *rest; /* rest NULL: refused, and the sentence holds `says` */
        bool is_share;
        const char *says;
    } rows[] = {
        {HELLO, "", false, NULL},
        {"/ipfs/" HELLO, "", false, NULL},
        {"ipfs/" HELLO "/a/b", "/a/b", false, NULL},
        {HELLO "/", "/", false, NULL},
        {"share", "share", true, NULL},
        {"/share/a b", "share/a b", true, NULL},
        {"shared", NULL, false, "'shared'"},
        {"", NULL, false, "names no CID"},
        {"/", NULL, false, "'/'"},
        {"/ipfs/", NULL, false, "'/ipfs/'"},
        {"/ipfs//" HELLO, NULL, false, "names no CID"},
        {"nonsense/share", NULL, false, "'nonsense'"},
        {"//share", NULL, false, "'//share'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ctl_path p;
        struct why why = {""};
        int r = ctl_parse_path(rows[i].text, &p, &why);
        cr_expect_eq(r, rows[i].rest ? 0 : ERR_INVALID, "%s: %s", rows[i].text, why.text);
        if (r < 0) {
            cr_expect(rows[i].says && strstr(why.text, rows[i].says), "%s: %s", rows[i].text, why.text);
            continue;
        }
        cr_expect_str_eq(p.rest, rows[i].rest);
        cr_expect_eq(p.is_share, rows[i].is_share);
    }
}

Test(ctl_parse, uploads)
{
    uint64_t id = 0;
    const char *op = NULL;
    cr_expect_eq(ctl_parse_upload("17/data", &id, &op), 0);
    cr_expect(id == 17 && strcmp(op, "data") == 0);
    cr_expect_eq(ctl_parse_upload("18", &id, &op), 0);
    cr_expect(id == 18 && strcmp(op, "") == 0);
    cr_expect_eq(ctl_parse_upload("1/a/b", &id, &op), 0);
    cr_expect_str_eq(op, "a/b");
    static const char *const bad[] = {
        "", "/", "/data", "x/data", "1x/data", "-1/data", "18446744073709551616/up", "0000000000000000000000000000001/up"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(ctl_parse_upload(bad[i], &id, &op), ERR_INVALID, "%s", bad[i]);
}

static int parse(const char *text, struct order_line *o, struct why *why)
{
    static char line[ORDER_LINE_MAX + 2]; /* words point into it */
    memcpy(line, text, strlen(text) + 1);
    *why = (struct why){""};
    return ctl_parse_order(line, o, why);
}

Test(ctl_parse, orders)
{
    struct order_line o;
    struct why why;
    cr_expect_eq(parse("petname\talice  - \n", &o, &why), 0);
    cr_expect(o.verb == ORDER_PETNAME && o.count == 3 && strcmp(o.words[1], "alice") == 0 && strcmp(o.words[2], "-") == 0);
    cr_expect_eq(parse("gc", &o, &why), 0);
    cr_expect(o.verb == ORDER_GC && o.count == 1);
    static const struct {
        const char *line, *says;
    } bad[] = {
        {"", "empty"},
        {" \t\n", "empty"},
        {"nonsense x", "'nonsense'"},
        {"GC", "'GC'"},
        {"gc now", "the command is: gc"},
        {"connect", "connect ADDRESS|PEER"},
        {"connect a b", "connect ADDRESS|PEER"},
        {"pin a b c d e f g h i j k", "pin CID [NAME]"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(parse(bad[i].line, &o, &why), ERR_INVALID, "%s", bad[i].line);
        cr_expect(strstr(why.text, bad[i].says), "%s: %s", bad[i].line, why.text);
    }
    char *longest = mem_new(ORDER_LINE_MAX + 2);
    memset(longest, 'x', ORDER_LINE_MAX + 1);
    longest[ORDER_LINE_MAX + 1] = 0;
    cr_expect_eq(parse(longest, &o, &why), ERR_INVALID);
    cr_expect(strstr(why.text, "longer than 4096 bytes"));
    free(longest);
}

Test(ctl_parse, help_names_every_order)
{
    struct buf help = BUF_INIT;
    unsigned lines = 0;
    ctl_order_help(&help);
    for (const char *p = buf_cstr(&help); (p = strchr(p, '\n')); p++)
        lines++;
    cr_expect_eq(lines, ORDER_COUNT + 1);
    buf_done(&help);
}
