/* LINK: net_proto store_base */
/* SPDX-License-Identifier: MIT
 *
 * Identify messages: pieces do not matter, bounds hold, spans lie in what came, and what was read can be said again. The
 * first byte is the size of the pieces. */
#include "net/proto/identify.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run(struct span in, size_t step, struct identify_reader *r, struct identify *ret)
{
    identify_reader_init(r);
    for (size_t at = 0; at < in.len; at += step) {
        int err = identify_input(r, span_sub(in, at, step));
        if (err < 0)
            return err;
    }
    return identify_finish(r, ret);
}

static size_t touch(const struct identify *id)
{
    size_t sum = id->public_key.len + id->agent.len + id->version.len + id->observed.len + id->signed_record.len;
    assert(id->addr_count <= IDENTIFY_ADDRS_MAX && id->protocol_count <= IDENTIFY_PROTOCOLS_MAX);
    for (unsigned i = 0; i < id->addr_count; i++)
        sum += id->addrs[i].data[id->addrs[i].len - 1];
    for (unsigned i = 0; i < id->protocol_count; i++)
        sum += id->protocols[i].data[id->protocols[i].len - 1];
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct span in = span_of(data + 1, size - 1);
    struct identify_reader a, b;
    struct identify *x = mem_new(sizeof *x), *y = mem_new(sizeof *y);
    int err = run(in, in.len + 1, &a, x), again = run(in, (size_t)data[0] + 1, &b, y);
    assert((err == 0) == (again == 0));
    if (err == 0) {
        assert(touch(x) == touch(y));
        struct buf out = BUF_INIT;
        if (identify_build(x, &out) == 0)
            assert(buf_len(&out) > 0 && buf_len(&out) <= IDENTIFY_OUTPUT_MAX);
        buf_done(&out);
    }
    identify_reader_done(&a);
    identify_reader_done(&b);
    free(x);
    free(y);
    return 0;
}
