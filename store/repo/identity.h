/* SPDX-License-Identifier: MIT
 *
 * The node's Ed25519 key. On disk: identity.key, mode 0600, libp2p's PrivateKey protobuf (libp2p/specs, peer-ids):
 *
 *   08 01 12 40 │ seed (32) │ public key (32)
 *
 * The same file format reads Kubo's older 96-byte data field (public key twice). Made once, atomically, on first start. A key that
 * others can read, of another length or type, or whose halves do not belong together is refused with a sentence and
 * left as it is. The owner wipes the struct when it is done.
 */
#ifndef STORE_REPO_IDENTITY_H
#define STORE_REPO_IDENTITY_H

#include "store/base/err.h"
#include "store/base/span.h"

#define IDENTITY_FILE_SIZE 68

struct identity {
    uint8_t secret[64]; /* libsodium's form: seed ‖ public key */
    uint8_t public_key[32];
};

void identity_make(struct identity *ret); /* a new one, from the kernel's randomness */
int  identity_from_seed(struct identity *ret, const uint8_t seed[32]); /* for tests and simulations */
void identity_wipe(struct identity *id);

/* The file's bytes. Parse: 0 or ERR_INVALID, ERR_UNSUPPORTED (another key type), ERR_CORRUPT (halves differ), with a sentence. */
void identity_encode(const struct identity *id, uint8_t ret[IDENTITY_FILE_SIZE]);
int  identity_parse(struct span in, struct identity *ret, struct why *why);

/* Reads `path`, or makes a key there when there is none. 0, ERR_DENIED (mode or owner), the errors of identity_parse, ERR_IO … */
int  identity_load(const char *path, struct identity *ret, struct why *why);

#endif
