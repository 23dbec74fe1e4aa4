/* SPDX-License-Identifier: MIT
 *
 * What the process takes of the machine's memory, and how malloc is told to take little.
 *
 * Private memory is what the kernel cannot take back: heap, stacks, our writable pages. Pages of files (the program, the maps
 * of the store) are not in it.
 */
#ifndef STORE_BASE_FOOTPRINT_H
#define STORE_BASE_FOOTPRINT_H

#include <stdint.h>

/* Once, before the first thread starts and before anything else here. One heap for all threads: blocks go from thread to
 * thread, and each heap of its own would keep the most that it ever had. Big pieces are maps of their own, which go back to the
 * kernel when they are freed. */
void footprint_tame(void);

uint64_t footprint_private(void); /* bytes, now; 0: it cannot be told. Any thread; takes a microsecond */

/* What is free in the middle of the heap goes back to the kernel, which a free() alone does not do. */
void footprint_trim(void);

#endif
