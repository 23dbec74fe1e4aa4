/* LINK: cmd_daemon */
/* SPDX-License-Identifier: MIT
 *
 * What the control socket and the ctl files make of words: the first line is a request target (path?query), each further line
 * an order. What is taken must be what was said; what is refused has a sentence. */
#include "cmd/daemon/ctl_parse.h"

#include "store/base/err.h"

#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

static void number(const char *text)
{
    uint64_t n = 7;
    char again[24];
    if (ctl_parse_u64(text, &n) < 0) {
        must(n == 7);
        return;
    }
    snprintf(again, sizeof again, "%llu", (unsigned long long)n);
    while (text[0] == '0' && text[1])
        text++;
    must(strcmp(text, again) == 0);
}

static void path(const char *text)
{
    struct ctl_path p;
    struct why why = {""};
    struct cid cid;
    char name[CID_TEXT_SIZE];
    if (ctl_parse_path(text, &p, &why) < 0) {
        must(why.text[0] != 0);
        return;
    }
    must(p.rest >= text && p.rest <= text + strlen(text));
    if (p.is_share) {
        must(strncmp(p.rest, "share", 5) == 0);
        return;
    }
    must(*p.rest == 0 || *p.rest == '/');
    cid_text(&p.root, name);
    must(cid_from_text(span_str(name), &cid, NULL) == 0 && cid_eq(&cid, &p.root));
}

static void upload(const char *rest)
{
    uint64_t id;
    const char *op;
    if (ctl_parse_upload(rest, &id, &op) == 0)
        must(op >= rest && op <= rest + strlen(rest) && (*op == 0 || op[-1] == '/'));
}

static void order(char *line)
{
    struct order_line o;
    struct why why = {""};
    const char *end = line + strlen(line);
    if (ctl_parse_order(line, &o, &why) < 0) {
        must(why.text[0] != 0);
        return;
    }
    must(o.verb < ORDER_COUNT && o.count >= 1 && o.count <= ORDER_WORDS);
    for (unsigned i = 0; i < o.count; i++)
        must(o.words[i] >= line && o.words[i] < end && *o.words[i] && !strpbrk(o.words[i], " \t\n"));
}

static void target(const char *text)
{
    struct evhttp_uri *uri = evhttp_uri_parse_with_flags(text, EVHTTP_URI_NONCONFORMANT); /* as evhttp does for requests */
    const char *query = uri ? evhttp_uri_get_query(uri) : NULL;
    struct evkeyvalq all;
    TAILQ_INIT(&all);
    if (uri && evhttp_uri_get_path(uri))
        upload(evhttp_uri_get_path(uri));
    if (query && evhttp_parse_query_str(query, &all) == 0) {
        for (struct evkeyval *v = all.tqh_first; v; v = v->next.tqe_next) {
            number(v->value);
            path(v->value);
            order(v->value);
        }
    }
    evhttp_clear_headers(&all);
    if (uri)
        evhttp_uri_free(uri);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_new(size + 1);
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    char *next = strchr(text, '\n');
    if (next)
        *next++ = 0;
    target(text);
    number(text);
    path(text);
    upload(text);
    while (next) {
        char *line = next;
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        order(line);
    }
    free(text);
    return 0;
}
