/* SPDX-License-Identifier: MIT
 *
 * Inside the mount the node knows the CID; anywhere else it is computed here, and no node is needed. */
#include "cmd/cli/cid_local.h"
#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_path.h"
#include "cmd/subs.h"
#include "store/repo/repo.h"

#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

static const struct cli_option options[] = {
    {"profile", 0, "NAME", "unixfs-v1-2025 (what we use) or unixfs-v0-2015, to compare with others"},
    {"base", 'b', "LETTER", "multibase of the text: b, B, k, z, f, F, u or m"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {
    {"cid", "cid", CLI_TEXT}, {"size", "size", CLI_BYTES}, {"file", "file", CLI_TEXT}, {NULL, NULL, CLI_TEXT}};

static bool on_fuse(const char *path)
{
    struct statfs s;
    return statfs(path, &s) == 0 && s.f_type == FUSE_SUPER_MAGIC;
}

/* share/… means the same wherever one stands, as it does for the other commands */
static bool is_share(const char *path)
{
    return strncmp(path, "share", 5) == 0 && (path[5] == 0 || path[5] == '/');
}

/* 1: the node said it; 0: not a path of its mount; < 0: an error that was said */
static int ask_node(struct cli *c, const char *path, struct cid *ret)
{
    char socket_path[PATH_MAX], cwd[PATH_MAX];
    struct http_client *h = NULL;
    struct why why = {""};
    if (api_socket_path("control", socket_path, &why) < 0 || http_client_open(&h, socket_path) < 0)
        return 0;
    struct api a = {.c = c, .http = h};
    json_t *status = NULL, *answer = NULL;
    struct buf below = BUF_INIT, target = BUF_INIT;
    int r = api_json(&a, "GET", "/v1/status", SPAN_NONE, &status);
    const char *mount = r == 0 ? api_text(status, "mount") : "";
    bool ours = r == 0 && *mount && getcwd(cwd, sizeof cwd) && cli_path_below(mount, cwd, path, &below);
    const char *name = ours ? buf_cstr(&below) : path;
    ours = ours || is_share(path);
    if (r == 0 && ours && !cli_path_is_name(name))
        r = cli_path_no_cid(c, path);
    if (r == 0 && ours) {
        api_target(&target, "/v1/cid", (struct api_param[]){{"path", name}}, 1);
        r = api_json(&a, "GET", buf_cstr(&target), SPAN_NONE, &answer);
    }
    if (r == 0 && ours)
        r = cid_from_text(span_str(api_text(answer, "cid")), ret, &why) < 0 ? ERR_PROTOCOL : 1;
    json_decref(status);
    json_decref(answer);
    buf_done(&below);
    buf_done(&target);
    http_client_close(h);
    return r;
}

/* 1: the mount said it; 0: it has no such attribute */
static int ask_mount(const char *path, struct cid *ret)
{
    char text[CID_TEXT_SIZE];
    struct why why;
    ssize_t n = lgetxattr(path, "user.p2p.cid", text, sizeof text);
    return n > 0 && cid_from_text(span_of(text, (size_t)n), ret, &why) == 0;
}

static int compute(struct cli *c, const char *path, struct unixfs_root *ret)
{
    const char *name = cli_value(c, "profile");
    const struct layout_profile *profile = name ? layout_profile_find(span_str(name)) : &layout_v1_2025;
    if (!profile)
        return cli_fail(c, ERR_USAGE, "p2p cid --help", "there is no profile '%s'", name);
    struct why why = {""};
    struct stat st;
    struct progress p;
    progress_begin(&p, c, path, stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0);
    int r = cid_local(path, profile, &p, ret, &why);
    progress_end(&p);
    if (r < 0 && r != ERR_INTERRUPTED)
        cli_fail(c, r, NULL, "%s", why.text[0] ? why.text : err_text(r));
    return r;
}

#define SIZE_UNTOLD UINT64_MAX /* of a folder of the mount: what lies below may not be here */

static int find(struct cli *c, const char *path, struct unixfs_root *ret)
{
    int r = 0;
    struct stat st;
    *ret = (struct unixfs_root){.size = 0};
    bool named = is_share(path) && lstat(path, &st) < 0;
    if (named)
        ret->size = SIZE_UNTOLD;
    if (!cli_has(c, "profile") && (named || on_fuse(path))) {
        r = ask_node(c, path, &ret->cid);
        if (r == 0)
            r = ask_mount(path, &ret->cid);
        if (r > 0 && stat(path, &st) == 0)
            ret->size = S_ISDIR(st.st_mode) ? SIZE_UNTOLD : (uint64_t)st.st_size;
    }
    return r == 0 ? compute(c, path, ret) : r;
}

static int print(struct cli *c, const char *path)
{
    struct unixfs_root root;
    int r = find(c, path, &root);
    if (r < 0)
        return r;
    const char *base = cli_value(c, "base");
    struct buf text = BUF_INIT;
    cid_text_base(&root.cid, base ? base[0] : 'b', &text);
    json_t *row = json_pack("{ss ss}", "cid", buf_cstr(&text), "file", path);
    if (!row) /* a name that is not UTF-8 */
        row = json_pack("{ss}", "cid", buf_cstr(&text));
    if (root.size != SIZE_UNTOLD)
        json_object_set_new(row, "size", json_integer((json_int_t)root.size));
    struct cli_table *t = cli_table_new(c, columns);
    cli_table_row(t, row);
    cli_table_end(t);
    json_decref(row);
    buf_done(&text);
    return 0;
}

static int run(struct cli *c)
{
    const char *base = cli_value(c, "base");
    if (base && (strlen(base) != 1 || !strchr("bBkKzfFum", *base)))
        return cli_fail(c, ERR_USAGE, "p2p cid --help", "--base: there is no multibase '%s'", base);
    bool quiet = c->quiet;
    c->quiet = true; /* no header: the first word is the CID */
    cli_catch_interrupts();
    unsigned failed = 0;
    int r = 0;
    for (unsigned i = 0; i < c->count && r != ERR_INTERRUPTED; i++) {
        int one = print(c, c->operands[i]);
        failed += one < 0;
        r = one < 0 ? one : r;
    }
    c->quiet = quiet;
    return failed && failed < c->count && r != ERR_INTERRUPTED ? ERR_PARTIAL : r;
}

const struct cli_command sub_cid = {
    .name = "cid",
    .operands = "FILE…",
    .summary = "the CID of a file or folder, here or in the mount",
    .details = "Prints CID, bytes and name. FILE - is stdin. Outside the mount nothing is stored and no node is needed.",
    .options = options,
    .least = 1,
    .most = CLI_ANY,
    .run = run,
};
