/* SPDX-License-Identifier: MIT */
#include "store/repo/identity.h"

#include "store/base/uvarint.h"
#include "store/repo/repo.h"

#include <assert.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_TYPE_ED25519 1
#define SEED_SIZE        32
#define FILE_MOST        4096 /* an RSA key of somebody else's fits: then the sentence can say what it is */

_Static_assert(sizeof((struct node_key *)0)->secret == crypto_sign_SECRETKEYBYTES, "libsodium's secret key");
_Static_assert(sizeof((struct node_key *)0)->public_key == crypto_sign_PUBLICKEYBYTES, "libsodium's public key");

static void sodium_ready(void)
{
    int r = sodium_init(); /* 0 done, 1 already done */
    assert(r >= 0);
    (void)r;
}

void node_key_make(struct node_key *ret)
{
    sodium_ready();
    int r = crypto_sign_keypair(ret->public_key, ret->secret);
    assert(r == 0);
    (void)r;
}

int node_key_from_seed(struct node_key *ret, const uint8_t seed[32])
{
    sodium_ready();
    return crypto_sign_seed_keypair(ret->public_key, ret->secret, seed) == 0 ? 0 : ERR_FAILED;
}

void node_key_wipe(struct node_key *id)
{
    sodium_memzero(id, sizeof *id);
}

/* ---- the file's bytes ---- */

static const uint8_t key_head[4] = {0x08, KEY_TYPE_ED25519, 0x12, 64};

void node_key_encode(const struct node_key *id, uint8_t ret[IDENTITY_FILE_SIZE])
{
    memcpy(ret, key_head, sizeof key_head);
    memcpy(ret + sizeof key_head, id->secret, sizeof id->secret);
}

/* The protobuf: Type = 1 (varint), Data = 2 (bytes), once each, nothing else. */
static int split(struct span in, uint64_t *ret_type, struct span *ret_data)
{
    bool have_type = false, have_data = false;
    while (in.len > 0) {
        uint64_t tag, v;
        int n = uvarint_read(in, &tag);
        if (n < 0)
            return ERR_INVALID;
        in = span_from(in, (size_t)n);
        n = uvarint_read(in, &v);
        if (n < 0)
            return ERR_INVALID;
        in = span_from(in, (size_t)n);
        if (tag == 0x08 && !have_type) {
            have_type = true;
            *ret_type = v;
        } else if (tag == 0x12 && !have_data && v <= in.len) {
            have_data = true;
            *ret_data = span_sub(in, 0, (size_t)v);
            in = span_from(in, (size_t)v);
        } else {
            return ERR_INVALID;
        }
    }
    return have_type && have_data ? 0 : ERR_INVALID;
}

int node_key_parse(struct span in, struct node_key *ret, struct why *why)
{
    uint64_t type = 0;
    struct span data = SPAN_NONE;
    if (split(in, &type, &data) != 0)
        return why_set(why, ERR_INVALID, "it is not a libp2p private key");
    if (type != KEY_TYPE_ED25519)
        return why_set(why, ERR_UNSUPPORTED, "its key type is %llu, only Ed25519 (1) is supported", (unsigned long long)type);
    if (data.len != 64 && data.len != 96)
        return why_set(why, ERR_INVALID, "an Ed25519 key has 64 bytes, this one has %zu", data.len);
    struct node_key id;
    int r = node_key_from_seed(&id, data.data);
    bool same = r == 0 && sodium_memcmp(id.public_key, data.data + SEED_SIZE, 32) == 0 &&
                (data.len == 64 || sodium_memcmp(id.public_key, data.data + 64, 32) == 0);
    if (same)
        *ret = id;
    node_key_wipe(&id);
    return same ? 0 : why_set(why, ERR_CORRUPT, "its public key does not belong to its secret key");
}

/* ---- the file ---- */

static int check_file(const char *path, int fd, struct why *why)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return why_set(why, err_from_errno(errno), "cannot look at %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return why_set(why, ERR_INVALID, "%s is not a file", path);
    if (st.st_uid != geteuid())
        return why_set(why, ERR_DENIED, "%s belongs to user %u, not to us", path, (unsigned)st.st_uid);
    if (st.st_mode & 077)
        return why_set(why, ERR_DENIED, "%s can be read by others (mode %04o): make it private with: chmod 600 %s", path,
                       (unsigned)(st.st_mode & 07777), path);
    if (st.st_size > FILE_MOST)
        return why_set(why, ERR_INVALID, "%s is no key: it has %lld bytes", path, (long long)st.st_size);
    return 0;
}

static int read_key(const char *path, int fd, struct node_key *ret, struct why *why)
{
    uint8_t bytes[FILE_MOST];
    struct why inner = {""};
    int r = check_file(path, fd, why);
    if (r)
        return r;
    ssize_t n = read(fd, bytes, sizeof bytes); /* a regular file of at most that size: one read */
    if (n < 0)
        return why_set(why, err_from_errno(errno), "cannot read %s: %s", path, strerror(errno));
    r = node_key_parse(span_of(bytes, (size_t)n), ret, &inner);
    sodium_memzero(bytes, sizeof bytes);
    return r ? why_set(why, r, "cannot use %s: %s", path, inner.text) : 0;
}

static int make_key(const char *path, struct node_key *ret, struct why *why)
{
    struct node_key id;
    uint8_t bytes[IDENTITY_FILE_SIZE];
    node_key_make(&id);
    node_key_encode(&id, bytes);
    int r = repo_write_file(path, bytes, sizeof bytes, 0600, why);
    if (r == 0)
        *ret = id;
    sodium_memzero(bytes, sizeof bytes);
    node_key_wipe(&id);
    return r;
}

int node_key_load(const char *path, struct node_key *ret, struct why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return make_key(path, ret, why);
    if (fd < 0)
        return why_set(why, err_from_errno(errno), "cannot open %s: %s", path, strerror(errno));
    int r = read_key(path, fd, ret, why);
    close(fd);
    return r;
}
