/* SPDX-License-Identifier: MIT
 *
 * What keeps a record from telling of blocks that were refused. Puts and the record that tells of them go to the committer one
 * behind the other, without waiting for answers; a guard counts the puts that were refused for good, and the record's operation
 * asks it. Who puts tries the refused ones again; when all are stored, it says how many refusals are made good.
 *
 * References are counted (any thread); `refused` is written by the committer, `forgiven` by the owner.
 */
#ifndef STORE_BLOCK_GUARD_H
#define STORE_BLOCK_GUARD_H

#include <stdbool.h>
#include <stdint.h>

struct store_guard;

struct store_guard *store_guard_new(void);
struct store_guard *store_guard_ref(struct store_guard *g);   /* NULL accepted */
struct store_guard *store_guard_unref(struct store_guard *g); /* returns NULL; NULL accepted */

/* The owner: the blocks of the first `refusals` answers that were errors are all stored by now. */
void store_guard_forgive(struct store_guard *g, uint64_t refusals);
/* The owner: they will not be, because nobody is going to look at them. Records that tell of them need not wait, but must not
 * take them for stored either. */
void store_guard_give_up(struct store_guard *g);
bool store_guard_given_up(const struct store_guard *g); /* NULL: no */
/* Are these stored? Any thread; NULL: yes. */
bool store_guard_forgiven(const struct store_guard *g, uint64_t refusals);

/* The committer */
void store_guard_refuse(struct store_guard *g, int error);
uint64_t store_guard_refusals(const struct store_guard *g); /* so far; NULL: 0 */
int store_guard_check(const struct store_guard *g); /* 0; the error of a put that was refused and is not forgiven. NULL: 0 */

#endif
