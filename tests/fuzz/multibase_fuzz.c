/* LINK: store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * Multibase: a text that decodes encodes to itself (but for case), bytes come back from every base. */
#include "store/content/multibase.h"

#include <stdlib.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf bytes = BUF_INIT, text = BUF_INIT;
    if (multibase_decode(&bytes, span_of(data, size)) == 0) {
        multibase_encode(&text, (char)data[0], buf_span(&bytes));
        must(buf_len(&text) == size && strncasecmp(buf_cstr(&text), (const char *)data, size) == 0);
    }
    for (const char *base = "bBkKzfFum"; *base && size <= 256; base++) {
        buf_clear(&text);
        buf_clear(&bytes);
        multibase_encode(&text, *base, span_of(data, size));
        must(multibase_decode(&bytes, buf_span(&text)) == 0 && span_eq(buf_span(&bytes), span_of(data, size)));
    }
    buf_done(&bytes);
    buf_done(&text);
    return 0;
}
