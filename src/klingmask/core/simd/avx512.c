/* AVX-512: kernels with vectors of 512 bits. Those for counts text are in avx512_codes.c; those
 * that neither file has are those of AVX2. */
#include "simd/level.h"

#if KM_X86_LEVELS

#include <immintrin.h>
#include <string.h>

KM_TARGET_BEGIN(KM_AVX512_SETS)

#include "simd/avx2.h"

typedef __m512i vector;
enum { VECTOR_BYTES = 64 };

static inline void store(void *to, vector v)
{
    _mm512_storeu_si512(to, v);
}

static inline vector repeat(uint8_t byte)
{
    return _mm512_set1_epi8((char)byte);
}

/* ---- pixels -> bits ---- */

static inline uint64_t pack(const uint8_t *pixels, size_t n)
{
    __m512i x = _mm512_maskz_loadu_epi8(_bzhi_u64(~UINT64_C(0), (unsigned)n), pixels);
    return _mm512_test_epi8_mask(x, x);
}

#include "simd/generic/pack_rows.inc"

typedef __m512i line_bits;

static inline line_bits no_bits(void)
{
    return _mm512_setzero_si512();
}

static inline line_bits or_line(line_bits any, const uint8_t *pixels)
{
    return _mm512_or_si512(any, _mm512_loadu_si512(pixels));
}

static inline bool is_zero(line_bits any)
{
    return _mm512_test_epi64_mask(any, any) == 0;
}

#include "simd/generic/skip_background.inc"

/* ---- bits -> changes ---- */

enum { WORDS_AT_ONCE = 8 };

static inline void find_changed_columns(const uint64_t *bits, size_t rows, size_t words,
                                        uint64_t *changed)
{
    __m512i above = _mm512_loadu_si512(bits - words), found = _mm512_setzero_si512();
    for (size_t y = 0; y < rows; y++) {
        __m512i row = _mm512_loadu_si512(bits + y * words);
        found = _mm512_or_si512(found, _mm512_xor_si512(row, above));
        above = row;
    }
    store(changed, found);
}

#include "simd/generic/transpose_rows.inc"

/* There is no branch on which words have changes. Of KM_VECTOR_WORDS words, those with changes are
 * compressed to the front, and so are their first pixels. Then both are interleaved to items. */
_Static_assert(sizeof(km_changes) == 16 && offsetof(km_changes, first) == 8,
               "an item is two words: the bits, and the first pixel");
KM_KERNEL static size_t list_line(const uint64_t *bits, size_t words, uint32_t pixel,
                                  km_changes *listed, km_tally *tally)
{
    const __m512i items_0_to_3 = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i items_4_to_7 = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    __m512i first = _mm512_add_epi64(_mm512_set1_epi64(pixel),
                                     _mm512_setr_epi64(0, 64, 128, 192, 256, 320, 384, 448));
    __m512i sum = _mm512_setzero_si512();
    km_changes *next = listed;
    for (size_t i = 0; i < words; i += KM_VECTOR_WORDS) {
        size_t left = words - i < KM_VECTOR_WORDS ? words - i : KM_VECTOR_WORDS;
        __mmask8 there = (__mmask8)_bzhi_u32(0xff, (unsigned)left);
        __m512i word = _mm512_maskz_loadu_epi64(there, bits + i);
        __m512i before = _mm512_maskz_loadu_epi64(there, bits + i - 1);
        __m512i changes = _mm512_xor_si512(word, _mm512_shldi_epi64(word, before, 1));
        __mmask8 some = _mm512_test_epi64_mask(changes, changes);
        sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(changes));
        __m512i bits_of_items = _mm512_maskz_compress_epi64(some, changes);
        __m512i firsts = _mm512_maskz_compress_epi64(some, first);
        store(next, _mm512_permutex2var_epi64(bits_of_items, items_0_to_3, firsts));
        store(next + 4, _mm512_permutex2var_epi64(bits_of_items, items_4_to_7, firsts));
        next += _mm_popcnt_u32(some);
        first = _mm512_add_epi64(first, _mm512_set1_epi64(KM_VECTOR_WORDS * KM_WORD));
    }
    tally->changes += (size_t)_mm512_reduce_add_epi64(sum);
    tally->words += (size_t)(next - listed);
    return (size_t)(next - listed);
}

/* ---- bits and runs -> pixels ---- */

/* The 64 pixels of a word. The compiler makes the vector of values once, outside the loops. With
 * _mm512_maskz_set1_epi8, the value would move from a general register for each word. */
static inline __m512i spread(uint64_t word, uint8_t value)
{
    return _mm512_maskz_mov_epi8(word, repeat(value));
}

static inline void expand(uint64_t word, uint8_t value, uint8_t *pixels)
{
    store(pixels, spread(word, value));
}

static inline void expand_some(uint64_t word, size_t n, uint8_t value, uint8_t *pixels)
{
    _mm512_mask_storeu_epi8(pixels, _bzhi_u64(~UINT64_C(0), (unsigned)n), spread(word, value));
}

