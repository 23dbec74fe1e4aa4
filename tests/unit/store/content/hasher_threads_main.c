/* SPDX-License-Identifier: MIT
 *
 * Hashing from several threads at once, the first use included: algorithms are fetched once, contexts are per thread. */
#include "store/content/hasher.h"

#include <pthread.h>
#include <stdio.h>

#define THREADS 4
#define ROUNDS  2000

static void *work(void *arg)
{
    uintptr_t failures = 0;
    const char *text = arg;
    struct cid first;
    cid_of(&first, CODEC_RAW, span_str(text));
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct cid c;
        cid_of(&c, CODEC_RAW, span_str(text));
        failures += !cid_eq(&c, &first) || hash_verify(&c, span_str(text)) != 0;
    }
    return (void *)failures;
}

int main(void)
{
    static char texts[THREADS][16] = {"one", "two", "three", "four"};
    pthread_t threads[THREADS];
    uintptr_t failures = 0;
    for (unsigned i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, texts[i]) != 0)
            return 1;
    for (unsigned i = 0; i < THREADS; i++) {
        void *one;
        if (pthread_join(threads[i], &one) != 0)
            return 1;
        failures += (uintptr_t)one;
    }
    if (failures)
        fprintf(stderr, "%zu wrong digests\n", (size_t)failures);
    return failures != 0;
}
