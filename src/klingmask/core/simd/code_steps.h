/* How counts text is read with vectors, and what the steps of generic/read_codes.inc pass on.
 *
 * A step looks at the next 16 or 32 characters, wherever codes start and end in them. A code is
 * evaluated at its last character, from that one and up to two before it. Its number is a
 * difference of 16 bits. The differences of many steps are gathered in a block, and then all of
 * them are added up to runs: long codes give few differences a step, too few to fill the vectors of
 * the addition.
 *
 * Which characters end a code is found with sets of bits, which are the same for all levels. The
 * vectors are the level's.
 */
#ifndef KLINGMASK_SIMD_CODE_STEPS_H
#define KLINGMASK_SIMD_CODE_STEPS_H

#include "codes.h"
#include "simd/simd.h"

enum {
    BLOCK_DIFFERENCES = 512, /* a block is complete with so many; the last step may give more */
    PADDING = 16, /* differences of 0 behind them: the addition's vectors have up to 16 */
    RUN_BITS = 25 /* of a run less one: so the runs of a block, in eight lanes or more, add
                     up to less than 2**32 in each */
};

/* Where reading stands. */
typedef struct {
    const char *text, *at, *end;
    uint64_t history; /* bit 63 - i: the character at[-1 - i] has another behind it in its code */
    bool stopped;     /* before a code of more than three characters */
} code_cursor;

/* The characters of a step: from[0] and on, as many as the level's vectors hold. The sets have bit
 * i for the character from[i]. */
typedef struct {
    const char *from;      /* two characters before it can be read, too */
    unsigned known, count; /* first some that the steps before have read, then those to be read */
    uint32_t unread;       /* the latter */
    uint32_t more;         /* characters that have another behind them in their code */
    uint32_t second;       /* characters that have one or more before them in their code */
    uint32_t third;        /* two or more */
    unsigned limit;        /* the first unread character that has three or more before it; if there
                              is none, the step's length */
    uint32_t ends;         /* unread characters before the limit that end their code */
} code_step;

#endif
