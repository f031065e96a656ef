/* The characters of counts text, which counts.c describes. */
#ifndef KLINGMASK_CODES_H
#define KLINGMASK_CODES_H

#include "bits.h"

enum {
    KM_OFFSET = 48, /* the character of a last group of 0 */
    KM_GROUP_BITS = 5,
    KM_GROUP = 0x1f,  /* these bits of a character, less KM_OFFSET, are its group */
    KM_SIGN = 0x10,   /* of the last group */
    KM_MORE = 0x20,   /* another character follows in the code */
    KM_MAX_GROUPS = 7 /* a difference of 32-bit runs takes 33 bits and a sign */
};

/* Group i of a number, in byte i of the result. */
static inline uint64_t km_group(uint64_t number, unsigned i)
{
    return (number >> (KM_GROUP_BITS * i) & KM_GROUP) << (8 * i);
}

/* Writes the code of a number, which is negative if its top bit is set. Returns where the code
 * ends. Eight characters are written, without a branch on the length of the code, which is hard to
 * predict. Only codes of more than three characters are told apart: they are rare. */
static inline char *km_write_code(uint64_t number, char *text)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    /* As many groups as hold the bits and the sign. */
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
