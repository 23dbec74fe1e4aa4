/* SPDX-License-Identifier: MIT
 *
 * /v1/add: files and folders arrive depth first in an upload (p2p-control(7)):
 *
 *   file?name=N[&end=1]  data[&end=1] …      the file's bytes in pieces; `end` with the last
 *   dir?name=N   …entries…   up              a folder around what comes between
 *   link?name=N&target=T                     a symlink
 *   finish?[pin=1][&name=TEXT]               keeps the outermost node; answers when it is on disk
 *
 * The entries of an open folder go to an unnamed temporary file, because a folder of a million entries is built in several
 * passes over them (dir_builder.h); so memory does not grow with folders or files. */
#include "cmd/daemon/api.h"
#include "cmd/daemon/upload.h"

#include "store/block/pin.h"
#include "store/unixfs/dir_builder.h"
#include "store/unixfs/importer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DIR_MEMORY (UINT32_C(4) << 20)
#define DEPTH_MAX  256

struct open_dir {
    FILE *entries;
    uint64_t size;
    size_t held; /* how many holds there were when it began */
    char name[UNIXFS_NAME_MAX + 1];
};

struct add {
    struct upload upload;
    struct importer *importer; /* of the file that is open */
    size_t file_held;
    char file_name[UNIXFS_NAME_MAX + 1];
    struct open_dir *dirs;
    size_t depth;
    struct unixfs_root root; /* of what was closed last */
    bool has_root;
};

struct add_op {
    struct task task;
    struct add *add;
    int (*run)(struct add_op *op);
    struct buf body;
    bool last, begun, fed;
    struct unixfs_dir_builder *builder;
};

static void add_free(struct upload *s)
{
    struct add *a = (struct add *)s;
    importer_free(a->importer);
    while (a->depth)
        fclose(a->dirs[--a->depth].entries);
    free(a->dirs);
    free(a);
}

static const struct upload_kind kind = {.memory = UINT32_C(1) << 20, .free = add_free}; /* a chunk */

void api_add_new(struct ctl_request *q)
{
    struct add *a = MEM_NEW(struct add);
    upload_start(&a->upload, q, &kind);
}

/* ---- operations: run again until they do not say ERR_AGAIN ---- */

static void op_done(struct task *t)
{
    struct add_op *op = (struct add_op *)t;
    struct upload *s = &op->add->upload;
    unixfs_dir_builder_free(op->builder);
    buf_done(&op->body);
    s->task = NULL;
    s->busy = false;
    s->used = mono_now();
    free(op);
}

struct record {
    uint16_t name_len;
    uint8_t cid_len;
    uint64_t tsize;
};

static int write_record(struct open_dir *d, const char *name, const struct unixfs_root *root)
{
    struct record rec = {.name_len = (uint16_t)strlen(name), .cid_len = root->cid.len, .tsize = root->tsize};
    bool good = fwrite(&rec, sizeof rec, 1, d->entries) == 1 && fwrite(name, rec.name_len, 1, d->entries) == 1 &&
                fwrite(root->cid.bytes, rec.cid_len, 1, d->entries) == 1;
    d->size += root->size;
    return good ? 0 : err_from_errno(errno);
}

/* A node is complete: what it was made of is held by its root from now on, and it becomes an entry of the open folder. */
static int close_node(struct add_op *op, size_t held, const char *name)
{
    struct add *a = op->add;
    blockstore_hold(a->upload.d->store, &a->root.cid);
    upload_unhold_to(&a->upload, held);
    upload_hold(&a->upload, &a->root.cid);
    blockstore_unhold(a->upload.d->store, &a->root.cid);
    a->has_root = true;
    int r = a->depth ? write_record(&a->dirs[a->depth - 1], name, &a->root) : 0;
    if (r < 0)
        return why_set(&op->task.why, r, "cannot keep the entries of a folder: %s", err_text(r));
    char cid[CID_TEXT_SIZE];
    ctl_json(op->task.q, json_pack("{ss sI}", "cid", cid_text(&a->root.cid, cid), "size", (json_int_t)a->root.size));
    return TASK_ANSWERED;
}

/* Copies and checks the parameter `name`; the outermost node needs none. */
static int take_name(struct add_op *op, char name[UNIXFS_NAME_MAX + 1])
{
    const char *given = ctl_param(op->task.q, "name");
    int r = given ? unixfs_name_check(span_str(given)) : op->add->depth ? ERR_INVALID : 0;
    name[0] = 0;
    if (op->add->depth == 0)
        return 0;
    if (r < 0)
        return why_set(&op->task.why, r, "'%.100s' cannot be a name in a folder", given ? given : "");
    memcpy(name, given, strlen(given) + 1);
    return 0;
}

