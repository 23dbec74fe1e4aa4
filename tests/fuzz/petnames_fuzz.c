/* LINK: cmd_daemon */
/* SPDX-License-Identifier: MIT
 *
 * The file of petnames as the disk may give it back. What is accepted: each name leads to its peer. */
#include "cmd/daemon/petnames.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct petnames *p;
    struct why why;
    if (petnames_parse(&p, "petnames", span_of(data, size), &why) != 0)
        return 0;
    const char *name;
    struct peer_id id, found;
    for (unsigned i = 0; petname_at(p, i, &name, &id); i++)
        if (!petname_find(p, name, &found) || !*petname_of(p, &id))
            abort();
    petnames_free(p);
    return 0;
}
