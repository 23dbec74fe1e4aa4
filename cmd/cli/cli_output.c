/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_output.h"

#include "cmd/cli/cli_text.h"
#include "store/base/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_MAX 16
#define WIDTH_MAX   64 /* longer cells stand out of their column instead of pushing all others away */
#define INDENT      4  /* of the rest of a row that is too wide */
#define PROSE_LEAST 24 /* columns a last column of prose needs to be wrapped beside the others */

struct cli_table {
    struct cli *c;
    const struct cli_column *columns;
    unsigned count;
    size_t widths[COLUMNS_MAX];
    bool breaks[COLUMNS_MAX]; /* a row goes on in the next line with this column, because the terminal is too narrow */
    size_t prose_at;          /* where a last column of prose begins */
    struct buf *cells;        /* rows waiting × count */
    unsigned rows;
    bool header_done;
};

static void cell_number(struct buf *out, const struct cli_column *col, json_t *v, bool for_people)
{
    char text[CLI_TEXT_SIZE];
    char size[UNITS_TEXT_SIZE];
    if (col->kind == CLI_BYTES && for_people)
        buf_add_str(out, size_text((uint64_t)json_integer_value(v), size));
    else if (col->kind == CLI_SECONDS && for_people)
        buf_add_str(out, cli_text_seconds(json_number_value(v), text));
    else if (col->kind == CLI_SECONDS)
        buf_printf(out, "%.6g", json_number_value(v));
    else
        buf_printf(out, "%lld", (long long)json_integer_value(v));
}

/* Numbers and texts, between blanks */
static void cell_list(struct buf *out, json_t *list)
{
    json_t *v;
    size_t i;
    json_array_foreach(list, i, v)
    {
        buf_add_str(out, i ? " " : "");
        if (json_is_string(v))
            cli_text_escape(out, span_of(json_string_value(v), json_string_length(v)));
        else
            buf_printf(out, "%lld", (long long)json_integer_value(v));
    }
}

void cli_cell(struct buf *out, const struct cli_column *col, json_t *row, bool for_people)
{
    json_t *v = json_object_get(row, col->key);
    if (col->kind == CLI_YES && v)
        buf_add_str(out, json_is_true(v) ? "yes" : "-");
    else if (json_is_string(v) && json_string_length(v) > 0)
        cli_text_escape(out, span_of(json_string_value(v), json_string_length(v)));
    else if (json_is_number(v))
        cell_number(out, col, v, for_people);
    else if (json_is_boolean(v))
        buf_add_str(out, json_is_true(v) ? "yes" : "no");
    else if (json_array_size(v) > 0)
        cell_list(out, v);
    else
        buf_add_str(out, "-");
}

static void print_json(json_t *v)
{
    json_dumpf(v, stdout, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)) /* 0.1, not 0.10000000000000001 */;
    putchar('\n');
}

struct cli_table *cli_table_new(struct cli *c, const struct cli_column *columns)
{
    struct cli_table *t = MEM_NEW(struct cli_table);
    t->c = c;
    t->columns = columns;
    for (; columns[t->count].title && t->count < COLUMNS_MAX; t->count++)
        t->widths[t->count] = cli_text_width(span_str(columns[t->count].title));
    t->cells = mem_array((size_t)CLI_TABLE_ROWS * t->count, sizeof *t->cells);
    return t;
}

/* Columns of the terminal; very many when it does not tell. */
static size_t terminal(void)
{
    struct winsize w;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col : SIZE_MAX;
}

static bool right_aligned(enum cli_kind k)
{
    return k == CLI_BYTES || k == CLI_COUNT || k == CLI_SECONDS;
}

/* Words fill the lines from column `at` on. */
void cli_print_prose(const char *text, size_t at, size_t width)
{
    size_t room = width > at + 1 ? width - at : 1, used = 0;
    while (*text) {
        size_t n = strcspn(text, " \n"), wide = cli_text_width(span_of(text, n));
        if (used && used + 1 + wide > room) {
            printf("\n%*s", (int)at, "");
            used = 0;
        }
        printf("%s%.*s", used ? " " : "", (int)n, text);
        used += wide + (used > 0);
        text += n + strspn(text + n, " \n");
    }
}

