/* SPDX-License-Identifier: MIT
 *
 * The names are those that the programs document, or that their sources make. A wrong "yes" only delays publication until a
 * rename, a wrong "no" announces a file that is about to vanish; both are harmless, so patterns that ordinary names may have
 * (`*.tmp`, `*.bak`) are weighed by which of the two is likelier. */
#include "store/tree/tempname.h"

/* '*': any run of bytes, also none; '?': one byte; 'X': one letter or digit of a random suffix; others: themselves. A run of Xs
 * must hold a capital or a digit, because `.bashrc.backup` is no name of rsync's. */
static const char *const patterns[] = {
    ".*.sw?",                /* vim: swap files */
    "4913",                  /* vim: can files be made here? */
    "*~",                    /* emacs, vim, gedit: backups that precede a rename */
    ".#*",                   /* emacs: locks */
    "#*#",                   /* emacs: auto-save */
    ".*.XXXXXX",             /* rsync */
    ".~tmp~",                /* rsync --delay-updates */
    "*.part",                /* Firefox, wget, KIO */
    "*.partial",             /* curl, Internet Explorer */
    "*.crdownload",          /* Chromium */
    "*.download",            /* Safari */
    "*.filepart",            /* WinSCP */
    "*.tmp",                 /* many; Syncthing's .syncthing.*.tmp */
    "*.kate-swp",            /* Kate */
    ".goutputstream-XXXXXX", /* GIO: atomic replace */
    ".~lock.*#",             /* LibreOffice */
    "~$*",                   /* Microsoft Office */
    "sedXXXXXX",             /* sed -i */
    ".fuse_hidden*",         /* libfuse's high-level API */
    ".nfs*",                 /* NFS: removed while open */
};

static bool is_capital_or_digit(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_alnum(uint8_t c)
{
    return is_capital_or_digit(c) || (c >= 'a' && c <= 'z');
}

static bool byte_matches(char p, uint8_t c)
{
    return p == '?' || (p == 'X' ? is_alnum(c) : (uint8_t)p == c);
}

/* The pattern has at most two stars: each takes as little as it can, going back to the last one. */
static bool matches(const char *pattern, struct span name)
{
    const char *star = NULL;
    size_t at = 0, star_at = 0;
    const char *p = pattern;
    while (at < name.len) {
        if (*p == '*') {
            star = ++p;
            star_at = at;
        } else if (*p && byte_matches(*p, name.data[at])) {
            p++;
            at++;
        } else if (star) {
            p = star;
            at = ++star_at;
        } else {
            return false;
        }
    }
    while (*p == '*')
        p++;
    return *p == '\0';
}

static bool random_suffix(const char *pattern, struct span name)
{
    size_t len = strlen(pattern), count = 0;
    while (count < len && pattern[len - 1 - count] == 'X')
        count++;
    bool found = count == 0;
    for (size_t i = 0; i < count && !found; i++)
        found = is_capital_or_digit(name.data[name.len - 1 - i]);
    return found;
}

bool tempname(struct span name)
{
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (matches(patterns[i], name) && random_suffix(patterns[i], name))
            return true;
    return false;
}
