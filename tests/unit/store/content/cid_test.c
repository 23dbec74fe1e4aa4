/* SPDX-License-Identifier: MIT */
#include "store/content/cid.h"

#include "store/content/hasher.h"

#include <criterion/criterion.h>

static struct cid from_text(const char *text)
{
    struct cid c = {0};
    struct why why = {""};
    cr_assert_eq(cid_from_text(span_str(text), &c, &why), 0, "%s: %s", text, why.text);
    return c;
}

/* Each names the same kind of thing in several texts; the first is the canonical one. */
static const struct {
    const char *text[5];
    int version;
    uint64_t codec, hash;
    size_t digest_len;
} vectors[] = {
    {{"QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR"}, 0, CODEC_DAG_PB, HASH_SHA2_256, 32},
    {{"bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", "zdj7Wic6KcJAfWz1c9o4M6kq9Lwd5BfbxkVafnrojaaGiSFxM",
      "k2jmtxw8rjh1z69c6not3wtdxb0u3urbzhyll1t9jg6ox26dhi5sfi1m"},
     1,
     CODEC_DAG_PB,
     HASH_SHA2_256,
     32},
    {{"bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"}, 1, CODEC_RAW, HASH_SHA2_256, 32},
    {{"bafkqaaa"}, 1, CODEC_RAW, HASH_IDENTITY, 0},
    {{"bafkqabtimvwgy3yk"}, 1, CODEC_RAW, HASH_IDENTITY, 6},
    {{"bafzaajaiaejcal72gwuz2or47oyxxn6b3rkwdmmkrxgyjxt2dl4bqgmqq3bbcwve"}, 1, CODEC_LIBP2P_KEY, HASH_IDENTITY, 36},
};

Test(cid, text_vectors)
{
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        for (unsigned k = 0; k < 5 && vectors[i].text[k]; k++) {
            struct cid c = from_text(vectors[i].text[k]);
            char text[CID_TEXT_SIZE];
            cr_assert_str_eq(cid_text(&c, text), vectors[i].text[0]);
            cr_assert_eq(cid_version(&c), vectors[i].version);
            cr_assert_eq(cid_codec(&c), vectors[i].codec);
            cr_assert_eq(cid_hash_code(&c), vectors[i].hash);
            cr_assert_eq(cid_digest(&c).len, vectors[i].digest_len);
        }
    }
}

