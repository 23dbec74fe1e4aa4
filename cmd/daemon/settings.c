/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/settings.h"

#include "cmd/daemon/ctl_parse.h"
#include "store/base/err.h"

#include <stdio.h>
#include <stdlib.h>

int settings_listen(const struct config *c, struct multiaddr **ret, unsigned *ret_count, struct why *why)
{
    unsigned n = config_list_count(c, CONFIG_LISTEN);
    struct multiaddr *list = mem_array(n + 1, sizeof *list);
    for (unsigned i = 0; i < n; i++) {
        const char *text = config_list_at(c, CONFIG_LISTEN, i);
        struct why inner = {""};
        if (multiaddr_from_text(span_str(text), &list[i], &inner) < 0 || !multiaddr_is_tcp(&list[i])) {
            free(list);
            return why_set(why, ERR_INVALID, "listen: '%.100s' is not a TCP address%s%s", text, inner.text[0] ? ": " : "",
                           inner.text);
        }
    }
    *ret = list;
    *ret_count = n;
    return 0;
}

int settings_mount(const struct config *c, const char *dir, char out[PATH_MAX], struct why *why)
{
    const char *home = getenv("HOME"), *from = dir ? dir : config_text(c, CONFIG_MOUNT);
    bool in_home = from[0] == '~' && (from[1] == '/' || from[1] == 0);
    if (in_home && (!home || *home != '/'))
        return why_set(why, ERR_INVALID, "mount: '%.200s' needs HOME, which is not set", from);
    if (!in_home && *from != '/')
        return why_set(why, ERR_INVALID, "mount: '%.200s' begins neither with / nor with ~/", from);
    int n = snprintf(out, PATH_MAX, "%s%s", in_home ? home : "", in_home ? from + 1 : from);
    if (n >= PATH_MAX)
        return why_set(why, ERR_INVALID, "mount: the path is too long");
    while (n > 1 && out[n - 1] == '/')
        out[--n] = 0;
    return 0;
}

int settings_dns_port(const struct config *c, unsigned i, uint16_t *ret, struct why *why)
{
    const char *text = config_list_at(c, CONFIG_DNS_PORTS, i);
    uint64_t port;
    if (ctl_parse_u64(text, &port) < 0 || port < 1 || port > UINT16_MAX)
        return why_set(why, ERR_INVALID, "dns-ports: '%.100s' is not a port", text);
    *ret = (uint16_t)port;
    return 0;
}

int settings_check(const struct config *c, struct why *why)
{
    struct multiaddr *listen;
    unsigned count;
    char dir[PATH_MAX];
    int r = settings_listen(c, &listen, &count, why);
    if (r < 0)
        return r;
    free(listen);
    for (unsigned i = 0; i < config_list_count(c, CONFIG_DNS_PORTS); i++) {
        uint16_t port;
        r = settings_dns_port(c, i, &port, why);
        if (r < 0)
            return r;
    }
    return config_is_set(c, CONFIG_MOUNT) ? settings_mount(c, NULL, dir, why) : 0;
}
