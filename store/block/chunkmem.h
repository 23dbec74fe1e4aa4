/* SPDX-License-Identifier: MIT
 *
 * Memory for blocks of one chunk, in halves of huge pages: what goes past the page cache (segment.h) is told to the disk page
 * by page of memory, and a chunk in 256 pieces takes twice as long as a chunk in one. Where the kernel has no huge page to give
 * it is memory like any other.
 *
 * Halves that were given up are kept for the next ones, since pages that are new cost more than hashing what comes into them;
 * not for long (chunkmem_trim). Any thread, no lock.
 */
#ifndef STORE_BLOCK_CHUNKMEM_H
#define STORE_BLOCK_CHUNKMEM_H

#include <stdbool.h>
#include <stdint.h>

#define CHUNKMEM_SIZE (UINT32_C(1) << 20)

struct chunkmem {
    uint8_t *data; /* CHUNKMEM_SIZE bytes, aligned to that */
    struct huge_page *page;
};

struct chunkmem *chunkmem_take(void); /* NULL: the machine has no memory */
/* `most`: no more than so many are kept */
void chunkmem_give(struct chunkmem *take_c, unsigned most);
void chunkmem_trim(void); /* gives back what is kept */

#endif
