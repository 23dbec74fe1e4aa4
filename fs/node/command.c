/* SPDX-License-Identifier: MIT
 *
 * Waiting for something that answers later: a command that others carry out, a sync of the tree. The request may be gone
 * (interrupted) before the answer comes: then the ticket is an orphan and is freed by its answer. */
#include "fs/node/mount_state.h"

#include <stdlib.h>

static void ticket_free(struct ticket *t)
{
    buf_done(&t->answer);
    free(t->error);
    free(t);
}

static void leave_ticket(void *state)
{
    struct ticket *t = state;
    if (t->done)
        ticket_free(t);
    else
        t->orphan = true;
}

struct ticket *ticket_new(struct mount *m, struct request *r)
{
    struct ticket *t = MEM_NEW(struct ticket);
    t->m = m;
    r->state = t;
    r->free_state = leave_ticket;
    return t;
}

void ticket_done(struct ticket *t, int result)
{
    t->done = true;
    t->result = result;
    if (t->orphan)
        ticket_free(t);
    else
        pending_wake(t->m->pending, t);
}

struct mount_command {
    struct command command; /* first */
    struct ticket *ticket;
};

static void on_settled(struct mail *take_m, void *owner)
{
    struct mount_command *c = (struct mount_command *)take_m;
    struct ticket *t = c->ticket;
    t->m->commands--;
    t->answer = c->command.answer;
    if (c->command.result < 0)
        t->error = mem_str(c->command.why.text[0] ? c->command.why.text : err_text(c->command.result));
    int result = c->command.result;
    free(c->command.line);
    free(c);
    if (!owner)
        ticket_free(t); /* the mailbox is being emptied at the end: every request is gone */
    else
        ticket_done(t, result);
}

int command_refused(struct mount *m, const struct request *r, int err, const char *sentence)
{
    struct buf line = BUF_INIT;
    buf_printf(&line, "%s %s: %s", request_op_name(r->op), r->name, sentence);
    text_add_event(m, "name.refused", buf_cstr(&line));
    buf_done(&line);
    return err;
}

int command_run(struct mount *m, struct request *r, const char *line)
{
    struct ticket *t = r->state;
    if (!t) {
        if (!m->o.command.post)
            return ERR_UNSUPPORTED;
        struct mount_command *c = MEM_NEW(struct mount_command);
        c->command.mail.run = on_settled;
        c->command.reply = m->mailbox;
        c->command.line = mem_str(line);
        c->ticket = ticket_new(m, r);
        t = c->ticket;
        int rc = m->o.command.post(m->o.command.self, &c->command);
        if (rc < 0) {
            free(c->command.line);
            free(c);
            ticket_free(t);
            r->state = NULL;
            return rc;
        }
        m->commands++;
    }
    r->wait_on = t;
    r->why = "waits for a command";
    if (!t->done)
        return ERR_AGAIN;
    bool names = r->op == OP_SYMLINK || r->op == OP_RENAME || r->op == OP_UNLINK || r->op == OP_RMDIR || r->op == OP_CREATE;
    return names && t->error ? command_refused(m, r, t->result, t->error) : t->result;
}
