/* SPDX-License-Identifier: MIT
 *
 * /v1/dns: the leases, or one name. */
#include "cmd/daemon/api.h"
#include "cmd/daemon/dnsd.h"

static void line(void *arg, json_t *row)
{
    ctl_line(arg, json_incref(row));
}

void api_dns(struct ctl_request *q)
{
    const char *name = ctl_param(q, "name");
    struct why why = {""};
    if (!name) {
        ctl_begin(q, "application/x-ndjson");
        dnsd_list(q->d->dnsd, line, q);
        ctl_end(q);
        return;
    }
    json_t *v = dnsd_resolve(q->d->dnsd, name, &why);
    if (v)
        ctl_json(q, v);
    else
        ctl_fail(q, ERR_NOT_FOUND, "p2p peers --all", "%s", why.text);
}
