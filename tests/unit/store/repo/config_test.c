/* SPDX-License-Identifier: MIT */
#include "store/repo/config.h"

#include "store/base/err.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define GIB (UINT64_C(1) << 30)

static int parse(struct config *c, const char *text, struct why *why)
{
    why->text[0] = 0;
    return config_parse(c, span_str(text), "conf", why);
}

Test(config, defaults_are_valid_and_print_back)
{
    struct config *c = config_new(), *again = config_new();
    struct buf out = BUF_INIT;
    struct why why;
    for (int i = 0; i < CONFIG_COUNT; i++) {
        cr_assert_not(config_is_set(c, i));
        cr_assert_gt(strlen(config_options[i].help), 10);
        cr_assert_eq(config_find(config_options[i].name), i);
        buf_printf(&out, "%s = ", config_options[i].name);
        config_print(c, i, &out);
        buf_add_u8(&out, '\n');
    }
    cr_assert_eq(config_parse(again, buf_span(&out), "conf", &why), 0, "%s", why.text);
    for (int i = 0; i < CONFIG_COUNT; i++) {
        struct buf a = BUF_INIT, b = BUF_INIT;
        config_print(c, i, &a);
        config_print(again, i, &b);
        cr_assert(span_eq(buf_span(&a), buf_span(&b)), "%s", config_options[i].name);
        cr_assert(config_is_set(again, i));
        buf_done(&a);
        buf_done(&b);
    }
    cr_assert_eq(config_u64(c, CONFIG_QUOTA), CONFIG_AUTO);
    cr_assert_eq(config_u64(c, CONFIG_MEMORY), UINT64_C(128) << 20);
    cr_assert_eq(config_u64(c, CONFIG_TIMEOUT_METADATA), 10 * MONO_S);
    cr_assert(config_bool(c, CONFIG_MDNS));
    cr_assert_eq(config_list_count(c, CONFIG_LISTEN), 2);
    cr_assert_str_eq(config_list_at(c, CONFIG_LISTEN, 0), "/ip4/0.0.0.0/tcp/4001");
    cr_assert_str_eq(config_text(c, CONFIG_MOUNT), "~/p2p");
    cr_assert_eq(config_choice(c, CONFIG_LOG_LEVEL), 2);
    config_free(c);
    config_free(again);
    config_free(NULL);
    buf_done(&out);
}

Test(config, values)
{
    struct config *c = config_new();
    struct why why;
    cr_assert_eq(parse(c,
                       "# a comment\n\n"
                       "  quota=20G # behind\n"
                       "listen = /ip4/127.0.0.1/tcp/0, /ip6/::1/tcp/0\n"
                       "listen = /dns4/a#b/tcp/1\r\n"
                       "mdns = off\n"
                       "timeout-read = 1m30s\n"
                       "upload-limit = 1.5 MiB\n"
                       "max-connections = 12\n"
                       "quiet =\n"
                       "mount = /srv/my p2p\n"
                       "log-level = debug",
                       &why),
                 0, "%s", why.text);
    cr_assert_eq(config_u64(c, CONFIG_QUOTA), 20 * GIB);
    cr_assert_eq(config_list_count(c, CONFIG_LISTEN), 3);
    cr_assert_str_eq(config_list_at(c, CONFIG_LISTEN, 1), "/ip6/::1/tcp/0");
    cr_assert_str_eq(config_list_at(c, CONFIG_LISTEN, 2), "/dns4/a#b/tcp/1");
    cr_assert_not(config_bool(c, CONFIG_MDNS));
    cr_assert_eq(config_u64(c, CONFIG_TIMEOUT_READ), 90 * MONO_S);
    cr_assert_eq(config_u64(c, CONFIG_UPLOAD_LIMIT), 1572864);
    cr_assert_eq(config_u64(c, CONFIG_MAX_CONNECTIONS), 12);
    cr_assert_eq(config_list_count(c, CONFIG_QUIET), 0);
    cr_assert_str_eq(config_text(c, CONFIG_MOUNT), "/srv/my p2p");
    cr_assert_eq(config_choice(c, CONFIG_LOG_LEVEL), 3);
    cr_assert(config_is_set(c, CONFIG_QUOTA) && !config_is_set(c, CONFIG_MEMORY));
    cr_assert_eq(config_override(c, "memory", "64M", &why), 0);
    cr_assert_eq(config_u64(c, CONFIG_MEMORY), UINT64_C(64) << 20);
    cr_assert_eq(config_override(c, "nothing", "1", &why), ERR_NOT_FOUND);
    cr_assert_eq(config_override(c, "memory", "1K", &why), ERR_INVALID);
    cr_assert_eq(config_u64(c, CONFIG_MEMORY), UINT64_C(64) << 20);
    config_free(c);
}

