/* SPDX-License-Identifier: MIT
 *
 * Making views: memory that hangs on the view. For engine_view*.c.
 */
#ifndef NET_ENGINE_ENGINE_VIEW_H
#define NET_ENGINE_ENGINE_VIEW_H

#include "net/engine/engine.h"

void *view_alloc(struct engine_view *v, size_t size);              /* not zeroed; of one thing: at most 16 KiB */
void *view_rows(struct engine_view *v, size_t count, size_t size); /* zeroed, one at least; NULL: no memory */
const char *view_text(struct engine_view *v, const char *text);    /* a copy */

#endif
