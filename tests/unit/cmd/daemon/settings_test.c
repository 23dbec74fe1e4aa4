/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/settings.h"

#include "store/base/err.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static int check(const char *key, const char *value, struct why *why)
{
    struct config *c = config_new();
    *why = (struct why){""};
    cr_assert_eq(config_override(c, key, value, why), 0, "%s", why->text);
    int r = settings_check(c, why);
    config_free(c);
    return r;
}

Test(settings, values)
{
    static const struct {
        const char *key, *value;
        int result;
    } rows[] = {
        {"listen", "/ip4/0.0.0.0/tcp/4001 /ip6/::/tcp/0", 0},
        {"listen", "/x", ERR_INVALID},
        {"listen", "/ip4/0.0.0.0/tcp/4001 nonsense", ERR_INVALID},
        {"listen", "/ip4/0.0.0.0/udp/4001", ERR_INVALID},
        {"listen", "/ip4/1.2.3/tcp/1", ERR_INVALID},
        {"mount", "/srv/p2p", 0},
        {"mount", "~/p2p", 0},
        {"mount", "relative/x", ERR_INVALID},
        {"mount", "~other/x", ERR_INVALID},
        {"dns-ports", "1 65535,8081", 0},
        {"dns-ports", "0", ERR_INVALID},
        {"dns-ports", "8081 65536", ERR_INVALID},
        {"dns-ports", "http", ERR_INVALID},
    };
    struct why why;
    setenv("HOME", "/home/a", 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(check(rows[i].key, rows[i].value, &why), rows[i].result, "%s: %s", rows[i].value, why.text);
        if (rows[i].result < 0)
            cr_expect(strstr(why.text, rows[i].key), "the sentence names the key: %s", why.text);
    }
    unsetenv("HOME");
    cr_expect_eq(check("mount", "~/p2p", &why), ERR_INVALID);
    cr_expect_eq(check("memory", "64M", &why), 0,
                 "without HOME only the default mount is impossible, and that only when it is used");
}

Test(settings, mount)
{
    struct config *c = config_new();
    struct why why = {""};
    char dir[PATH_MAX];
    setenv("HOME", "/home/a", 1);
    cr_expect_eq(settings_mount(c, NULL, dir, &why), 0);
    cr_expect_str_eq(dir, "/home/a/p2p");
    cr_expect_eq(settings_mount(c, "/mnt//", dir, &why), 0);
    cr_expect_str_eq(dir, "/mnt");
    cr_expect_eq(settings_mount(c, "/", dir, &why), 0);
    cr_expect_str_eq(dir, "/");
    config_free(c);
}