static int take_bytes(struct add_op *op)
{
    struct add *a = op->add;
    while (buf_len(&op->body)) {
        int n = importer_write(a->importer, buf_span(&op->body));
        if (n < 0)
            return n;
        buf_consume(&op->body, (size_t)n);
    }
    if (!op->last) {
        ctl_json(op->task.q, json_pack("{sI}", "bytes", (json_int_t)importer_bytes(a->importer)));
        return TASK_ANSWERED;
    }
    int r = importer_finish(a->importer, &a->root);
    if (r < 0)
        return r;
    a->importer = importer_free(a->importer);
    return close_node(op, a->file_held, a->file_name);
}

static int op_file(struct add_op *op)
{
    struct add *a = op->add;
    if (!op->begun) {
        if (a->importer || (a->has_root && a->depth == 0))
            return why_set(&op->task.why, ERR_INVALID, "%s",
                           a->importer ? "a file is open already" : "there is one root already");
        int r = take_name(op, a->file_name);
        if (r < 0)
            return r;
        a->importer = importer_new(&(struct importer_options){.sink = &a->upload.sink});
        a->file_held = a->upload.held_count;
        op->begun = true;
    }
    return take_bytes(op);
}

static int op_data(struct add_op *op)
{
    if (!op->add->importer)
        return why_set(&op->task.why, ERR_INVALID, "no file is open");
    return take_bytes(op);
}

static int op_link(struct add_op *op)
{
    struct add *a = op->add;
    const char *target = ctl_param(op->task.q, "target");
    char name[UNIXFS_NAME_MAX + 1];
    if (!target || a->importer || (a->has_root && a->depth == 0))
        return why_set(&op->task.why, ERR_INVALID, "a link needs a target and must not stand inside a file");
    int r = take_name(op, name);
    if (r < 0)
        return r;
    struct buf bytes = BUF_INIT;
    unixfs_add_symlink(&bytes, span_str(target), NULL);
    struct unixfs_root root = {.size = strlen(target), .tsize = buf_len(&bytes)};
    cid_of(&root.cid, CODEC_DAG_PB, buf_span(&bytes));
    struct block *b = block_from(a->upload.d->budget, BUDGET_STORE, &root.cid, buf_span(&bytes));
    buf_done(&bytes);
    if (!b)
        return ERR_AGAIN;
    size_t held = a->upload.held_count;
    r = a->upload.sink.put(&a->upload.sink, b);
    if (r < 0) {
        block_unref(b);
        return r;
    }
    a->root = root;
    return close_node(op, held, name);
}

