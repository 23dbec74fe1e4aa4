/* SPDX-License-Identifier: MIT
 *
 * The config file is read and written here, not by the node, so that it works when no node runs; a running one is told to
 * read it again. */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/daemon/settings.h"
#include "cmd/subs.h"
#include "store/repo/config.h"
#include "store/repo/repo.h"

#include <stdio.h>

static const struct cli_option options[] = {
    {"unset", 0, NULL, "take KEY out of the file: the default counts again"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {
    {"key", "key", CLI_TEXT},       {"value", "value", CLI_TEXT}, {"set", "set", CLI_YES},
    {"meaning", "help", CLI_PROSE}, {NULL, NULL, CLI_TEXT},
};

static void print_one(struct cli *c, struct cli_table *t, const struct config *cfg, int id)
{
    struct buf value = BUF_INIT;
    config_print(cfg, (enum config_id)id, &value);
    const struct config_option *o = &config_options[id];
    json_t *row = json_pack("{ss ss% sb ss}", "key", o->name, "value", buf_cstr(&value), buf_len(&value), "set",
                            (int)config_is_set(cfg, (enum config_id)id), "help", o->help);
    if (t)
        cli_table_row(t, row);
    else if (c->json)
        cli_record(c, columns, row);
    else
        printf("%s\n", buf_cstr(&value));
    json_decref(row);
    buf_done(&value);
}

static void print_all(struct cli *c, const struct config *cfg)
{
    struct cli_table *t = cli_table_new(c, columns);
    for (int i = 0; i < CONFIG_COUNT; i++)
        print_one(c, t, cfg, i);
    cli_table_end(t);
}

static int set(struct cli *c, const char *path, const char *key, const char *value)
{
    struct why why = {""};
    struct config *candidate = config_new();
    int r = config_load(candidate, path, &why);
    if (r == 0 && value)
        r = config_override(candidate, key, value, &why);
    if (r == 0 && value)
        r = settings_check(candidate, &why);
    config_free(candidate);
    if (r == 0 || !value) /* a key can be taken out of a file that is not in order: config_set looks at what remains */
        r = config_set(path, key, value, &why);
    if (r < 0)
        return cli_fail(c, r, "p2p config", "%s", why.text);
    char socket_path[PATH_MAX];
    struct http_client *h = NULL;
    if (api_socket_path("control", socket_path, &why) < 0 || http_client_open(&h, socket_path) < 0)
        return 0; /* no node runs: it reads the file when it starts */
    struct api a = {.c = c, .http = h};
    json_t *answer = NULL;
    r = api_json(&a, "POST", "/v1/config/reload", SPAN_NONE, &answer);
    if (r == 0 && *api_text(answer, "restart"))
        cli_note(c, "takes effect when the node starts again: %s", api_text(answer, "restart"));
    json_decref(answer);
    http_client_close(h);
    return r;
}

static int run(struct cli *c)
{
    struct repo_paths paths;
    struct why why = {""};
    const char *key = c->count ? c->operands[0] : NULL;
    int r = repo_paths(&paths, &why);
    if (r < 0)
        return cli_fail(c, r, NULL, "%s", why.text);
    int id = key ? config_find(key) : 0;
    if (id < 0)
        return cli_fail(c, ERR_USAGE, "p2p config", "there is no option '%s'", key);
    if (cli_has(c, "unset") && c->count != 1)
        return cli_fail(c, ERR_USAGE, "p2p config --help", "--unset takes one KEY and no value");
    if (cli_has(c, "unset") || c->count == 2)
        return set(c, paths.config, key, c->count == 2 ? c->operands[1] : NULL);
    struct config *cfg = config_new();
    r = config_load(cfg, paths.config, &why);
    if (r < 0)
        cli_fail(c, r, "p2p doctor", "%s", why.text);
    else if (key)
        print_one(c, NULL, cfg, id);
    else
        print_all(c, cfg);
    config_free(cfg);
    return r;
}

const struct cli_command sub_config = {
    .name = "config",
    .operands = "[KEY [VALUE]]",
    .summary = "show or change the configuration",
    .details =
        "Without KEY: all options. With KEY: its value. With VALUE: writes it into the config file, and tells a running\n"
        "node to read it again. The options are described in p2p.conf(5).",
    .options = options,
    .most = 2,
    .run = run,
};
