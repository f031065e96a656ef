/* How counts text is read with vectors: the data of the steps of generic/read_codes.inc.
 *
 * A step looks at the next 16 or 32 characters, wherever codes start and end in them. A code is
 * evaluated at its last character, from that one and up to two before it. Its number is a
 * difference of 16 bits. The differences of many steps are gathered in a block, and then added up
 * to runs: if codes are long, one step has too few differences to fill the vectors of the addition.
 *
 * The characters that end a code are found with sets of bits, in the same way at all levels. The
 * vectors differ from level to level.
 */
#ifndef KLINGMASK_SIMD_CODE_STEPS_H
#define KLINGMASK_SIMD_CODE_STEPS_H

#include "codes.h"
#include "simd/simd.h"

enum {
    BLOCK_DIFFERENCES = 512, /* a block is complete with this many; its last step may add more */
    PADDING = 16, /* differences of 0 after the last: the addition reads up to 16 at once */
    RUN_BITS = 25 /* of a run less one: so the runs of a block, added up in eight lanes or
                     more, stay below 2**32 in each lane */
};

/* Where reading stands. */
typedef struct {
    const char *text, *at, *end;
    uint64_t history; /* bit 63 - i: the code of at[-1 - i] goes on after that character */
    bool stopped;     /* reading stopped before a code of more than three characters */
} code_cursor;

/* The characters of a step: from[0] and on, as many as the level's vectors hold. The sets have bit
 * i for the character from[i]. */
typedef struct {
    const char *from;      /* the two characters before it are readable, too */
    unsigned known, count; /* characters already read by earlier steps; characters to read now */
    uint32_t unread;       /* the set of the characters to read now */
    uint32_t more;         /* characters with another after them in their code */
    uint32_t second;       /* characters with one or more before them in their code */
    uint32_t third;        /* characters with two or more before them in their code */
    unsigned limit;        /* the first unread character with three or more before it in its code;
                              if there is none, CHARACTERS */
    uint32_t ends;         /* unread characters before the limit that end their code */
} code_step;

#endif
