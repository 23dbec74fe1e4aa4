/* LINK: store_repo store_base */
/* SPDX-License-Identifier: MIT
 *
 * The key file: whatever is taken must be whole, and encode to a file that is taken as the same key. */
#include "store/repo/identity.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct node_key id, again;
    struct why why = {""};
    uint8_t file[IDENTITY_FILE_SIZE];
    if (node_key_parse(span_of(data, size), &id, &why) != 0) {
        if (!why.text[0])
            abort();
        return 0;
    }
    node_key_encode(&id, file);
    if (node_key_parse(span_of(file, sizeof file), &again, &why) != 0 || memcmp(&id, &again, sizeof id) != 0)
        abort();
    return 0;
}
