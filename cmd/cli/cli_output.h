/* SPDX-License-Identifier: MIT
 *
 * Answers. Rows are JSON objects, as the control socket gives them; a table of columns says what a person sees of them.
 *
 *   --json              each object as it is, one a line
 *   on a terminal       columns aligned under a header, sizes and times for people; rows that are too wide go on, indented
 *   otherwise           the same columns, tab-separated, without a header; sizes in bytes, times in seconds
 *
 * Rows for a terminal are kept until CLI_TABLE_ROWS are there, so that columns fit; after that widths stay. Memory is bounded.
 */
#ifndef CMD_CLI_CLI_OUTPUT_H
#define CMD_CLI_CLI_OUTPUT_H

#include "cmd/cli/cli.h"

#include <jansson.h>

enum cli_kind {
    CLI_TEXT,    /* string, escaped */
    CLI_PROSE,   /* the same; as the last column it is wrapped at words on a terminal */
    CLI_BYTES,   /* integer */
    CLI_COUNT,   /* integer */
    CLI_SECONDS, /* number */
    CLI_YES,     /* boolean: "yes" or "-" */
};

struct cli_column {
    const char *title;
    const char *key;
    enum cli_kind kind;
};

struct cli_table;
#define CLI_TABLE_ROWS 512

/* `columns` ends with a NULL title and must live as long. */
struct cli_table *cli_table_new(struct cli *c, const struct cli_column *columns);
void cli_table_row(struct cli_table *t, json_t *row); /* borrowed */
/* Shows the rows that wait: for lists that take their time. A terminal gets the header of a list without rows as well. */
void cli_table_flush(struct cli_table *t);
void cli_table_end(struct cli_table *take_t);

/* Text at column `at`, wrapped at words before column `width`. Lines of its own are joined; no newline at the end. */
void cli_print_prose(const char *text, size_t at, size_t width);
/* One object: `key  value` lines (tab-separated when piped), or the object. Keys that are missing are left out. */
void cli_record(struct cli *c, const struct cli_column *columns, json_t *object);
/* One value of a row as text. */
void cli_cell(struct buf *out, const struct cli_column *col, json_t *row, bool for_people);

#endif
