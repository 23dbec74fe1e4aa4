/* LINK: net_negotiate */
/* SPDX-License-Identifier: MIT
 *
 * Both roles of multistream-select: whatever the pieces, the outcome and the answers are the same. The first byte is the
 * size of the pieces, and its lowest bit the role. */
#include "net/negotiate/multistream.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const ids[] = {"/noise", "/ipfs/bitswap/1.2.0", "/x/*"};

struct outcome {
    int r;
    size_t left;
    struct buf out;
};

static void negotiate(bool dialer, struct span in, size_t step, struct outcome *ret)
{
    struct multistream m;
    struct multistream_table table = {ids, 3};
    *ret = (struct outcome){.out = BUF_INIT};
    if (dialer)
        multistream_init_dialer(&m, table);
    else
        multistream_init_listener(&m, table);
    (void)multistream_output(&m, &ret->out);
    for (size_t at = 0; at < in.len && ret->r == 0; at += step) {
        struct span part = span_sub(in, at, step);
        ret->r = multistream_input(&m, &part);
        (void)multistream_output(&m, &ret->out);
        ret->left = part.len + (in.len - at > step ? in.len - at - step : 0);
    }
    if (ret->r == 1 && multistream_find(table, multistream_id(&m)) != (int)multistream_index(&m))
        abort();
    multistream_done(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct outcome whole, pieces;
    struct span in = span_of(data + 1, size - 1);
    negotiate(data[0] & 1, in, in.len + 1, &whole);
    negotiate(data[0] & 1, in, 1 + data[0] / 2u, &pieces);
    if (whole.r != pieces.r || !span_eq(buf_span(&whole.out), buf_span(&pieces.out)))
        abort();
    if (whole.r == 1 && whole.left != pieces.left)
        abort();
    buf_done(&whole.out);
    buf_done(&pieces.out);
    return 0;
}
