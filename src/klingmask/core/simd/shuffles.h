/* Tables of shuffles, for instruction sets that can shuffle but not compress. Each keeps some of 16
 * bytes, in order and side by side, followed by zeros. */
#ifndef KLINGMASK_SIMD_SHUFFLES_H
#define KLINGMASK_SIMD_SHUFFLES_H

#include <stdint.h>

/* Of eight numbers of 16 bits, keeps number i if bit i of the index is set. */
extern uint8_t km_close_numbers[256][16];

/* Of four codes in 32 bits each, keeps the characters that belong to them. Code i has 1 + a + 2 * b
 * characters, where a is bit i of the index and b is bit 4 + i. */
extern uint8_t km_close_codes[256][16];

/* Fills the tables. */
void km_fill_shuffles(void);

#endif
