/* SPDX-License-Identifier: MIT */
#include "store/codec/dagcbor.h"

#include "store/content/multibase.h"

#include <criterion/criterion.h>

static void from_hex(const char *hex, struct buf *out)
{
    struct buf text = BUF_INIT;
    buf_printf(&text, "f%s", hex);
    cr_assert_eq(multibase_decode(out, buf_span(&text)), 0, "%s", hex);
    buf_done(&text);
}

/* All tokens as letters; what ended the walk. */
static int walk(struct span in, char *letters, size_t size)
{
    static const char names[] = "unbtamcfo0"; /* by enum dagcbor_type */
    struct dagcbor d;
    struct dagcbor_token t;
    size_t n = 0;
    int r;
    dagcbor_init(&d, in);
    while ((r = dagcbor_next(&d, &t)) == 1)
        if (n + 1 < size)
            letters[n++] = names[t.type];
    letters[n] = 0;
    return r;
}

#define CID "d82a4a00015500050001020304" /* 42(h'00 015500050001020304') */

Test(dagcbor, cases)
{
    static const struct {
        const char *hex, *letters;
        int end;
    } cases[] = {
        {"00", "u", 0},
        {"1bffffffffffffffff", "u", 0},
        {"3863", "n", 0},
        {"40", "b", 0},
        {"6161", "t", 0},
        {"80", "a", 0},
        {"a0", "m", 0},
        {"83010203", "auuu", 0},
        {"a26161016162820203", "mtutauu", 0},
        {"8181818180", "aaaaa", 0},
        {CID, "c", 0},
        {"82" CID CID, "acc", 0},
        {"f4", "o", 0},
        {"f5", "o", 0},
        {"f6", "0", 0},
        {"fb3ff199999999999a", "f", 0},
        {"", "", ERR_TRUNCATED},
        {"0000", "u", ERR_INVALID}, /* two items */
        {"8101f6", "au", ERR_INVALID},
        {"8301", "", ERR_TRUNCATED}, /* fewer bytes than items */
        {"830102", "", ERR_TRUNCATED},
        {"82018101", "auau", 0},
        {"9f01ff", "", ERR_INVALID}, /* indefinite lengths */
        {"bf616101ff", "", ERR_INVALID},
        {"5f4101ff", "", ERR_INVALID},
        {"7f6161ff", "", ERR_INVALID},
        {"ff", "", ERR_INVALID},
        {"f7", "", ERR_INVALID},     /* undefined */
        {"f93c00", "", ERR_INVALID}, /* half, single floats */
        {"fa47c35000", "", ERR_INVALID},
        {"f0", "", ERR_INVALID},   /* simple values */
        {"c001", "", ERR_INVALID}, /* other tags */
        {"d82b4a00015500050001020304", "", ERR_INVALID},
        {"d82a6161", "", ERR_INVALID}, /* 42 of a text */
        {"d82a40", "", ERR_INVALID},
        {"d82a4900015500050001020304", "", ERR_INVALID},
        {"d82a4a01015500050001020304", "", ERR_INVALID}, /* no 00 */
        {"d82ad82a4100", "", ERR_INVALID},
        {"d82a", "", ERR_TRUNCATED},
        {"1c", "", ERR_INVALID},
        {"9bffffffffffffffff", "", ERR_TRUNCATED},
        {"bbffffffffffffffff", "", ERR_TRUNCATED},
        {"5bffffffffffffffff", "", ERR_TRUNCATED},
        {"5b7fffffffffffffff", "", ERR_TRUNCATED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf in = BUF_INIT;
        char letters[64];
        from_hex(cases[i].hex, &in);
        uint8_t *exact = mem_copy(buf_span(&in).data, buf_len(&in));
        int end = walk(span_of(exact, buf_len(&in)), letters, sizeof letters);
        cr_assert_eq(end, cases[i].end, "%s: %s", cases[i].hex, err_name(end));
        cr_assert_str_eq(letters, cases[i].letters, "%s", cases[i].hex);
        free(exact);
        buf_done(&in);
    }
}

Test(dagcbor, depth_is_bounded)
{
    char letters[DAGCBOR_DEPTH_MAX + 16];
    uint8_t in[DAGCBOR_DEPTH_MAX + 2];
    memset(in, 0x81, sizeof in);
    in[DAGCBOR_DEPTH_MAX] = 0;
    cr_assert_eq(walk(span_of(in, DAGCBOR_DEPTH_MAX + 1), letters, sizeof letters), 0);
    in[DAGCBOR_DEPTH_MAX] = 0x81;
    in[DAGCBOR_DEPTH_MAX + 1] = 0;
    cr_assert_eq(walk(span_of(in, sizeof in), letters, sizeof letters), ERR_INVALID);
}

Test(dagcbor, writes_minimal_heads)
{
    static const struct {
        uint64_t number;
        const char *hex;
    } cases[] = {
        {0, "00"},
        {23, "17"},
        {24, "1818"},
        {255, "18ff"},
        {256, "190100"},
        {65535, "19ffff"},
        {65536, "1a00010000"},
        {UINT32_MAX, "1affffffff"},
        {UINT64_C(1) << 32, "1b0000000100000000"},
        {UINT64_MAX, "1bffffffffffffffff"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out = BUF_INIT, want = BUF_INIT;
        from_hex(cases[i].hex, &want);
        dagcbor_add_head(&out, DAGCBOR_UINT, cases[i].number);
        cr_assert(span_eq(buf_span(&out), buf_span(&want)), "%s", cases[i].hex);
        buf_done(&out);
        buf_done(&want);
    }
    struct cid c;
    struct buf out = BUF_INIT;
    struct dagcbor d;
    struct dagcbor_token t;
    cid_of(&c, CODEC_RAW, span_str("x"));
    dagcbor_add_head(&out, DAGCBOR_MAP, 1);
    dagcbor_add_text(&out, "key");
    dagcbor_add_cid(&out, &c);
    dagcbor_init(&d, buf_span(&out));
    cr_assert(dagcbor_next(&d, &t) == 1 && t.type == DAGCBOR_MAP && t.number == 1);
    cr_assert(dagcbor_next(&d, &t) == 1 && t.type == DAGCBOR_TEXT && span_eq_str(t.bytes, "key"));
    cr_assert(dagcbor_next(&d, &t) == 1 && t.type == DAGCBOR_CID && cid_eq(&t.cid, &c));
    cr_assert_eq(dagcbor_next(&d, &t), 0);
    buf_done(&out);
}
