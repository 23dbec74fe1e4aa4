/* SPDX-License-Identifier: MIT
 *
 * The config file: `key = value` lines, `#` begins a comment (at the line's begin or after white space), lists are separated by
 * commas or spaces, or given as several lines. One table (CONFIG_TABLE in config_table.h) is the single source for parsing,
 * defaults, limits, `p2p config`, and the check of the man page. A value that was read is immutable; the owner thread may
 * load a new config and swap. Unknown keys and bad values are refused with a sentence that names file and line.
 */
#ifndef STORE_REPO_CONFIG_H
#define STORE_REPO_CONFIG_H

#include "store/base/mono.h"
#include "store/base/span.h"
#include "store/repo/config_table.h"

struct why;

enum config_type {
    CONFIG_SIZE,     /* bytes (units.h), or bytes a second; "auto" where the table allows it; "none" is 0 */
    CONFIG_DURATION, /* mono_ns */
    CONFIG_INT,
    CONFIG_BOOL,     /* yes no on off true false 1 0 */
    CONFIG_TEXT,
    CONFIG_CHOICE,   /* one of `choices` */
    CONFIG_LIST,
};

enum config_id {
#define X(id, ...) id,
    CONFIG_TABLE(X)
#undef X
    CONFIG_COUNT
};

struct config_option {
    const char *name;
    enum config_type type;
    const char *initial;  /* as it would stand in the file; lists: separated by spaces */
    uint64_t min, max;    /* of numbers, sizes, durations (ns); of lists: entries; of texts: bytes */
    const char *choices;  /* CONFIG_CHOICE: separated by spaces; CONFIG_SIZE: "auto" if that is allowed; else NULL */
    const char *help;     /* one line */
};
extern const struct config_option config_options[CONFIG_COUNT];

/* What "auto" gives */
#define CONFIG_AUTO UINT64_MAX
/* Larger files are refused. */
#define CONFIG_FILE_MAX (UINT32_C(256) << 10)

struct config;

struct config *config_new(void); /* all defaults */
struct config *config_free(struct config *c);
/* The file's values over what is there; a file that does not exist sets nothing. 0, ERR_INVALID or a file's error with a
 * sentence; on failure `c` is unchanged. */
int config_load(struct config *c, const char *path, struct why *why);
int config_parse(struct config *c, struct span text, const char *file_name, struct why *why);
/* One value, as the command line would give it (`p2p up -o key=value`); ERR_INVALID, ERR_NOT_FOUND (no such key). */
int config_override(struct config *c, const char *name, const char *value, struct why *why);

uint64_t    config_u64(const struct config *c, enum config_id id);  /* SIZE, DURATION, INT */
bool        config_bool(const struct config *c, enum config_id id);
const char *config_text(const struct config *c, enum config_id id); /* TEXT, CHOICE */
unsigned    config_choice(const struct config *c, enum config_id id); /* position in `choices` */
unsigned    config_list_count(const struct config *c, enum config_id id);
const char *config_list_at(const struct config *c, enum config_id id, unsigned i);
bool        config_is_set(const struct config *c, enum config_id id); /* by the file or an override */
/* The value as it would stand in the file, appended. */
void        config_print(const struct config *c, enum config_id id, struct buf *out);
int         config_find(const char *name); /* the id, or ERR_NOT_FOUND */

/* Rewrites one key's line(s) of the file, keeps everything else byte for byte, appends the key when it is not there; value NULL
 * removes it. Atomic. The value is checked, and the whole file as it would be. Makes the file and its folder (0700). */
int config_set(const char *path, const char *name, const char *value, struct why *why);

#endif
