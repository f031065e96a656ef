/* The characters of a code; what they mean is told in counts.c. */
#ifndef KLINGMASK_CODES_H
#define KLINGMASK_CODES_H

#include "bits.h"

enum {
    KM_OFFSET = 48,
    KM_GROUP_BITS = 5,
    KM_GROUP = 0x1f,
    KM_SIGN = 0x10,
    KM_MORE = 0x20,
    KM_MAX_GROUPS = 7 /* differences of 32-bit runs take 33 bits and a sign */
};

/* Group i of the number, in byte i. */
static inline uint64_t km_group(uint64_t number, unsigned i)
{
    return (number >> (KM_GROUP_BITS * i) & KM_GROUP) << (8 * i);
}

/* Writes a number, which is below 0 if its top bit is set, and returns where its
 * code ends. How long that is is anybody's guess, so nothing branches on it, save
 * that few have more than three characters: eight are written. */
static inline char *km_write_code(uint64_t number, char *text)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    /* A group for every five bits, of which one is the sign. */
    uint64_t sign = ~(number >> 63) + 1;
    unsigned groups = km_bit_length((number ^ sign) | 1) / KM_GROUP_BITS + 1;
    uint64_t characters = km_group(number, 0) | km_group(number, 1) | km_group(number, 2);
    if (groups > 3)
        for (unsigned i = 3; i < KM_MAX_GROUPS; i++)
            characters |= km_group(number, i);
    uint64_t but_last = (UINT64_C(1) << (8 * (groups - 1))) - 1;
    km_store_bytes(characters + each * KM_OFFSET + (each * KM_MORE & but_last), text);
    return text + groups;
}

#endif
