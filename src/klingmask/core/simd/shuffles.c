/* Fills the tables that shuffles.h describes. */
#include "simd/shuffles.h"

enum { ZERO = 0x80 }; /* an index that gives a byte of 0 */

uint8_t km_close_numbers[256][16], km_close_codes[256][16];

void km_fill_shuffles(void)
{
    for (unsigned index = 0; index < 256; index++) {
        unsigned n = 0, m = 0;
        for (unsigned lane = 0; lane < 8; lane++)
            if (index >> lane & 1) {
                km_close_numbers[index][n++] = (uint8_t)(2 * lane);
                km_close_numbers[index][n++] = (uint8_t)(2 * lane + 1);
            }
        while (n < 16)
            km_close_numbers[index][n++] = ZERO;
        for (unsigned lane = 0; lane < 4; lane++) {
            unsigned bytes = 1 + (index >> lane & 1) + 2 * (index >> (4 + lane) & 1);
            for (unsigned byte = 0; byte < bytes; byte++)
                km_close_codes[index][m++] = (uint8_t)(4 * lane + byte);
        }
        while (m < 16)
            km_close_codes[index][m++] = ZERO;
    }
}
