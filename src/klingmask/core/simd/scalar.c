/* The lowest level: the kernels in plain C. They are the reference for the other levels, and run on
 * machines that have none of these. */
#include "codes.h"
#include "simd/level.h"
#include "simd/plain.h"

#include <string.h>

/* ---- pixels -> bits ---- */

static inline uint64_t pack(const uint8_t *pixels, size_t n)
{
    return pack_plain(pixels, n);
}

#include "simd/generic/pack_rows.inc"

typedef uint64_t line_bits;

static inline line_bits no_bits(void)
{
    return 0;
}

static inline line_bits or_line(line_bits any, const uint8_t *pixels)
{
    uint64_t words[KM_VECTOR_WORDS];
    memcpy(words, pixels, sizeof words);
    for (unsigned i = 0; i < KM_VECTOR_WORDS; i++)
        any |= words[i];
    return any;
}

static inline bool is_zero(line_bits any)
{
    return any == 0;
}

#include "simd/generic/skip_background.inc"

/* ---- bits -> changes ---- */

static inline unsigned count_ones(uint64_t word)
{
    return km_count_ones(word);
}

enum { WORDS_AT_ONCE = 1 };

static inline void find_changed_columns(const uint64_t *bits, size_t rows, size_t words,
                                        uint64_t *changed)
{
    const uint64_t *above = bits - words;
    *changed = 0;
    for (size_t i = 0; i < rows * words; i += words)
        *changed |= bits[i] ^ above[i];
}

/* Swaps bits of two rows that are `by` rows apart. Both consist of groups of 2 * by bits. The high
 * half of each group of the first row changes places with the low half of the same group of the
 * second row. The mask has the bits of the low halves. */
static inline void swap_bits(uint64_t *low, uint64_t *high, unsigned by, uint64_t mask)
{
    uint64_t other = (*low >> by ^ *high) & mask;
    *high ^= other;
    *low ^= other << by;
}

/* Swaps two quarters of the tile, then two quarters of each of its quarters, and so on (H. S.
 * Warren, Hacker's Delight, section 7-3). */
static inline void transpose(uint64_t *tile)
{
    uint64_t mask = ~UINT64_C(0);
    for (unsigned by = KM_WORD / 2; by > 0; by /= 2) {
        mask ^= mask << by;
        for (unsigned i = 0; i < KM_WORD; i++)
            if (!(i & by))
                swap_bits(&tile[km_tile_slot(i)], &tile[km_tile_slot(i + by)], by, mask);
    }
}

#include "simd/generic/transpose_rows.inc"

static inline uint64_t find_changed_words(const uint64_t *bits, size_t n)
{
    uint64_t changed = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t last = bits[(ptrdiff_t)i - 1] >> (KM_WORD - 1); /* bit of the word before */
        changed |= (uint64_t)(bits[i] + last != 0) << i; /* without changes: 0 + 0, or ~0 + 1 */
    }
    return changed;
}

#include "simd/generic/list_line.inc"

/* ---- changes -> runs ---- */

KM_KERNEL static uint32_t *write_dense(const km_changes *listed, size_t n, uint32_t end,
                                       uint32_t *runs)
{
    return write_changes_plain(listed, n, end, runs);
}

/* ---- runs -> bits ---- */

static inline void set_range(uint64_t *bits, uint64_t from, uint64_t to)
{
    km_set_range(bits, 1, from, to);
}

#define SET_RUNS set_runs
#define SET_RANGE set_range
#include "simd/generic/set_runs.inc"

/* ---- bits and runs -> pixels ---- */

/* Pixel i of eight is `value` if bit i is set, else 0. */
static inline void expand8(uint64_t bits, uint8_t value, uint8_t *pixels)
{
    /* Copies the bits to all bytes. Byte i keeps only bit i, which then moves to its bit 0. */
    uint64_t one_each = ((bits & 0xff) * KM_BYTES_OF_1) & UINT64_C(0x8040201008040201);
    km_store_bytes((((one_each + KM_BYTES_OF_7F) >> 7) & KM_BYTES_OF_1) * value, pixels);
}

static inline void expand(uint64_t word, uint8_t value, uint8_t *pixels)
{
    for (unsigned i = 0; i < KM_WORD; i += 8)
        expand8(word >> i, value, pixels + i);
}

/* Plain C has no stores past the caches. */
static inline void expand_past_caches(uint64_t word, uint8_t value, uint8_t *pixels)
{
    expand(word, value, pixels);
}

static inline void finish_past_caches(void)
{
}

#include "simd/generic/expand_some.inc"
#include "simd/generic/paint_rows.inc"

KM_KERNEL static void clear(uint8_t *pixels, size_t n, bool in_l2)
{
    (void)in_l2;
    memset(pixels, 0, n);
}

KM_KERNEL static void fill_runs(const uint32_t *runs, size_t n_runs, uint8_t value, uint8_t *pixels)
{
    for (size_t i = 0; i < n_runs; i++) {
        memset(pixels, i & 1 ? 0 : value, runs[i]);
        pixels += runs[i];
    }
}

/* ---- runs -> counts text ---- */

KM_KERNEL char *km_write_codes_plain(const uint32_t *runs, size_t n, char *text)
{
    for (size_t i = 0; i < n; i++)
        text = km_write_code((uint64_t)runs[i] - runs[(ptrdiff_t)i - 2], text);
    return text;
}

/* ---- colours ---- */

static inline void tint_span(const km_tint *tint, uint8_t *pixels, size_t n)
{
    if (tint->keep == 0) {
        tint_opaque(tint, pixels, n);
        return;
    }
    for (size_t i = 0; i < n; i += KM_TINT_BYTES)
        tint_plain(tint, pixels + i, 0, n - i < KM_TINT_BYTES ? n - i : KM_TINT_BYTES);
}

#include "simd/generic/blend.inc"

KM_KERNEL static void stamp(const uint64_t *bits, size_t n, const uint8_t *color, uint8_t *pixels)
{
    stamp_plain(bits, 0, n, color, pixels);
}

/* ---- measures ---- */

KM_KERNEL static uint64_t count_shared(const km_band_pair *block)
{
    uint64_t count = 0;
    const uint64_t *a = block->a, *b = block->b;
    for (size_t band = 0; band < block->bands; band++, a += block->width_a, b += block->width_b)
        for (size_t i = 0; i < block->columns; i++)
            count += km_count_ones(a[i] & b[i]);
    return count;
}

typedef uint64_t sums;

static inline sums no_sums(void)
{
    return 0;
}

static inline sums add_shared(sums sum, const km_spans *a, size_t i, const km_spans *b, size_t j)
{
    for (unsigned n = 0; n < KM_SPAN_COLUMNS; n++, i++, j++) {
        uint16_t end = a->ends[i] < b->ends[j] ? a->ends[i] : b->ends[j];
        uint16_t first = a->firsts[i] > b->firsts[j] ? a->firsts[i] : b->firsts[j];
        sum += end > first ? (unsigned)(end - first) : 0;
    }
    return sum;
}

static inline uint64_t total_of(sums sum)
{
    return sum;
}

#include "simd/generic/overlap_spans.inc"

const km_kernels km_scalar = {
    .pack_rows = pack_rows,
    .skip_background = skip_background,
    .transpose_rows = transpose_rows,
    .list_line = list_line,
    .write_dense = write_dense,
    .set_runs = set_runs,
    .paint_rows = paint_rows,
    .clear = clear,
    .fill_runs = fill_runs,
    .write_codes = km_write_codes_plain,
    .blend = blend,
    .stamp = stamp,
    .count_shared = count_shared,
    .overlap_spans = overlap_spans,
};
