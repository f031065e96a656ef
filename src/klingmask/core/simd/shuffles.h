/* Shuffles of 16 bytes that close up what is kept of them, in order, with 0 behind: tables for
 * levels whose instruction sets have shuffles but no compression. */
#ifndef KLINGMASK_SIMD_SHUFFLES_H
#define KLINGMASK_SIMD_SHUFFLES_H

#include <stdint.h>

/* Of eight numbers of 16 bits, those whose bits are set in the index. */
extern uint8_t km_close_numbers[256][16];

/* Of four codes of up to four characters, one in each 32 bits, the characters they have: one more
 * than the number of two bits, of which the low one is bit i of the index and the high one bit
 * 4 + i. */
extern uint8_t km_close_codes[256][16];

/* Fills both. */
void km_fill_shuffles(void);

#endif
