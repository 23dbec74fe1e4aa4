/* LINK: store_repo store_base */
/* SPDX-License-Identifier: MIT
 *
 * The config parser: what it takes must print back to the same values; what it refuses changes nothing and is named. */
#include "store/base/err.h"
#include "store/repo/config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print_all(const struct config *c, struct buf *out)
{
    for (int i = 0; i < CONFIG_COUNT; i++) {
        buf_printf(out, "%s = ", config_options[i].name);
        config_print(c, i, out);
        buf_add_u8(out, '\n');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *c = config_new(), *again = config_new();
    struct why why = {""};
    struct buf first = BUF_INIT, second = BUF_INIT;
    int r = config_parse(c, span_of(data, size), "fuzz", &why);
    if (r != 0 && strncmp(why.text, "fuzz", 4) != 0)
        abort();
    print_all(c, &first);
    if (memchr(first.base, '#', buf_len(&first)) == NULL) { /* a # inside a word may begin a comment once it stands alone */
        if (config_parse(again, buf_span(&first), "again", &why) != 0)
            abort();
        print_all(again, &second);
        if (!span_eq(buf_span(&first), buf_span(&second)))
            abort();
    }
    buf_done(&first);
    buf_done(&second);
    config_free(c);
    config_free(again);
    return 0;
}
