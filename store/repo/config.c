/* SPDX-License-Identifier: MIT */
#include "store/repo/config.h"

#include "store/base/err.h"
#include "store/base/units.h"
#include "store/repo/repo.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

const struct config_option config_options[CONFIG_COUNT] = {
#define X(id, name, type, initial, min, max, choices, help) [id] = {name, type, initial, min, max, choices, help},
    CONFIG_TABLE(X)
#undef X
};

struct value {
    uint64_t number; /* SIZE, DURATION, INT, BOOL; CHOICE: position */
    char *text;      /* TEXT */
    char **list;     /* LIST */
    unsigned list_count;
    bool set;
};

struct config {
    struct value values[CONFIG_COUNT];
};

/* ---- values ---- */

static void value_clear(struct value *v)
{
    free(v->text);
    for (unsigned i = 0; i < v->list_count; i++)
        free(v->list[i]);
    free(v->list);
    *v = (struct value){0};
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct span trim(struct span s)
{
    while (s.len > 0 && is_space(s.data[0]))
        s = span_from(s, 1);
    while (s.len > 0 && is_space(s.data[s.len - 1]))
        s.len--;
    return s;
}

/* The next word of *s (separators as told), which moves behind it; len 0: none left. */
static struct span next_word(struct span *s, bool commas)
{
    size_t from = 0, to;
    while (from < s->len && (is_space(s->data[from]) || (commas && s->data[from] == ',')))
        from++;
    for (to = from; to < s->len && !is_space(s->data[to]) && !(commas && s->data[to] == ','); to++)
        ;
    struct span word = span_sub(*s, from, to - from);
    *s = span_from(*s, to);
    return word;
}

/* Position of `word` in `choices`, or -1 */
static int choice_find(const char *choices, struct span word)
{
    struct span rest = span_str(choices), choice;
    for (int i = 0; (choice = next_word(&rest, false)).len > 0; i++)
        if (span_eq(choice, word))
            return i;
    return -1;
}

static void limit_text(const struct config_option *o, uint64_t limit, char text[UNITS_TEXT_SIZE])
{
    if (o->type == CONFIG_SIZE)
        (void)size_text_exact(limit, text);
    else if (o->type == CONFIG_DURATION)
        (void)duration_text(limit, text);
    else
        (void)snprintf(text, UNITS_TEXT_SIZE, "%llu", (unsigned long long)limit); /* fits: 20 digits */
}

static int check_limits(const struct config_option *o, uint64_t v, struct why *why)
{
    char low[UNITS_TEXT_SIZE], high[UNITS_TEXT_SIZE];
    if (v >= o->min && v <= o->max)
        return 0;
    limit_text(o, o->min, low);
    limit_text(o, o->max, high);
    return why_set(why, ERR_INVALID, "%s must be between %s and %s", o->name, low, high);
}

static int parse_number(const struct config_option *o, struct span in, struct value *v, struct why *why)
{
    static const char *const what[] = {
        [CONFIG_SIZE] = "a size such as 512K, 10G or none",
        [CONFIG_DURATION] = "a duration such as 10s or 1m30s",
        [CONFIG_INT] = "a number",
    };
    int r = ERR_INVALID;
    if (o->type == CONFIG_SIZE && o->choices && choice_find(o->choices, in) == 0) {
        v->number = CONFIG_AUTO;
        return 0;
    }
    if (o->type == CONFIG_SIZE) {
        r = size_parse(in, &v->number);
    } else if (o->type == CONFIG_DURATION) {
        r = duration_parse(in, &v->number);
    } else if (in.len > 0 && in.len < 20) {
        for (size_t i = 0; i < in.len; i++) {
            if (in.data[i] < '0' || in.data[i] > '9')
                return why_set(why, ERR_INVALID, "%s must be a number", o->name);
            v->number = v->number * 10 + (uint64_t)(in.data[i] - '0');
        }
        r = 0;
    }
    if (r)
        return why_set(why, ERR_INVALID, "%s must be %s%s", o->name, what[o->type],
                       o->type == CONFIG_SIZE && o->choices ? " or auto" : "");
    return check_limits(o, v->number, why);
}

static int parse_bool(const struct config_option *o, struct span in, struct value *v, struct why *why)
{
    int at = choice_find("no yes off on false true 0 1", in);
    if (at < 0)
        return why_set(why, ERR_INVALID, "%s must be yes or no", o->name);
    v->number = (unsigned)at % 2;
    return 0;
}

static int parse_choice(const struct config_option *o, struct span in, struct value *v, struct why *why)
{
    int at = choice_find(o->choices, in);
    if (at < 0)
        return why_set(why, ERR_INVALID, "%s must be one of: %s", o->name, o->choices);
    v->number = (unsigned)at;
    return 0;
}

static int parse_text(const struct config_option *o, struct span in, struct value *v, struct why *why)
{
    if (in.len < o->min || in.len > o->max)
        return why_set(why, ERR_INVALID, in.len < o->min ? "%s must not be empty" : "%s is too long", o->name);
    v->text = mem_strn(in);
    return 0;
}

/* Appends to what v has: a list may come in several lines. */
static int parse_list(const struct config_option *o, struct span in, struct value *v, struct why *why)
{
    struct span word;
    while ((word = next_word(&in, true)).len > 0) {
        if (v->list_count >= o->max)
            return why_set(why, ERR_INVALID, "%s has more than %llu entries", o->name, (unsigned long long)o->max);
        v->list = mem_grow(v->list, v->list_count + 1, sizeof(char *));
        v->list[v->list_count++] = mem_strn(word);
    }
    return 0;
}

static int value_parse(const struct config_option *o, struct span in, struct value *v, struct why *why)
{
    static int (*const parsers[])(const struct config_option *, struct span, struct value *, struct why *) = {
        [CONFIG_SIZE] = parse_number, [CONFIG_DURATION] = parse_number, [CONFIG_INT] = parse_number, [CONFIG_BOOL] = parse_bool,
        [CONFIG_TEXT] = parse_text,   [CONFIG_CHOICE] = parse_choice,   [CONFIG_LIST] = parse_list,
    };
    for (size_t i = 0; i < in.len; i++)
        if (in.data[i] < 0x20 && in.data[i] != '\t')
            return why_set(why, ERR_INVALID, "%s contains a control character", o->name);
    return parsers[o->type](o, in, v, why);
}

/* ---- lines ---- */

struct line {
    struct span key, value;
};

static bool key_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

/* 1: *ret is a key and its value; 0: empty or comment; ERR_INVALID with a sentence */
static int line_parse(struct span in, struct line *ret, struct why *why)
{
    for (size_t i = 0; i < in.len; i++)
        if (in.data[i] == '#' && (i == 0 || is_space(in.data[i - 1])))
            in.len = i;
    in = trim(in);
    if (in.len == 0)
        return 0;
    const uint8_t *equals = memchr(in.data, '=', in.len);
    if (!equals)
        return why_set(why, ERR_INVALID, "expected \"key = value\"");
    ret->key = trim(span_sub(in, 0, (size_t)(equals - in.data)));
    ret->value = trim(span_from(in, (size_t)(equals - in.data) + 1));
    for (size_t i = 0; i < ret->key.len; i++)
        if (!key_char(ret->key.data[i]))
            return why_set(why, ERR_INVALID, "a key consists of a-z, 0-9 and -");
    return ret->key.len > 0 ? 1 : why_set(why, ERR_INVALID, "there is no key before the =");
}

static int find_key(struct span key)
{
    for (int i = 0; i < CONFIG_COUNT; i++)
        if (span_eq_str(key, config_options[i].name))
            return i;
    return ERR_NOT_FOUND;
}

int config_find(const char *name)
{
    return find_key(span_str(name));
}

static struct span next_line(struct span *rest)
{
    const uint8_t *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
    size_t len = end ? (size_t)(end - rest->data) : rest->len;
    struct span line = span_sub(*rest, 0, len);
    *rest = span_from(*rest, len + (end != NULL));
    return line;
}

static int take_line(struct value fresh[CONFIG_COUNT], struct span in, struct why *why)
{
    struct line line;
    int r = line_parse(in, &line, why);
    if (r <= 0)
        return r;
    int id = find_key(line.key);
    if (id < 0)
        return why_set(why, ERR_INVALID, "unknown key \"%.*s\"", line.key.len > 40 ? 40 : (int)line.key.len,
                       (const char *)line.key.data);
    if (fresh[id].set && config_options[id].type != CONFIG_LIST)
        return why_set(why, ERR_INVALID, "%s is given twice", config_options[id].name);
    fresh[id].set = true;
    return value_parse(&config_options[id], line.value, &fresh[id], why);
}

static void take_over(struct config *c, struct value fresh[CONFIG_COUNT])
{
    for (int i = 0; i < CONFIG_COUNT; i++)
        if (fresh[i].set) {
            value_clear(&c->values[i]);
            c->values[i] = fresh[i];
        } else {
            value_clear(&fresh[i]);
        }
}

int config_parse(struct config *c, struct span text, const char *file_name, struct why *why)
{
    struct value fresh[CONFIG_COUNT] = {{0}};
    struct why inner = {""};
    int r = 0;
    unsigned number = 0;
    if (text.len > CONFIG_FILE_MAX)
        return why_set(why, ERR_TOO_BIG, "%s is larger than %u bytes", file_name, CONFIG_FILE_MAX);
    while (text.len > 0 && r == 0) {
        number++;
        r = take_line(fresh, next_line(&text), &inner);
    }
    if (r == 0) {
        take_over(c, fresh);
        return 0;
    }
    for (int i = 0; i < CONFIG_COUNT; i++)
        value_clear(&fresh[i]);
    return why_set(why, r, "%s:%u: %s", file_name, number, inner.text);
}

int config_load(struct config *c, const char *path, struct why *why)
{
    struct buf text = BUF_INIT;
    int r = repo_read_file(path, CONFIG_FILE_MAX, &text, why);
    if (r == 0)
        r = config_parse(c, buf_span(&text), path, why);
    else if (r == ERR_NOT_FOUND)
        r = 0;
    buf_done(&text);
    return r;
}

int config_override(struct config *c, const char *name, const char *value, struct why *why)
{
    struct value fresh = {.set = true};
    int id = config_find(name);
    if (id < 0)
        return why_set(why, ERR_NOT_FOUND, "unknown key \"%.40s\"", name);
    int r = value_parse(&config_options[id], trim(span_str(value)), &fresh, why);
    if (r) {
        value_clear(&fresh);
        return r;
    }
    value_clear(&c->values[id]);
    c->values[id] = fresh;
    return 0;
}

struct config *config_new(void)
{
    struct config *c = MEM_NEW(struct config);
    for (int i = 0; i < CONFIG_COUNT; i++) {
        int r = value_parse(&config_options[i], span_str(config_options[i].initial), &c->values[i], NULL);
        assert(r == 0); /* the table is ours */
        (void)r;
    }
    return c;
}

struct config *config_free(struct config *c)
{
    if (!c)
        return NULL;
    for (int i = 0; i < CONFIG_COUNT; i++)
        value_clear(&c->values[i]);
    free(c);
    return NULL;
}

/* ---- reading ---- */

uint64_t config_u64(const struct config *c, enum config_id id)
{
    assert(config_options[id].type <= CONFIG_INT);
    return c->values[id].number;
}

bool config_bool(const struct config *c, enum config_id id)
{
    assert(config_options[id].type == CONFIG_BOOL);
    return c->values[id].number != 0;
}

unsigned config_choice(const struct config *c, enum config_id id)
{
    assert(config_options[id].type == CONFIG_CHOICE);
    return (unsigned)c->values[id].number;
}

const char *config_text(const struct config *c, enum config_id id)
{
    assert(config_options[id].type == CONFIG_TEXT);
    return c->values[id].text;
}

unsigned config_list_count(const struct config *c, enum config_id id)
{
    assert(config_options[id].type == CONFIG_LIST);
    return c->values[id].list_count;
}

const char *config_list_at(const struct config *c, enum config_id id, unsigned i)
{
    assert(i < config_list_count(c, id));
    return c->values[id].list[i];
}

bool config_is_set(const struct config *c, enum config_id id)
{
    return c->values[id].set;
}

static void print_size(const struct value *v, struct buf *out)
{
    char text[UNITS_TEXT_SIZE];
    if (v->number == CONFIG_AUTO)
        buf_add_str(out, "auto");
    else
        buf_add_str(out, v->number ? size_text_exact(v->number, text) : "none");
}

void config_print(const struct config *c, enum config_id id, struct buf *out)
{
    const struct value *v = &c->values[id];
    const struct config_option *o = &config_options[id];
    char text[UNITS_TEXT_SIZE];
    switch (o->type) {
    case CONFIG_SIZE:
        print_size(v, out);
        break;
    case CONFIG_DURATION:
        buf_add_str(out, duration_text(v->number, text));
        break;
    case CONFIG_INT:
        buf_printf(out, "%llu", (unsigned long long)v->number);
        break;
    case CONFIG_BOOL:
        buf_add_str(out, v->number ? "yes" : "no");
        break;
    case CONFIG_TEXT:
        buf_add_str(out, v->text);
        break;
    case CONFIG_CHOICE: {
        struct span rest = span_str(o->choices), word = next_word(&rest, false);
        for (uint64_t i = 0; i < v->number; i++)
            word = next_word(&rest, false);
        buf_add_span(out, word);
        break;
    }
    case CONFIG_LIST:
        for (unsigned i = 0; i < v->list_count; i++)
            buf_printf(out, "%s%s", i ? " " : "", v->list[i]);
        break;
    }
}

/* ---- writing ---- */

static void add_setting(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s = %s\n", name, value);
}

/* The file with the key's first line replaced, further ones left out, or one appended; a comment behind the value stays. */
static void rewrite(struct buf *out, struct span text, const char *name, const char *value)
{
    bool placed = false;
    while (text.len > 0) {
        struct span line = next_line(&text);
        struct line parts;
        if (line_parse(line, &parts, NULL) != 1 || !span_eq_str(parts.key, name)) {
            buf_add_span(out, line);
            buf_add_u8(out, '\n');
            continue;
        }
        const uint8_t *after = parts.value.len ? parts.value.data + parts.value.len : line.data + line.len;
        struct span comment = trim(span_of(after, (size_t)(line.data + line.len - after)));
        if (value && !placed && comment.len > 0 && comment.data[0] == '#')
            buf_printf(out, "%s = %s  %.*s\n", name, value, (int)comment.len, (const char *)comment.data);
        else if (value && !placed)
            add_setting(out, name, value);
        placed = true;
    }
    if (value && !placed)
        add_setting(out, name, value);
}

static int make_folder_of(const char *path, struct why *why)
{
    char part[PATH_MAX];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        if ((size_t)(slash - path) >= sizeof part)
            return why_set(why, ERR_NAME_LONG, "the path %.60s… is too long", path);
        memcpy(part, path, (size_t)(slash - path));
        part[slash - path] = 0;
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return why_set(why, err_from_errno(errno), "cannot make the folder %s: %s", part, strerror(errno));
    }
    return 0;
}

