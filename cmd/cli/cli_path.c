/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_path.h"

#include "cmd/cli/cli_output.h"
#include "store/content/cid.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Appends the components of `name` to the path in `out` ("" is the root), which has no trailing slash. */
static void walk(struct buf *out, const char *name)
{
    while (*name) {
        size_t n = strcspn(name, "/");
        if (n == 2 && name[0] == '.' && name[1] == '.') {
            struct span s = buf_span(out);
            size_t cut = s.len;
            while (cut && s.data[cut - 1] != '/')
                cut--;
            buf_truncate(out, cut ? cut - 1 : 0);
        } else if (n && !(n == 1 && name[0] == '.')) {
            buf_add_u8(out, '/');
            buf_add(out, name, n);
        }
        name += n;
        name += *name == '/';
    }
}

bool cli_path_below(const char *mount, const char *cwd, const char *name, struct buf *out)
{
    struct buf full = BUF_INIT, root = BUF_INIT;
    if (*name != '/')
        walk(&full, cwd);
    walk(&full, name);
    walk(&root, mount);
    size_t len = buf_len(&root);
    const char *text = buf_cstr(&full);
    bool below = len > 0 && strncmp(text, buf_cstr(&root), len) == 0 && (text[len] == '/' || text[len] == 0);
    if (below)
        buf_add_str(out, text[len] ? text + len + 1 : "");
    buf_done(&full);
    buf_done(&root);
    return below;
}

bool cli_path_is_name(const char *s)
{
    struct cid cid;
    struct why why;
    s += *s == '/';
    size_t n = strcspn(s, "/");
    if (n == 5 && memcmp(s, "share", n) == 0)
        return true;
    if (n == 4 && memcmp(s, "ipfs", n) == 0)
        return s[n] != 0;
    return cid_from_text(span_of(s, n), &cid, &why) == 0;
}

static bool looks_like_file(const char *s)
{
    static const char *const begins[] = {"./", "../", "/"};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (strncmp(s, begins[i], strlen(begins[i])) == 0)
            return true;
    return strcmp(s, ".") == 0 || strcmp(s, "..") == 0;
}

int cli_path_no_cid(struct cli *c, const char *operand)
{
    return cli_fail(c, ERR_INVALID, "p2p ls share", "'%s' has no CID: in the mount only what is below share/ and ipfs/ has one",
                    operand);
}

/* A file name; below the mount it becomes the node's name for it. */
static int from_file(struct api *a, const char *operand, const char *mount, char **ret)
{
    char cwd[PATH_MAX];
    struct buf below = BUF_INIT;
    int r = 0;
    if (*mount && getcwd(cwd, sizeof cwd) && cli_path_below(mount, cwd, operand, &below)) {
        if (cli_path_is_name(buf_cstr(&below)))
            *ret = mem_str(buf_cstr(&below));
        else
            r = cli_path_no_cid(a->c, operand);
    } else if (looks_like_file(operand)) {
        r = cli_fail(a->c, ERR_INVALID, "p2p ls share",
                     "'%s' is not below the mount%s%s; a path is a CID, /ipfs/<cid>/… or share/…", operand, *mount ? " " : "",
                     mount);
    } else {
        *ret = mem_str(operand); /* the node says what is wrong with it */
    }
    buf_done(&below);
    return r;
}

int cli_path(struct api *a, const char *operand, char **ret)
{
    if (!*operand || (*operand != '/' && cli_path_is_name(operand)) || strncmp(operand, "/ipfs/", 6) == 0) {
        *ret = mem_str(operand);
        return 0;
    }
    json_t *status = NULL;
    int r = api_json(a, "GET", "/v1/status", SPAN_NONE, &status);
    if (r == 0)
        r = from_file(a, operand, api_text(status, "mount"), ret);
    json_decref(status);
    return r;
}

void cli_path_free(char *path)
{
    free(path);
}

bool cli_path_is_special(const char *file)
{
    struct stat st;
    return stat(file, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}
