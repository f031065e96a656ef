/* The kernels in plain C: what each of them does, and what runs where no vectors do. */
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
    uint64_t words[KM_LINE / 8];
    memcpy(words, pixels, sizeof words);
    for (unsigned i = 0; i < KM_LINE / 8; i++)
        any |= words[i];
    return any;
}

static inline bool is_zero(line_bits any)
{
    return any == 0;
}

#include "simd/generic/skip_clear.inc"

/* ---- bits -> changes ---- */

static inline unsigned count_ones(uint64_t word)
{
    return km_count_ones(word);
}

enum { LANES = 1 };

static inline void find_rows(const uint64_t *bits, size_t rows, size_t words, uint64_t *any)
{
    const uint64_t *above = bits - words;
    *any = 0;
    for (size_t i = 0; i < rows * words; i += words)
        *any |= bits[i] ^ above[i];
}

/* Of two rows that are `by` apart, the high halves of the low one's groups of 2 * by bits change
 * places with the low halves of the high one's; the mask has the low halves. */
static inline void swap_bits(uint64_t *low, uint64_t *high, unsigned by, uint64_t mask)
{
    uint64_t other = (*low >> by ^ *high) & mask;
    *high ^= other;
    *low ^= other << by;
}

/* Swaps halves of the tile, then halves of those, and so on (H. S. Warren, Hacker's Delight,
 * 7-3). */
static inline void transpose(uint64_t *tile)
{
    uint64_t mask = ~UINT64_C(0);
    for (unsigned by = KM_WORD / 2; by > 0; by /= 2) {
        mask ^= mask << by;
        for (unsigned i = 0; i < KM_WORD; i++)
            if (!(i & by))
                swap_bits(&tile[km_place(i)], &tile[km_place(i + by)], by, mask);
    }
}

#include "simd/generic/transpose_rows.inc"

static inline uint64_t find_line(const uint64_t *bits, size_t n)
{
    uint64_t found = 0;
    for (size_t i = 0; i < n; i++)
        found |= (uint64_t)(bits[i] + (bits[(ptrdiff_t)i - 1] >> (KM_WORD - 1)) != 0) << i;
    return found;
}

#include "simd/generic/list_line.inc"

/* ---- changes and bits -> runs, and back ---- */

KM_KERNEL static uint32_t *write_dense(const km_changes *listed, size_t n, uint32_t end,
                                       uint32_t *runs)
{
    return write_changes_plain(listed, n, end, runs);
}

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
    /* Byte i keeps bit i alone, which then moves to its bit 0. */
    uint64_t one_each = ((bits & 0xff) * KM_BYTES_OF_1) & UINT64_C(0x8040201008040201);
    uint64_t eight = (((one_each + KM_BYTES_OF_7F) >> 7) & KM_BYTES_OF_1) * value;
    for (unsigned i = 0; i < 8; i++)
        pixels[i] = (uint8_t)(eight >> (8 * i));
}

static inline void expand(uint64_t word, uint8_t value, uint8_t *pixels)
{
    for (unsigned i = 0; i < KM_WORD; i += 8)
        expand8(word >> i, value, pixels + i);
}

/* Plain C cannot store past the caches. */
static inline void stream(uint64_t word, uint8_t value, uint8_t *pixels)
{
    expand(word, value, pixels);
}

static inline void stream_end(void)
{
}

#include "simd/generic/expand_some.inc"
#include "simd/generic/paint.inc"

KM_KERNEL static void clear(uint8_t *pixels, size_t n, bool near)
{
    (void)near;
    memset(pixels, 0, n);
}

KM_KERNEL static void fill(const uint32_t *runs, size_t n_runs, uint8_t value, uint8_t *pixels)
{
    for (size_t i = 0; i < n_runs; i++) {
        memset(pixels, i & 1 ? 0 : value, runs[i]);
        pixels += runs[i];
    }
}

/* ---- runs -> counts text; reading it code by code has no kernel, see simd.h ---- */

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

/* ---- counting ---- */

KM_KERNEL static uint64_t count_shared(const km_block *block)
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

static inline sums add_shared(sums sum, const km_tier *a, size_t i, const km_tier *b, size_t j)
{
    for (unsigned n = 0; n < KM_GRID; n++, i++, j++) {
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

#include "simd/generic/overlap.inc"

const km_kernels km_scalar = {
    .pack_rows = pack_rows,
    .skip_clear = skip_clear,
    .transpose_rows = transpose_rows,
    .list_line = list_line,
    .write_dense = write_dense,
    .set_runs = set_runs,
    .paint = paint,
    .clear = clear,
    .fill = fill,
    .write_codes = km_write_codes_plain,
    .blend = blend,
    .stamp = stamp,
    .count_shared = count_shared,
    .overlap = overlap,
};
