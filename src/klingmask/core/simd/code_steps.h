/* How counts text is read with vectors: what the steps of generic/read_codes.inc pass on.
 *
 * A step looks at some characters at once. A code is read at its last character, from that and up
 * to two before it, so steps need not start where codes do. The numbers of the codes close up as
 * differences of 16 bits. A block of those becomes runs at once: a step has few codes if they are
 * long, and vectors that add up want many.
 *
 * Which characters go on and which end a code is worked out on sets of bits, in the same way for
 * all levels; the level has the vectors.
 */
#ifndef KLINGMASK_SIMD_CODE_STEPS_H
#define KLINGMASK_SIMD_CODE_STEPS_H

#include "codes.h"
#include "simd/simd.h"

enum {
    BLOCK_DIFFERENCES = 512, /* of a block, and up to a step's characters more */
    LARGEST_BITS = 25,       /* of a run less one: those of a block add up in 32-bit lanes */
    PADDING = 16             /* 0 behind a block, as long as the longest vector that adds up */
};

/* Where reading stands. */
typedef struct {
    const char *text, *at, *end;
    uint64_t history; /* bit 63 - i: whether a code goes on after the character at[-1 - i] */
    bool stopped;     /* before a code of more than three characters */
} code_cursor;

/* The characters of a step. Bit i of each set is for the character from[i]. */
typedef struct {
    const char *from;       /* the first; two before it can be read, too */
    unsigned length, known; /* the new characters, and those before them that are known already */
    uint32_t there;         /* the new ones */
    uint32_t more;          /* those after which their code goes on */
    uint32_t second, third; /* those that have one more, two more before them in their code */
    unsigned limit;         /* the first new one that has three more; if none, the step's length */
    uint32_t ends;          /* the new ones before the limit that end their code */
} code_step;

#endif
