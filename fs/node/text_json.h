/* SPDX-License-Identifier: MIT
 *
 * The JSON twin of a text file, made from its text:
 *   a first line "# a TAB b"   an array of objects with these keys, one for each line
 *   lines "key TAB value"      one object; a key that comes again makes an array of its values; a line without TAB is the
 *                              value of "text"
 * Values that are decimal numbers stay numbers. Bytes that are no UTF-8 become U+FFFD.
 */
#ifndef FS_NODE_TEXT_JSON_H
#define FS_NODE_TEXT_JSON_H

#include "store/base/span.h"

void text_to_json(struct span text, struct buf *out);

#endif