Test(cid, bases_of_one_cid)
{
    struct cid c = from_text("bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
    for (const char *base = "bBkKzfFum"; *base; base++) {
        struct buf text = BUF_INIT;
        struct cid back;
        cid_text_base(&c, *base, &text);
        cr_assert_eq(cid_from_text(buf_span(&text), &back, NULL), 0);
        cr_assert(cid_eq(&c, &back));
        buf_done(&text);
    }
}

Test(cid, same_block)
{
    struct cid v1 = from_text("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"), v0, raw;
    cr_assert_eq(cid_from_hash(&v0, 0, CODEC_DAG_PB, cid_hash(&v1)), 0);
    cid_recode(&raw, &v0, CODEC_RAW);
    cr_assert(!cid_eq(&v0, &v1) && !cid_eq(&raw, &v1));
    cr_assert(cid_same_block(&v0, &v1) && cid_same_block(&raw, &v1));
    cr_assert_eq(cid_mix(&v0), cid_mix(&raw));
    cr_assert_eq(cid_codec(&raw), CODEC_RAW);
    cid_recode(&raw, &raw, CODEC_DAG_PB); /* in place */
    cr_assert(cid_eq(&raw, &v1));
    cr_assert_eq(cid_from_hash(&v0, 0, CODEC_RAW, cid_hash(&v1)), ERR_INVALID);
    cr_assert_eq(cid_from_hash(&v0, 2, CODEC_DAG_PB, cid_hash(&v1)), ERR_INVALID);
}

Test(cid, of_content)
{
    struct cid c;
    char text[CID_TEXT_SIZE];
    cid_of(&c, CODEC_RAW, span_str("hello world"));
    cr_assert_str_eq(cid_text(&c, text), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
    cid_of(&c, CODEC_RAW, SPAN_NONE);
    cr_assert_str_eq(cid_text(&c, text), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
    cr_assert_str_eq(cid_text(&(struct cid){0}, text), "-");
}

Test(cid, inline_content)
{
    struct cid c = from_text("bafkqabtimvwgy3yk");
    struct span s = SPAN_NONE;
    cr_assert(cid_inline(&c, &s));
    cr_assert(span_eq_str(s, "hello\n"));
    c = from_text("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
    cr_assert(!cid_inline(&c, &s));
    cr_assert(!cid_inline(&(struct cid){0}, &s));
}

static int read_one(const uint8_t *data, size_t len, struct cid *ret)
{
    return cid_read(span_of(data, len), ret);
}

Test(cid, every_truncation_and_trailing_bytes)
{
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct cid c = from_text(vectors[i].text[0]), back;
        uint8_t more[CID_MAX + 8] = {0};
        memcpy(more, c.bytes, c.len);
        cr_assert_eq(read_one(more, sizeof more, &back), c.len);
        cr_assert(cid_eq(&c, &back));
        cr_assert_eq(cid_parse(span_of(more, c.len + 1U), &back), ERR_INVALID);
        for (size_t n = 0; n < c.len; n++) {
            uint8_t *exact = mem_copy(more, n);
            cr_assert_eq(read_one(exact, n, &back), ERR_TRUNCATED, "%zu of %s", n, vectors[i].text[0]);
            free(exact);
        }
    }
}

Test(cid, refuses_bytes)
{
    static const struct {
        uint8_t bytes[12];
        size_t len;
    } bad[] = {
        {{2, 0x55, 0x12, 0x20}, 4},             /* version */
        {{0x12, 0x14}, 2},                      /* not a v0 */
        {{1, 0x55, 0x11, 19}, 4},               /* too short a digest */
        {{1, 0x55, 0x12, 0x81, 0x01}, 5},       /* 129 bytes */
        {{1, 0x55, 0x00, 0x81, 0x01}, 5},       /* identity of 129 bytes */
        {{1, 0x55, 0x22, 8}, 4},                /* murmur3 is no hash for content */
        {{1, 0xd5, 0x00, 0x12, 0x20}, 5},       /* padded codec */
        {{1, 0xff, 0xff, 0xff, 0xff, 0x01}, 6}, /* codec of five bytes */
        {{0}, 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct cid c;
        uint8_t *exact = mem_copy(bad[i].bytes, bad[i].len);
        cr_assert_eq(read_one(exact, bad[i].len, &c), ERR_INVALID, "case %zu", i);
        free(exact);
    }
}

Test(cid, longest)
{
    uint8_t hash[MULTIHASH_MAX] = {0x40 | 0x80, 0xe4, 0x02, 0x80, 0x01}; /* blake2b-512 with 128 bytes of digest */
    struct cid c, back;
    char text[CID_TEXT_SIZE];
    cr_assert_eq(cid_from_hash(&c, 1, 0x0fffffff, span_of(hash, 5 + 128)), 0);
    cr_assert_eq(cid_from_text(span_str(cid_text(&c, text)), &back, NULL), 0);
    cr_assert(cid_eq(&c, &back));
    cr_assert_eq(cid_codec(&back), 0x0fffffff);
    cr_assert_eq(cid_from_hash(&c, 1, 0x10000000, span_of(hash, 5 + 128)), ERR_INVALID);
    cr_assert_eq(cid_from_hash(&c, 1, CODEC_RAW, span_of(hash, 5 + 127)), ERR_INVALID);
}

Test(cid, refuses_texts_with_a_sentence)
{
    static const struct {
        const char *text, *sentence;
    } bad[] = {
        {"", "no base"},
        {"hello", "no base"},
        {"QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMn0", "its character 46, '0', is not of its base"},
        {"QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMn", "with Qm in front it has 46 characters, and this has 45"},
        {"Qm", "this has 2"},
        {"zQmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR", "no multibase prefix"},
        {"bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n", "cut short"},
        {"b", "holds nothing"},
        {"f02551220", "version is not 1"},
        {"bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e/a", "its character 60, '/', is not of its base"},
        {"bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n1e", "its character 58, '1', is not of its base"},
        {"bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5\n", "its character 59 is not of its base"},
        {"bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5ee", "cut short, or has a character too many"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct cid c = {.len = 77};
        struct why why = {""};
        cr_assert_eq(cid_from_text(span_str(bad[i].text), &c, &why), ERR_INVALID, "%s", bad[i].text);
        cr_assert(strstr(why.text, bad[i].sentence), "%s: %s", bad[i].text, why.text);
        cr_assert_eq(c.len, 77); /* written only on success */
    }
}