static void print_padded(const struct cli_table *t, unsigned i, const char *text)
{
    size_t width = cli_text_width(span_str(text));
    size_t pad = width < t->widths[i] ? t->widths[i] - width : 0;
    bool last = i + 1 == t->count;
    if (i)
        printf("%s%*s", t->breaks[i] ? "\n" : "", t->breaks[i] ? INDENT : 2, "");
    if (right_aligned(t->columns[i].kind))
        printf("%*s%s", (int)pad, "", text);
    else if (t->columns[i].kind == CLI_PROSE && last)
        cli_print_prose(text, t->prose_at, terminal());
    else
        printf("%s%*s", text, last || t->breaks[i + 1] ? 0 : (int)pad, "");
    if (last)
        putchar('\n');
}

/* Where rows break: the same for all, so that columns stay columns. */
static void lay_out(struct cli_table *t)
{
    size_t at = 0, columns = terminal();
    for (unsigned i = 0; i < t->count; i++) {
        bool prose = t->columns[i].kind == CLI_PROSE && i + 1 == t->count;
        size_t width = prose && t->widths[i] > PROSE_LEAST ? PROSE_LEAST : t->widths[i];
        t->breaks[i] = i > 0 && at + width > columns;
        at = t->breaks[i] ? INDENT : at;
        t->prose_at = at;
        at += t->widths[i] + 2;
    }
}

static void print_header(struct cli_table *t)
{
    if (t->header_done || t->c->quiet)
        return;
    t->header_done = true;
    const char *no_color = getenv("NO_COLOR");
    bool bold = !(no_color && *no_color);
    fputs(bold ? "\033[1m" : "", stdout);
    for (unsigned i = 0; i < t->count; i++)
        print_padded(t, i, t->columns[i].title);
    fputs(bold ? "\033[0m" : "", stdout);
}

static void print_rows(struct cli_table *t)
{
    lay_out(t);
    print_header(t);
    for (unsigned r = 0; r < t->rows; r++)
        for (unsigned i = 0; i < t->count; i++) {
            struct buf *cell = &t->cells[r * t->count + i];
            print_padded(t, i, buf_cstr(cell));
            buf_clear(cell);
        }
    t->rows = 0;
}

static void row_aligned(struct cli_table *t, json_t *row)
{
    for (unsigned i = 0; i < t->count; i++) {
        struct buf *cell = &t->cells[t->rows * t->count + i];
        cli_cell(cell, &t->columns[i], row, true);
        size_t w = cli_text_width(buf_span(cell));
        if (w > t->widths[i] && (w <= WIDTH_MAX || i == 0))
            t->widths[i] = w;
    }
    if (++t->rows == CLI_TABLE_ROWS)
        print_rows(t);
}

void cli_table_row(struct cli_table *t, json_t *row)
{
    if (t->c->json) {
        print_json(row);
        return;
    }
    if (t->c->out_tty) {
        row_aligned(t, row);
        return;
    }
    struct buf line = BUF_INIT;
    for (unsigned i = 0; i < t->count; i++) {
        cli_cell(&line, &t->columns[i], row, false);
        buf_add_u8(&line, i + 1 == t->count ? '\n' : '\t');
    }
    fwrite(buf_cstr(&line), 1, buf_len(&line), stdout);
    buf_done(&line);
}

void cli_table_flush(struct cli_table *t)
{
    if (t->c->out_tty && !t->c->json)
        print_rows(t);
    fflush(stdout);
}

void cli_table_end(struct cli_table *take_t)
{
    struct cli_table *t = take_t;
    if (t->rows)
        print_rows(t);
    for (size_t i = 0; i < (size_t)CLI_TABLE_ROWS * t->count; i++)
        buf_done(&t->cells[i]);
    free(t->cells);
    free(t);
}

void cli_record(struct cli *c, const struct cli_column *columns, json_t *object)
{
    if (c->json) {
        print_json(object);
        return;
    }
    size_t width = 0;
    for (const struct cli_column *col = columns; col->title; col++)
        if (strlen(col->title) > width)
            width = strlen(col->title);
    for (const struct cli_column *col = columns; col->title; col++) {
        if (!json_object_get(object, col->key))
            continue;
        struct buf text = BUF_INIT;
        cli_cell(&text, col, object, c->out_tty);
        if (c->out_tty)
            printf("%-*s  %s\n", (int)width, col->title, buf_cstr(&text));
        else
            printf("%s\t%s\n", col->title, buf_cstr(&text));
        buf_done(&text);
    }
}