int config_set(const char *path, const char *name, const char *value, struct why *why)
{
    struct buf before = BUF_INIT, after = BUF_INIT;
    struct config *c = config_new();
    struct stat st;
    int r = value ? config_override(c, name, value, why) : 0;
    if (!value && config_find(name) < 0)
        r = why_set(why, ERR_NOT_FOUND, "unknown key \"%.40s\"", name);
    if (r == 0 && value && (strchr(value, '#') || strchr(value, '\n')))
        r = why_set(why, ERR_INVALID, "%s must not contain # or a new line", name);
    if (r == 0)
        r = repo_read_file(path, CONFIG_FILE_MAX, &before, why);
    if (r == ERR_NOT_FOUND && config_find(name) >= 0)
        r = make_folder_of(path, why);
    if (r == 0) { /* what comes out is checked, so that a bad line can be mended this way */
        rewrite(&after, buf_span(&before), name, value);
        r = config_parse(c, buf_span(&after), path, why);
    }
    if (r == 0) {
        unsigned mode = stat(path, &st) == 0 ? st.st_mode & 0777 : 0600;
        r = repo_write_file(path, buf_span(&after).data ? buf_span(&after).data : (const uint8_t *)"", buf_len(&after), mode,
                            why);
    }
    buf_done(&before);
    buf_done(&after);
    config_free(c);
    return r;
}
