/* SPDX-License-Identifier: MIT
 *
 * /v1/import: a CAR arrives in pieces; every block is hashed again before it is stored. Nothing is kept (pinned) before the
 * end: a CAR that turns out to be damaged leaves only cache behind. */
#include "cmd/daemon/api.h"
#include "cmd/daemon/upload.h"

#include "store/block/pin.h"
#include "store/codec/car.h"
#include "store/content/hasher.h"

#include <stdlib.h>

struct import {
    struct upload upload;
    struct car_reader *reader;
    struct car_event event; /* a block that found no room yet; its data are borrowed from the reader */
    bool has_event;
    struct cid *roots;
    size_t root_count;
    uint64_t blocks, bytes;
};

struct import_op {
    struct task task;
    struct import *import;
};

static void import_free(struct upload *s)
{
    struct import *im = (struct import *)s;
    car_reader_free(im->reader);
    free(im->roots);
    free(im);
}

static const struct upload_kind kind = {.memory = CAR_FRAME_MAX, .free = import_free};

void api_import_new(struct ctl_request *q)
{
    struct import *im = MEM_NEW(struct import);
    im->reader = car_reader_new();
    upload_start(&im->upload, q, &kind);
}

/* Whatever is wrong with it, it did not pass our checks; only a hash we do not know is no damage. */
static int verdict(int err)
{
    return err == ERR_UNSUPPORTED || err == ERR_NO_MEMORY ? err : ERR_VERIFY;
}

static int say(struct import_op *op, int err, const char *what)
{
    return why_set(&op->task.why, verdict(err), "the CAR is damaged at byte %llu: %s",
                   (unsigned long long)car_reader_offset(op->import->reader), what);
}

static int take_block(struct import_op *op)
{
    struct import *im = op->import;
    const struct car_event *e = &im->event;
    if (cid_hash_code(&e->cid) == HASH_IDENTITY)
        return 0; /* carries its block itself */
    int r = hash_verify(&e->cid, e->data);
    if (r < 0)
        return say(op, r, r == ERR_VERIFY ? "a block does not have its hash" : "a block with a hash we cannot compute");
    struct block *b = block_from(im->upload.d->budget, BUDGET_STORE, &e->cid, e->data);
    if (!b)
        return ERR_AGAIN;
    r = im->upload.sink.put(&im->upload.sink, b);
    if (r < 0) {
        block_unref(b);
        return r;
    }
    im->blocks++;
    im->bytes += e->data.len;
    return 0;
}

static int take_event(struct import_op *op)
{
    struct import *im = op->import;
    if (im->event.type == CAR_BLOCK)
        return take_block(op);
    if (im->event.type == CAR_HEADER) {
        im->roots = mem_big(im->event.root_count, sizeof *im->roots);
        if (!im->roots)
            return ERR_NO_MEMORY;
        im->root_count = im->event.root_count;
        memcpy(im->roots, im->event.roots, im->root_count * sizeof *im->roots);
    }
    return 0;
}

static int import_step(struct task *t)
{
    struct import_op *op = (struct import_op *)t;
    struct import *im = op->import;
    for (;;) {
        int r = im->has_event ? 1 : car_reader_next(im->reader, &im->event);
        if (r < 0)
            return say(op, r, err_text(r));
        if (r == 0)
            break;
        im->has_event = true;
        r = take_event(op);
        if (r < 0)
            return r;
        im->has_event = false;
    }
    ctl_json(t->q, json_pack("{sI sI}", "blocks", (json_int_t)im->blocks, "bytes", (json_int_t)im->bytes));
    return TASK_ANSWERED;
}

static void op_done(struct task *t)
{
    struct import_op *op = (struct import_op *)t;
    struct upload *s = &op->import->upload;
    s->task = NULL;
    s->busy = false;
    s->used = mono_now();
    free(op);
}

/* ---- end ---- */

struct finishing {
    struct ctl_request *q;
    struct import *import;
    unsigned waits;
    int result;
};

static void answer(struct finishing *f)
{
    struct import *im = f->import;
    char cid[CID_TEXT_SIZE];
    json_t *roots = json_array();
    for (size_t i = 0; i < im->root_count; i++)
        json_array_append_new(roots, json_pack("{ss sI sI}", "cid", cid_text(&im->roots[i], cid), "blocks",
                                               (json_int_t)im->blocks, "bytes", (json_int_t)im->bytes));
    if (f->result < 0)
        ctl_fail(f->q, f->result, "p2p gc", "cannot keep what was imported: %s", err_text(f->result));
    else
        ctl_json(f->q,
                 json_pack("{sO sI sI}", "roots", roots, "blocks", (json_int_t)im->blocks, "bytes", (json_int_t)im->bytes));
    json_decref(roots);
}

static void finished(void *arg, int result)
{
    struct finishing *f = arg;
    if (result < 0)
        f->result = result;
    if (--f->waits)
        return;
    if (f->result == 0) /* the puts were answered before */
        f->result = f->import->upload.failure;
    answer(f);
    upload_finished(&f->import->upload);
    ctl_unref(f->q);
    free(f);
}

static void finish(struct ctl_request *q, struct import *im)
{
    struct car_event e;
    struct daemon *d = im->upload.d;
    car_reader_eof(im->reader);
    int r;
    while ((r = car_reader_next(im->reader, &e)) > 0 && e.type != CAR_BLOCK)
        ;
    if (r < 0 || !im->roots) {
        ctl_fail(q, ERR_VERIFY, NULL, "the CAR is damaged at byte %llu: %s", (unsigned long long)car_reader_offset(im->reader),
                 err_text(r < 0 ? r : ERR_TRUNCATED));
        upload_end(&im->upload);
        return;
    }
    struct finishing *f = MEM_NEW(struct finishing);
    *f = (struct finishing){ctl_ref(q), im, 1, im->upload.failure};
    upload_finishing(&im->upload, q);
    for (size_t i = 0; ctl_flag(q, "pin") && f->result == 0 && i < im->root_count; i++) {
        f->waits++;
        blockstore_pin_guarded(d->store, &im->roots[i], "import", im->upload.guard, d->mail, finished, f);
    }
    blockstore_sync(d->store, d->mail, finished, f);
}

void api_import(struct ctl_request *q)
{
    const char *op_name;
    struct upload *s = upload_find(q, &kind, &op_name);
    if (!s)
        return;
    struct import *im = (struct import *)s;
    if (evhttp_request_get_command(q->http) == EVHTTP_REQ_DELETE) {
        upload_end(s);
        ctl_json(q, json_object());
    } else if (strcmp(op_name, "end") == 0) {
        finish(q, im);
    } else if (*op_name) {
        ctl_fail(q, ERR_NOT_FOUND, "man 7 p2p-control", "an import has no operation '%.40s'", op_name);
    } else if (car_reader_input(im->reader, q->body) < 0) {
        ctl_fail(q, ERR_NO_MEMORY, NULL, "%s", err_text(ERR_NO_MEMORY));
    } else {
        struct import_op *op = MEM_NEW(struct import_op);
        op->import = im;
        s->busy = true;
        task_start(&op->task, q, import_step, op_done);
        s->task = &op->task;
    }
}
