/* LINK: store_codec store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * CAR files in pieces of any size: the events do not depend on the pieces. First byte: the size of a piece. */
#include "store/codec/car.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct summary {
    int end;
    unsigned events;
    uint64_t mix;
};

static int drain(struct car_reader *r, struct summary *s)
{
    struct car_event ev;
    int n;
    while ((n = car_reader_next(r, &ev)) == 1) {
        s->events++;
        s->mix = s->mix * 31 + ev.type + ev.data.len + ev.root_count;
        for (size_t i = 0; i < ev.data.len; i++)
            s->mix = s->mix * 31 + ev.data.data[i];
        if (ev.type == CAR_BLOCK)
            s->mix ^= cid_mix(&ev.cid);
    }
    return n;
}

static struct summary read_all(struct span file, size_t step)
{
    struct car_reader *r = car_reader_new();
    struct summary s = {0};
    for (size_t at = 0; at < file.len && s.end == 0; at += step) {
        (void)car_reader_input(r, span_sub(file, at, step));
        s.end = drain(r, &s);
    }
    car_reader_eof(r);
    if (s.end == 0)
        s.end = drain(r, &s);
    car_reader_free(r);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct span file = span_of(data + 1, size - 1);
    struct summary a = read_all(file, 1 + data[0]), b = read_all(file, size);
    if (a.end != b.end || a.events != b.events || a.mix != b.mix)
        abort();
    return 0;
}
