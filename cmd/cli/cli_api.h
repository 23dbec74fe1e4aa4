/* SPDX-License-Identifier: MIT
 *
 * Requests to the node over its control socket (p2p-control(7)), as subcommands make them. Failures have been said on stderr
 * when these return a negative code, in the node's own words.
 */
#ifndef CMD_CLI_CLI_API_H
#define CMD_CLI_CLI_API_H

#include "cmd/cli/cli.h"
#include "cmd/cli/http_client.h"

#include <jansson.h>

#define API_ANSWER_MAX (UINT32_C(64) << 20) /* a single JSON answer; lists come as lines and have no limit */

struct api {
    struct cli *c;
    struct http_client *http;
    const char *about; /* the operand that is worked on, said before what the node says; NULL: none */
};

/* The path of a socket in the run folder (`control`, `streams`): 0 or ERR_INVALID with a sentence. `path` takes PATH_MAX. */
int api_socket_path(const char *name, char *path, struct why *why);

/* ERR_NOT_RUNNING is said with how to start the node. */
int api_open(struct api *a, struct cli *c);
void api_close(struct api *a);

/* A target with parameters: "/v1/cat" + {"path", x} … each encoded. Appends; value NULL leaves the parameter out. */
struct api_param {
    const char *name;
    const char *value;
};
void api_target(struct buf *out, const char *path, const struct api_param *params, unsigned count);

/* Sends and waits for the head: 0 and a body to read with http_read, or an error that was said. */
int api_begin(struct api *a, const char *method, const char *target, struct span body);
/* The whole answer as one JSON value, *ret the caller's. `ret` NULL: thrown away. */
int api_json(struct api *a, const char *method, const char *target, struct span body, json_t **ret);
/* Each line of the answer as an object, borrowed for the call; each() < 0 ends it. A line with "error" is said and returned. */
int api_lines(struct api *a, const char *method, const char *target, int (*each)(void *arg, json_t *row), void *arg);
/* Says an error object of the node, {"error", "message", "try"}; its code. */
int api_say(const struct api *a, json_t *error);
int api_code(const char *name); /* "ERR_RESET" → its code */
/* Says that there is no way to the node, for the error of connecting to `path`. */
int api_no_node(struct cli *c, int err, const char *path);
/* Why did the answer break off (http_read gave `err`)? Asks the node, says it, returns the code. */
int api_broken(struct api *a, int err);

/* Common shapes of subcommands */
struct cli_column;
int api_print_list(struct cli *c, const char *target, const struct cli_column *columns);
int api_print_record(struct cli *c, const char *method, const char *target, const struct cli_column *columns);

const char *api_text(json_t *object, const char *key); /* "" when missing */
/* The same for bytes that need not be UTF-8 (`key` or `key_encoded`, see p2p-control(7)): into `space`, as a C string. */
const char *api_bytes(json_t *object, const char *key, struct buf *space);
uint64_t api_u64(json_t *object, const char *key); /* 0 when missing */

#endif