static inline void expand_past_caches(uint64_t word, uint8_t value, uint8_t *pixels)
{
    _mm512_stream_si512((void *)pixels, spread(word, value));
}

static inline void finish_past_caches(void)
{
    _mm_sfence();
}

#include "simd/generic/paint_rows.inc"

/* Hides from the compiler that these are zeros, as in avx2.c. */
static inline void clear_line(uint8_t *line)
{
    __m512i zero = _mm512_setzero_si512();
    __asm__("" : "+v"(zero));
    store(line, zero);
}

#include "simd/generic/clear.inc"
#include "simd/generic/fill_runs.inc"

/* ---- colours ---- */

/* Blends the tint over 32 bytes, in sums of 16 bits: see km_tint. */
static inline __m256i tint32(__m256i channels, const uint16_t *added, __m512i keep)
{
    __m512i x = _mm512_mullo_epi16(_mm512_cvtepu8_epi16(channels), keep);
    x = _mm512_add_epi16(x, _mm512_loadu_si512(added));
    return _mm512_cvtepi16_epi8(_mm512_mulhi_epu16(x, _mm512_set1_epi16(257)));
}

static inline void tint_some(uint8_t *pixels, __mmask32 mask, const uint16_t *added, __m512i keep)
{
    __m256i channels = _mm256_maskz_loadu_epi8(mask, pixels);
    _mm256_mask_storeu_epi8(pixels, mask, tint32(channels, added, keep));
}

/* Blends the tint over all 64 pixels of a word: n bytes. */
static inline void tint_word(uint8_t *pixels, unsigned n, const km_tint *tint, __m512i keep)
{
    if (tint->keep == 0) {
        for (unsigned j = 0; j < n; j += 64)
            store(pixels + j, _mm512_loadu_si512(tint->color + j % KM_TINT_BYTES));
        return;
    }
    for (unsigned j = 0; j < n; j += 32) {
        __m256i *place = (__m256i *)(pixels + j);
        const uint16_t *added = tint->added + j % KM_TINT_BYTES;
        _mm256_storeu_si256(place, tint32(_mm256_loadu_si256(place), added, keep));
    }
}

/* Does not cut words into spans as generic/blend.inc does. A word of ones is blended as a whole; in
 * other words, the bits of 16 pixels become a mask of their bytes. */
KM_KERNEL static void blend(const uint64_t *bits, size_t words, unsigned channels,
                            const km_tint *tint, uint8_t *pixels)
{
    enum { PIXELS_AT_ONCE = 16 };
    __m512i keep = _mm512_set1_epi16((short)tint->keep);
    uint64_t first_bytes = channels == 3 ? UINT64_C(0x249249249249) : UINT64_C(0x1111111111111111);
    for (size_t i = 0; i < words; i++) {
        uint8_t *at = pixels + i * KM_WORD * channels;
        if (bits[i] == ~UINT64_C(0)) {
            tint_word(at, KM_WORD * channels, tint, keep);
            continue;
        }
        for (uint64_t word = bits[i]; word;
             word >>= PIXELS_AT_ONCE, at += PIXELS_AT_ONCE * channels) {
            uint64_t mask = _pdep_u64(word & 0xffff, first_bytes) * (channels == 3 ? 7 : 15);
            if (mask == 0)
                continue;
            tint_some(at, (__mmask32)mask, tint->added, keep);
            tint_some(at + 32, (__mmask32)(mask >> 32), tint->added + 32, keep);
        }
    }
}

KM_KERNEL static void stamp(const uint64_t *bits, size_t n, const uint8_t *color, uint8_t *pixels)
{
    int value;
    memcpy(&value, color, sizeof value);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 set = (__mmask16)(bits[i / KM_WORD] >> i % KM_WORD);
        __m512i sixteen = _mm512_maskz_set1_epi32(set, value);
        if (n - i >= 16)
            store(pixels + 4 * i, sixteen);
        else
            _mm512_mask_storeu_epi32(pixels + 4 * i,
                                     (__mmask16)_bzhi_u32(UINT32_MAX, (unsigned)(n - i)), sixteen);
    }
}

/* ---- measures ---- */

KM_KERNEL static uint64_t count_shared(const km_band_pair *block)
{
    __m512i sum = _mm512_setzero_si512();
    const uint64_t *a = block->a, *b = block->b;
    for (size_t band = 0; band < block->bands; band++, a += block->width_a, b += block->width_b) {
        for (size_t i = 0; i < block->columns; i += KM_VECTOR_WORDS) {
            __m512i both = _mm512_and_si512(_mm512_load_si512(a + i), _mm512_load_si512(b + i));
            sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(both));
        }
    }
    return (uint64_t)_mm512_reduce_add_epi64(sum);
}

KM_TARGET_END

const km_kernels km_avx512 = {
    .pack_rows = pack_rows,
    .skip_background = skip_background,
    .transpose_rows = transpose_rows,
    .list_line = list_line,
    .paint_rows = paint_rows,
    .clear = clear,
    .fill_runs = fill_runs,
    .blend = blend,
    .stamp = stamp,
    .count_shared = count_shared,
};

#endif
