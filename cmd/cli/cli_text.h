/* SPDX-License-Identifier: MIT
 *
 * Times for a person, names for a terminal and names for a URL. Names come from peers: an escape sequence in one must not
 * reach a terminal. Sizes are store/base/units.h. Pure.
 */
#ifndef CMD_CLI_CLI_TEXT_H
#define CMD_CLI_CLI_TEXT_H

#include "store/base/span.h"

#define CLI_TEXT_SIZE 32

char *cli_text_seconds(double s, char out[CLI_TEXT_SIZE]); /* "350 ms", "4.2 s", "3 min 20 s", "2 h 5 min"; returns out */
/* Appends `text` with control characters, DEL, backslash and bytes that are not UTF-8 as \n, \t, \\, \xNN. */
void cli_text_escape(struct buf *out, struct span text);
/* Columns on a terminal: wide characters (CJK, emoji) take two, combining ones none. */
size_t cli_text_width(struct span text);
/* How many bytes at the front take at most `columns`; whole characters only. */
size_t cli_text_prefix(struct span text, size_t columns);
/* Appends `name` and `rest` in at most `columns`: first the name loses its beginning, down to CLI_TEXT_NAME columns (the end
 * of a path tells more), then the rest its end. */
void cli_text_fit(struct buf *out, struct span name, struct span rest, size_t columns);
#define CLI_TEXT_NAME 12
/* Percent-encodes everything but unreserved characters and '/': for request targets. Appends. */
void cli_text_url(struct buf *out, const char *text);

#endif
