/* SPDX-License-Identifier: MIT
 *
 * Multibase (github.com/multiformats/multibase): one prefix character, then the text. Bases that CIDs and keys use:
 * base32 lower and upper (b, B), base36 lower and upper (k, K), base58btc (z), hex lower and upper (f, F), base64url and
 * base64 without padding (u, m). Decoding is strict: unused bits must be zero, other characters are refused.
 */
#ifndef STORE_CONTENT_MULTIBASE_H
#define STORE_CONTENT_MULTIBASE_H

#include "store/base/span.h"

/* Longer texts are refused: base36 and base58 cost the square of the length. */
#define MULTIBASE_TEXT_MAX 1024

/* Appends prefix and text. `base` is a prefix character of the list above; others assert. */
void multibase_encode(struct buf *out, char base, struct span data);
void base58btc_encode(struct buf *out, struct span data); /* no prefix */

/* Append the decoded bytes; 0, or ERR_INVALID (unknown prefix, foreign character, too long) with `out` unchanged. */
int multibase_decode(struct buf *out, struct span text);
int base58btc_decode(struct buf *out, struct span text);

/* Where the first character stands that `base` (a prefix) does not have; text.len: nowhere, or `base` is not in the list. */
bool multibase_has(char base);
size_t multibase_foreign(char base, struct span text);

#endif
