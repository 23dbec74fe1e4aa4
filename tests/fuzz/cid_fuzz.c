/* LINK: store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * CIDs, binary and text: what is accepted comes back the same. */
#include "store/content/cid.h"
#include "store/content/hasher.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check(const struct cid *c)
{
    struct cid back;
    struct span block;
    char text[CID_TEXT_SIZE];
    must(cid_parse(cid_span(c), &back) == 0 && cid_eq(c, &back));
    must(cid_from_text(span_str(cid_text(c, text)), &back, NULL) == 0 && cid_eq(c, &back));
    must(cid_from_hash(&back, cid_version(c), cid_codec(c), cid_hash(c)) == 0 && cid_eq(c, &back));
    must(memcmp(c, &back, sizeof back) == 0);
    cid_recode(&back, c, CODEC_RAW);
    must(cid_same_block(c, &back) && cid_mix(c) == cid_mix(&back));
    if (cid_inline(c, &block))
        must(hash_verify(c, block) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cid c;
    struct why why;
    int n = cid_read(span_of(data, size), &c);
    if (n > 0) {
        must((size_t)n == c.len);
        check(&c);
        (void)hash_verify(&c, span_of(data, size)); /* whatever it says */
    }
    if (cid_from_text(span_of(data, size), &c, &why) == 0)
        check(&c);
    return 0;
}
