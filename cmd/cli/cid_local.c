/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cid_local.h"

#include "store/unixfs/dir_builder.h"
#include "store/unixfs/importer.h"

#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_SIZE (UINT32_C(1) << 20)

struct level {
    struct unixfs_dir_builder *dir;
    uint64_t size; /* bytes of the files below */
};

struct walk {
    const struct layout_profile *profile;
    struct progress *progress;
    struct why *why;
    struct level *levels; /* open folders, the outermost first */
    size_t count, cap;
    uint8_t *space;
    struct unixfs_root root; /* of the node that ended last */
};

static int say(struct walk *w, const char *path, int number)
{
    int err = err_from_errno(number);
    return why_set(w->why, err, "cannot read '%s': %s", path, strerror(number));
}

static int read_file(struct walk *w, const char *path, int fd, struct importer *im)
{
    for (;;) {
        if (cli_interrupted())
            return ERR_INTERRUPTED;
        ssize_t n = read(fd, w->space, READ_SIZE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return say(w, path, errno);
        if (n == 0)
            return 0;
        int took = importer_write(im, span_of(w->space, (size_t)n));
        if (took != n)
            return took < 0 ? took : ERR_FAILED;
        if (w->progress)
            progress_add(w->progress, (uint64_t)n);
    }
}

static int content_cid(struct walk *w, const char *path, int fd)
{
    struct importer *im = importer_new(&(struct importer_options){.profile = w->profile});
    int r = read_file(w, path, fd, im);
    if (r == 0)
        r = importer_finish(im, &w->root);
    importer_free(im);
    return r;
}

static int file_cid(struct walk *w, const FTSENT *e)
{
    const char *path = e->fts_accpath;
    int below = e->fts_level > FTS_ROOTLEVEL ? O_NOFOLLOW : 0; /* a symlink that is named itself is followed, as by cp */
    int fd = open(path, O_RDONLY | O_CLOEXEC | below);
    if (fd < 0)
        return say(w, path, errno);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint */
    int r = content_cid(w, path, fd);
    close(fd);
    return r;
}

static int link_cid(struct walk *w, const char *path)
{
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof target);
    if (n < 0)
        return say(w, path, errno);
    struct buf block = BUF_INIT;
    unixfs_add_symlink(&block, span_of(target, (size_t)n), NULL);
    w->root = (struct unixfs_root){.size = (uint64_t)n, .tsize = buf_len(&block)};
    cid_of(&w->root.cid, CODEC_DAG_PB, buf_span(&block));
    buf_done(&block);
    return 0;
}

static void open_dir(struct walk *w)
{
    if (w->count == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 16;
        w->levels = mem_grow(w->levels, w->cap, sizeof *w->levels);
    }
    w->levels[w->count++] = (struct level){.dir = unixfs_dir_builder_new(&(struct unixfs_dir_options){.sink = NULL})};
}

static int close_dir(struct walk *w)
{
    struct level *l = &w->levels[--w->count];
    w->root = (struct unixfs_root){.size = l->size};
    int r = unixfs_dir_builder_finish(l->dir, &w->root.cid, &w->root.tsize);
    unixfs_dir_builder_free(l->dir);
    return r;
}

/* The node that just ended becomes an entry of the open folder. */
static int add_to_parent(struct walk *w, const FTSENT *e)
{
    if (w->count == 0)
        return 0;
    struct level *l = &w->levels[w->count - 1];
    l->size += w->root.size;
    return unixfs_dir_builder_add(l->dir, span_of(e->fts_name, e->fts_namelen), &w->root.cid, w->root.tsize);
}

static int one(struct walk *w, const FTSENT *e)
{
    int r = 0;
    switch (e->fts_info) {
    case FTS_D:
        open_dir(w);
        return 0;
    case FTS_DP:
        r = close_dir(w);
        break;
    case FTS_F:
        r = file_cid(w, e);
        break;
    case FTS_SL:
    case FTS_SLNONE:
        r = link_cid(w, e->fts_accpath);
        break;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return say(w, e->fts_path, e->fts_errno);
    default:
        return why_set(w->why, ERR_UNSUPPORTED, "'%s' is neither a file nor a folder nor a symlink", e->fts_path);
    }
    return r < 0 ? r : add_to_parent(w, e);
}

static int walk_cid(struct walk *w, const char *path)
{
    char *const roots[] = {(char *)(uintptr_t)path, NULL}; /* fts_open does not write to it */
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL);
    if (!fts)
        return say(w, path, errno);
    int r = 0;
    FTSENT *e;
    errno = 0;
    while (r == 0 && (e = fts_read(fts)))
        r = cli_interrupted() ? ERR_INTERRUPTED : one(w, e);
    if (r == 0 && errno)
        r = say(w, path, errno);
    while (w->count)
        unixfs_dir_builder_free(w->levels[--w->count].dir);
    fts_close(fts);
    free(w->levels);
    return r;
}

int cid_local(const char *path, const struct layout_profile *profile, struct progress *p, struct unixfs_root *ret,
              struct why *why)
{
    struct walk w = {.profile = profile, .progress = p, .why = why};
    w.space = mem_new(READ_SIZE);
    int r = strcmp(path, "-") == 0 ? content_cid(&w, "stdin", STDIN_FILENO) : walk_cid(&w, path);
    free(w.space);
    if (r == 0)
        *ret = w.root;
    return r;
}
