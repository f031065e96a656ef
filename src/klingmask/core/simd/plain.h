/* Plain C that the levels share: for the rest after the last whole vector, and for rare cases. */
#ifndef KLINGMASK_SIMD_PLAIN_H
#define KLINGMASK_SIMD_PLAIN_H

#include "runs.h"
#include "simd/simd.h"

#include <string.h>

#define KM_BYTES_OF_1 UINT64_C(0x0101010101010101)
#define KM_BYTES_OF_7F UINT64_C(0x7f7f7f7f7f7f7f7f)

/* ---- pixels and bits ---- */

/* Packs eight pixels: bit i is 1 if pixel i is not 0. */
static inline uint64_t pack8_plain(const uint8_t *pixels)
{
    uint64_t eight = km_load_bytes(pixels);
    /* Bit 0 of each byte: whether the byte is not 0. */
    uint64_t set = ((((eight & KM_BYTES_OF_7F) + KM_BYTES_OF_7F) | eight) >> 7) & KM_BYTES_OF_1;
    /* Moves bit 0 of byte i to bit 56 + i; no two partial products share a bit. */
    return (set * UINT64_C(0x0102040810204080)) >> 56;
}

/* The bits of n <= 64 pixels, the others 0. The last eight pixels may overlap those before: their
 * bits agree. */
static inline uint64_t pack_plain(const uint8_t *pixels, size_t n)
{
    uint64_t word = 0;
    if (n < 8) {
        for (size_t i = 0; i < n; i++)
            word |= (uint64_t)(pixels[i] != 0) << i;
        return word;
    }
    for (size_t i = 0; i + 8 < n; i += 8)
        word |= pack8_plain(pixels + i) << i;
    return word | pack8_plain(pixels + n - 8) << (n - 8);
}

/* As stamp, for the pixels first to n - 1. */
static inline void stamp_plain(const uint64_t *bits, size_t first, size_t n, const uint8_t *color,
                               uint8_t *pixels)
{
    const uint8_t transparent[4] = {0};
    for (size_t i = first; i < n; i++)
        memcpy(pixels + 4 * i, bits[i / KM_WORD] >> i % KM_WORD & 1 ? color : transparent, 4);
}

/* ---- tints ---- */

/* Blends the tint over the bytes first to n - 1 of whole pixels, which start at byte 0. n is at
 * most KM_TINT_BYTES. */
static inline void tint_plain(const km_tint *tint, uint8_t *pixels, size_t first, size_t n)
{
    for (size_t i = first; i < n; i++) {
        unsigned sum = tint->added[i % KM_TINT_BYTES] + (unsigned)pixels[i] * tint->keep;
        pixels[i] = (uint8_t)((sum * 257) >> 16);
    }
}

/* Writes an opaque tint (`keep` is 0) over n <= 2 * KM_TINT_BYTES bytes. */
static inline void tint_opaque(const km_tint *tint, uint8_t *pixels, size_t n)
{
    memcpy(pixels, tint->color, n < KM_TINT_BYTES ? n : KM_TINT_BYTES);
    if (n > KM_TINT_BYTES)
        memcpy(pixels + KM_TINT_BYTES, tint->color, n - KM_TINT_BYTES);
}

/* ---- runs and codes ---- */

/* As write_dense. */
static inline uint32_t *write_changes_plain(const km_changes *listed, size_t n, uint32_t end,
                                            uint32_t *runs)
{
    for (size_t i = 0; i < n; i++)
        runs = km_write_ends(listed[i], &end, runs);
    return runs;
}

/* As write_codes; defined in scalar.c. Loops over vectors need the registers, so this is a call. */
char *km_write_codes_plain(const uint32_t *runs, size_t n, char *text);

#endif
