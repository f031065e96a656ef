/* Steps that avx2.c and avx512.c share. Included behind KM_TARGET_BEGIN. */
#ifndef KLINGMASK_SIMD_AVX2_H
#define KLINGMASK_SIMD_AVX2_H

#include "simd/simd.h"

#include <immintrin.h>

static inline unsigned count_ones(uint64_t word)
{
    return (unsigned)_mm_popcnt_u64(word);
}

/* As swap_bits of scalar.c, of four pairs of rows. */
static inline void swap_bits(__m256i *low, __m256i *high, int by, uint64_t mask)
{
    __m256i other = _mm256_xor_si256(_mm256_srli_epi64(*low, by), *high);
    other = _mm256_and_si256(other, _mm256_set1_epi64x((long long)mask));
    *high = _mm256_xor_si256(*high, other);
    *low = _mm256_xor_si256(*low, _mm256_slli_epi64(other, by));
}

/* Swaps at distances of 1 and 2, then of 4 and 8 rows. Those at 16 and 32 are within a vector, see
 * km_tile_slot: one shuffle gathers, four times, 16 bits of each of its four words. */
static inline void transpose(uint64_t *tile)
{
    __m256i *at = (__m256i *)tile;
    for (unsigned i = 0; i < 16; i += 4) {
        __m256i v[4];
        for (unsigned j = 0; j < 4; j++)
            v[j] = _mm256_loadu_si256(at + i + j);
        swap_bits(&v[0], &v[1], 1, UINT64_C(0x5555555555555555));
        swap_bits(&v[2], &v[3], 1, UINT64_C(0x5555555555555555));
        swap_bits(&v[0], &v[2], 2, UINT64_C(0x3333333333333333));
        swap_bits(&v[1], &v[3], 2, UINT64_C(0x3333333333333333));
        for (unsigned j = 0; j < 4; j++)
            _mm256_storeu_si256(at + i + j, v[j]);
    }
    const __m256i pairs = _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15, 0,
                                           1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    const __m256i fours = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (unsigned i = 0; i < 4; i++) {
        __m256i v[4];
        for (unsigned j = 0; j < 4; j++)
            v[j] = _mm256_loadu_si256(at + i + 4 * j);
        swap_bits(&v[0], &v[1], 4, UINT64_C(0x0f0f0f0f0f0f0f0f));
        swap_bits(&v[2], &v[3], 4, UINT64_C(0x0f0f0f0f0f0f0f0f));
        swap_bits(&v[0], &v[2], 8, UINT64_C(0x00ff00ff00ff00ff));
        swap_bits(&v[1], &v[3], 8, UINT64_C(0x00ff00ff00ff00ff));
        for (unsigned j = 0; j < 4; j++)
            _mm256_storeu_si256(at + i + 4 * j, _mm256_permutevar8x32_epi32(
                                                    _mm256_shuffle_epi8(v[j], pairs), fours));
    }
}

#endif
