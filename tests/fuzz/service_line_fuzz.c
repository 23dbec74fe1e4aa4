/* LINK: net_service */
/* SPDX-License-Identifier: MIT
 *
 * Commands about services, a line each. What parses prints to what parses to the same; the registry that they make saves to what
 * loads to the same. */
#include "net/service/service.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

static void one(struct services *s, struct span text)
{
    struct service_line l, again;
    struct buf printed = BUF_INIT, twice = BUF_INIT;
    struct why why = {""};
    if (service_line_parse(text, (struct service_names){0}, &l, &why) < 0) {
        must(why.text[0] != 0);
        return;
    }
    service_line_print(&l, &printed);
    if (buf_len(&printed) <= SERVICE_LINE_MAX) {
        must(service_line_parse(buf_span(&printed), (struct service_names){0}, &again, &why) == 0);
        service_line_print(&again, &twice);
        must(span_eq(buf_span(&printed), buf_span(&twice)));
        service_line_done(&again);
    }
    (void)services_apply(s, &l, NULL); /* refused: nothing changed */
    service_line_done(&l);
    buf_done(&printed);
    buf_done(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct services *s = services_new(), *t = services_new();
    struct buf saved = BUF_INIT, again = BUF_INIT;
    struct span rest = span_of(data, size);
    while (rest.len) {
        const uint8_t *nl = memchr(rest.data, '\n', rest.len);
        size_t len = nl ? (size_t)(nl - rest.data) : rest.len;
        one(s, span_sub(rest, 0, len));
        rest = span_from(rest, len + 1);
    }
    services_save(s, &saved);
    if (services_load(t, buf_span(&saved), NULL) == 0) { /* a line may have grown too long by its quotes */
        services_save(t, &again);
        must(span_eq(buf_span(&saved), buf_span(&again)));
    }
    buf_done(&saved);
    buf_done(&again);
    services_free(s);
    services_free(t);
    return 0;
}
