/* LINK: store_block store_codec store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * A file of LMDB's pages. What is sound gives all of its entries; whatever it is, both ways end and stay within it. */
#include "store/block/index_pages.h"

#include "store/base/err.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool right)
{
    if (!right)
        abort();
}

static int read_input(void *arg, uint64_t at, void *out, size_t len)
{
    const struct span *in = arg;
    check(at <= in->len && len <= in->len - at);
    memcpy(out, in->data + at, len);
    return 0;
}

static int tell(void *arg, struct span tree, struct span key, struct span value)
{
    uint64_t *sum = arg;
    check(key.len > 0 && key.len <= 511 && tree.len < 64);
    sum[0]++;
    for (size_t i = 0; i < value.len; i++) /* all of it can be read */
        sum[1] += value.data[i];
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of(data, size);
    struct index_source s = {.arg = &in, .size = size, .read = read_input};
    struct index_damage damage;
    struct index_saved saved;
    uint64_t sum[2] = {0};
    int sound = index_pages_check(&s, &damage), r = index_pages_save(&s, tell, sum, &saved);
    check(sound == 0 || (sound == ERR_CORRUPT && damage.what && damage.what[0]));
    check((r == 0 || r == ERR_CORRUPT) && saved.entries == sum[0]);
    check(sound || (r == 0 && saved.skipped == 0));
    return 0;
}