Test(config, bad_lines_are_named_and_change_nothing)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"quota = 1G\nquotta = 2G\n", "conf:2: unknown key \"quotta\""},
        {"quota = 1G\nquota = 2G\n", "conf:2: quota is given twice"},
        {"quota\n", "conf:1: expected"},
        {"= 1\n", "no key"},
        {"Quota = 1G\n", "a key consists of"},
        {"quota = x\n", "conf:1: quota must be a size such as 512K, 10G or none or auto"},
        {"quota =\n", "quota must be a size"},
        {"memory = auto\n", "memory must be a size"},
        {"memory = 1M\n", "memory must be between 16M and 1T"},
        {"\n\n\nmdns = maybe\n", "conf:4: mdns must be yes or no"},
        {"timeout-read = 5\nmax-connections = 0\n", "conf:2: max-connections must be between 1 and 65536"},
        {"max-connections = -3\n", "must be a number"},
        {"max-connections = 99999999999999999999\n", "must be a number"},
        {"timeout-read = fast\n", "a duration such as"},
        {"timeout-read = 2h\n", "between 100ms and 1h"},
        {"log-level = loud\n", "log-level must be one of: error warn info debug"},
        {"mount = \n", "mount must not be empty"},
        {"mount = a\x01z\n", "control character"},
    };
    struct config *c = config_new();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct why why;
        cr_assert_lt(parse(c, bad[i].text, &why), 0, "%s", bad[i].text);
        cr_assert(strstr(why.text, bad[i].says), "%s → %s", bad[i].text, why.text);
        for (int id = 0; id < CONFIG_COUNT; id++)
            cr_assert_not(config_is_set(c, id));
    }
    struct buf many = BUF_INIT;
    struct why why;
    for (int i = 0; i < 17; i++)
        buf_printf(&many, "listen = /ip4/127.0.0.1/tcp/%d\n", i);
    cr_assert_eq(config_parse(c, buf_span(&many), "conf", &why), ERR_INVALID);
    cr_assert(strstr(why.text, "conf:17: listen has more than 16 entries"), "%s", why.text);
    buf_clear(&many);
    for (unsigned i = 0; i < CONFIG_FILE_MAX / 2 + 1; i++)
        buf_add(&many, "#\n", 2);
    cr_assert_eq(config_parse(c, buf_span(&many), "conf", &why), ERR_TOO_BIG);
    buf_done(&many);
    config_free(c);
}

static void check_file(const char *path, const char *expected)
{
    char text[1024];
    FILE *f = fopen(path, "r");
    cr_assert(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    fclose(f);
    cr_assert_str_eq(text, expected);
}

Test(config, set_rewrites_one_line)
{
    char dir[] = "/tmp/p2p-test-XXXXXX", path[128], command[64];
    struct why why;
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a/b/config", dir);
    cr_assert_eq(config_set(path, "quota", "5G", &why), 0, "%s", why.text);
    check_file(path, "quota = 5G\n");
    FILE *f = fopen(path, "w");
    fputs("# mine\n\nquota = 1G   # not too much\nlisten = /a\n  mdns=no\nlisten = /b", f);
    fclose(f);
    cr_assert_eq(chmod(path, 0640), 0);
    cr_assert_eq(config_set(path, "quota", "none", &why), 0, "%s", why.text);
    check_file(path, "# mine\n\nquota = none  # not too much\nlisten = /a\n  mdns=no\nlisten = /b\n");
    cr_assert_eq(config_set(path, "listen", "/c /d", &why), 0);
    cr_assert_eq(config_set(path, "memory", "64M", &why), 0);
    cr_assert_eq(config_set(path, "mdns", NULL, &why), 0);
    const char *now = "# mine\n\nquota = none  # not too much\nlisten = /c /d\nmemory = 64M\n";
    check_file(path, now);
    struct stat st;
    cr_assert(stat(path, &st) == 0 && (st.st_mode & 0777) == 0640);
    cr_assert_eq(config_set(path, "memory", "lots", &why), ERR_INVALID);
    cr_assert_eq(config_set(path, "nothing", "1", &why), ERR_NOT_FOUND);
    cr_assert_eq(config_set(path, "nothing", NULL, &why), ERR_NOT_FOUND);
    cr_assert_eq(config_set(path, "mount", "/a\nquota = 1", &why), ERR_INVALID);
    check_file(path, now);
    struct config *c = config_new();
    cr_assert_eq(config_load(c, path, &why), 0);
    cr_assert(config_list_count(c, CONFIG_LISTEN) == 2 && config_u64(c, CONFIG_QUOTA) == 0);
    f = fopen(path, "w");
    fputs("quota = rubbish\n", f);
    fclose(f);
    cr_assert_eq(config_load(c, path, &why), ERR_INVALID);
    cr_assert(strstr(why.text, path) && strstr(why.text, ":1:"), "%s", why.text);
    cr_assert_eq(config_set(path, "mdns", "no", &why), ERR_INVALID, "the rest must be right");
    cr_assert_eq(config_set(path, "quota", "1G", &why), 0, "and can be mended");
    snprintf(path, sizeof path, "%s/none", dir);
    cr_assert_eq(config_load(c, path, &why), 0, "no file: nothing set");
    config_free(c);
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}
