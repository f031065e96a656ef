/* Tables of shuffles. Each takes some of 16 bytes, in order and side by side, with 0 behind them:
 * for instruction sets that can shuffle but not compress. */
#ifndef KLINGMASK_SIMD_SHUFFLES_H
#define KLINGMASK_SIMD_SHUFFLES_H

#include <stdint.h>

/* Takes, of eight numbers of 16 bits, number i if bit i of the index is set. */
extern uint8_t km_close_numbers[256][16];

/* Takes, of four codes in 32 bits each, the characters that they have: code i has one more than the
 * number whose low bit is bit i of the index and whose high bit is bit 4 + i. */
extern uint8_t km_close_codes[256][16];

/* Fills the tables. */
void km_fill_shuffles(void);

#endif