/* An unnamed file in the state folder; the system's temporary folder may be memory. */
static FILE *entries_file(struct daemon *d)
{
    int fd = open(d->paths.state, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w+") : NULL;
    if (fd >= 0 && !f)
        close(fd);
    return f;
}

static int op_dir(struct add_op *op)
{
    struct add *a = op->add;
    struct open_dir dir = {.held = a->upload.held_count};
    if (a->importer || (a->has_root && a->depth == 0) || a->depth >= DEPTH_MAX)
        return why_set(&op->task.why, ERR_INVALID, "a folder cannot begin here");
    int r = take_name(op, dir.name);
    if (r < 0)
        return r;
    dir.entries = entries_file(a->upload.d);
    if (!dir.entries) {
        r = err_from_errno(errno);
        return why_set(&op->task.why, r, "cannot make a temporary file in %s: %s", a->upload.d->paths.state, err_text(r));
    }
    a->dirs = mem_grow(a->dirs, a->depth + 1, sizeof *a->dirs);
    a->dirs[a->depth++] = dir;
    ctl_json(op->task.q, json_object());
    return TASK_ANSWERED;
}

static int feed_builder(struct open_dir *d, struct unixfs_dir_builder *b)
{
    struct record rec;
    char name[UNIXFS_NAME_MAX + 1];
    uint8_t bytes[CID_MAX];
    struct cid cid;
    if (fseek(d->entries, 0, SEEK_SET) != 0) /* what was not written out yet */
        return err_from_errno(errno);
    while (fread(&rec, sizeof rec, 1, d->entries) == 1) {
        if (rec.name_len > UNIXFS_NAME_MAX || rec.cid_len > CID_MAX || fread(name, rec.name_len, 1, d->entries) != 1 ||
            fread(bytes, rec.cid_len, 1, d->entries) != 1 || cid_parse(span_of(bytes, rec.cid_len), &cid) < 0)
            return ERR_IO;
        int r = unixfs_dir_builder_add(b, span_of(name, rec.name_len), &cid, rec.tsize);
        if (r < 0)
            return r;
    }
    return ferror(d->entries) ? ERR_IO : 0;
}

static int op_up(struct add_op *op)
{
    struct add *a = op->add;
    if (a->depth == 0 || a->importer)
        return why_set(&op->task.why, ERR_INVALID, "no folder is open");
    struct open_dir *d = &a->dirs[a->depth - 1];
    if (!op->builder)
        op->builder = unixfs_dir_builder_new(&(struct unixfs_dir_options){.sink = &a->upload.sink, .memory_max = DIR_MEMORY});
    int r = op->fed ? 0 : feed_builder(d, op->builder);
    if (r == 0) {
        op->fed = true;
        r = unixfs_dir_builder_finish(op->builder, &a->root.cid, &a->root.tsize);
    }
    if (r == 1) { /* once more, for the rest */
        op->fed = false;
        return ERR_AGAIN;
    }
    if (r == ERR_NO_MEMORY) { /* from the beginning */
        op->fed = false;
        op->builder = unixfs_dir_builder_free(op->builder);
    }
    if (r == ERR_EXISTS)
        return why_set(&op->task.why, r, "the folder '%s' has a name twice", d->name);
    if (r < 0)
        return r;
    struct open_dir closed = *d;
    a->root.size = closed.size;
    fclose(closed.entries);
    a->depth--;
    return close_node(op, closed.held, closed.name);
}

/* ---- finish ---- */

struct finishing {
    struct ctl_request *q;
    struct upload *upload;
    struct unixfs_root root;
    unsigned waits;
    int result;
};

static void finished(void *arg, int result)
{
    struct finishing *f = arg;
    char cid[CID_TEXT_SIZE];
    f->result = result < 0 ? result : f->result;
    if (--f->waits)
        return;
    result = f->result < 0 ? f->result : f->upload->failure; /* the puts were answered before */
    if (result < 0)
        ctl_fail(f->q, result, result == ERR_NO_SPACE || result == ERR_QUOTA ? "p2p gc" : NULL, "cannot keep %s: %s",
                 cid_text(&f->root.cid, cid), err_text(result));
    else
        ctl_json(f->q, json_pack("{ss sI sI}", "cid", cid_text(&f->root.cid, cid), "size", (json_int_t)f->root.size, "dag_size",
                                 (json_int_t)f->root.tsize));
    upload_finished(f->upload);
    ctl_unref(f->q);
    free(f);
}

static void finish(struct ctl_request *q, struct add *a)
{
    struct upload *s = &a->upload;
    if (!a->has_root || a->depth || a->importer) {
        ctl_fail(q, ERR_INVALID, NULL, "the upload is not complete: %s",
                 a->importer ? "a file is open"
                 : a->depth  ? "a folder is open"
                             : "it is empty");
        return;
    }
    struct finishing *f = MEM_NEW(struct finishing);
    *f = (struct finishing){ctl_ref(q), s, a->root, 1, 0};
    upload_finishing(s, q);
    const char *name = ctl_param(q, "name");
    if (s->failure < 0) {
        finished(f, s->failure);
        return;
    }
    if (ctl_flag(q, "pin")) {
        f->waits++;
        blockstore_pin_guarded(s->d->store, &a->root.cid, name ? name : "", s->guard, s->d->mail, finished, f);
    }
    blockstore_sync(s->d->store, s->d->mail, finished, f);
}

static int op_step(struct task *t)
{
    struct add_op *op = (struct add_op *)t;
    return op->run(op);
}

void api_add(struct ctl_request *q)
{
    static const struct {
        const char *name;
        int (*run)(struct add_op *op);
    } ops[] = {{"file", op_file}, {"data", op_data}, {"dir", op_dir}, {"up", op_up}, {"link", op_link}};
    const char *name;
    struct upload *s = upload_find(q, &kind, &name);
    if (!s)
        return;
    if (evhttp_request_get_command(q->http) == EVHTTP_REQ_DELETE) {
        upload_end(s);
        ctl_json(q, json_object());
        return;
    }
    if (strcmp(name, "finish") == 0) {
        finish(q, (struct add *)s);
        return;
    }
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (strcmp(ops[i].name, name) == 0) {
            struct buf body = BUF_INIT;
            if (!buf_try_add(&body, q->body)) {
                ctl_fail(q, ERR_NO_MEMORY, NULL, "%s", err_text(ERR_NO_MEMORY));
                return;
            }
            struct add_op *op = MEM_NEW(struct add_op);
            *op = (struct add_op){.add = (struct add *)s, .run = ops[i].run, .body = body, .last = ctl_flag(q, "end")};
            s->busy = true;
            task_start(&op->task, q, op_step, op_done);
            s->task = &op->task;
            return;
        }
    ctl_fail(q, ERR_NOT_FOUND, "man 7 p2p-control", "an upload has no operation '%.40s'", name);
}
