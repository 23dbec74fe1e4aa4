/* SPDX-License-Identifier: MIT
 *
 * The node's Ed25519 key. On disk: identity.key, mode 0600, libp2p's PrivateKey protobuf (libp2p/specs, peer-ids):
 *
 *   08 01 12 40 │ seed (32) │ public key (32)
 *
 * The same file format reads Kubo's older 96-byte data field (public key twice). Made once, atomically, on first start. A key
 * that others can read, of another length or type, or whose halves do not belong together is refused with a sentence and
 * left as it is. The owner wipes the struct when it is done.
 */
#ifndef STORE_REPO_IDENTITY_H
#define STORE_REPO_IDENTITY_H

#include "store/base/err.h"
#include "store/base/span.h"

#define IDENTITY_FILE_SIZE 68

struct node_key {
    uint8_t secret[64]; /* libsodium's form: seed ‖ public key */
    uint8_t public_key[32];
};

void node_key_make(struct node_key *ret); /* a new one, from the kernel's randomness */
int  node_key_from_seed(struct node_key *ret, const uint8_t seed[32]); /* for tests and simulations */
void node_key_wipe(struct node_key *id);

/* The file's bytes. Parse: 0 or ERR_INVALID, ERR_UNSUPPORTED (another key type), ERR_CORRUPT (halves differ), with a
 * sentence. */
void node_key_encode(const struct node_key *id, uint8_t ret[IDENTITY_FILE_SIZE]);
int  node_key_parse(struct span in, struct node_key *ret, struct why *why);

/* Reads `path`, or makes a key there when there is none. 0, ERR_DENIED (mode or owner), the errors of node_key_parse,
 * ERR_IO … */
int  node_key_load(const char *path, struct node_key *ret, struct why *why);

#endif
