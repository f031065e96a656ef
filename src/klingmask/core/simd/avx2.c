/* AVX2: kernels with vectors of 256 bits. Those for counts text are in avx2_codes.c. */
#include "simd/level.h"

#if KM_X86_LEVELS

#include <immintrin.h>
#include <string.h>

KM_TARGET_BEGIN(KM_AVX2_SETS)

#include "simd/avx2.h"
#include "simd/plain.h"

static inline __m256i load(const void *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

typedef __m256i vector;
enum { VECTOR_BYTES = 32 };

static inline void store(void *to, vector v)
{
    _mm256_storeu_si256((__m256i *)to, v);
}

static inline vector repeat(uint8_t byte)
{
    return _mm256_set1_epi8((char)byte);
}

/* ---- pixels -> bits ---- */

/* A bit for each of 32 pixels. Adding 127 with saturation sets the top bit of each byte that is not
 * 0. */
static inline uint32_t pack32(const uint8_t *pixels)
{
    return (uint32_t)_mm256_movemask_epi8(_mm256_adds_epu8(load(pixels), _mm256_set1_epi8(127)));
}

static inline uint32_t pack16(const uint8_t *pixels)
{
    __m128i x = _mm_loadu_si128((const __m128i *)pixels);
    return (uint32_t)_mm_movemask_epi8(_mm_adds_epu8(x, _mm_set1_epi8(127)));
}

/* The second vector may overlap the first: the bits of their common pixels agree. */
static inline uint64_t pack(const uint8_t *pixels, size_t n)
{
    if (n < 16)
        return pack_plain(pixels, n);
    if (n < 32)
        return pack16(pixels) | (uint64_t)pack16(pixels + n - 16) << (n - 16);
    return pack32(pixels) | (uint64_t)pack32(pixels + n - 32) << (n - 32);
}

#include "simd/generic/pack_rows.inc"

typedef __m256i line_bits;

static inline line_bits no_bits(void)
{
    return _mm256_setzero_si256();
}

static inline line_bits or_line(line_bits any, const uint8_t *pixels)
{
    return _mm256_or_si256(any, _mm256_or_si256(load(pixels), load(pixels + 32)));
}

static inline bool is_zero(line_bits any)
{
    return _mm256_testz_si256(any, any);
}

#include "simd/generic/skip_background.inc"

/* ---- bits -> changes ---- */

enum { WORDS_AT_ONCE = 8 };

static inline void find_changed_columns(const uint64_t *bits, size_t rows, size_t words,
                                        uint64_t *changed)
{
    __m256i above[2] = {load(bits - words), load(bits - words + 4)};
    __m256i found[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t y = 0; y < rows; y++, bits += words)
        for (unsigned i = 0; i < 2; i++) {
            __m256i row = load(bits + 4 * i);
            found[i] = _mm256_or_si256(found[i], _mm256_xor_si256(row, above[i]));
            above[i] = row;
        }
    for (unsigned i = 0; i < 2; i++)
        store(changed + 4 * i, found[i]);
}

#include "simd/generic/transpose_rows.inc"

/* The top bits of four words. */
static inline uint64_t top_bits(__m256i words)
{
    return (uint64_t)(unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(words));
}

static inline uint64_t find_changed_words(const uint64_t *bits, size_t n)
{
    const __m256i zero = _mm256_setzero_si256();
    uint64_t same = 0;
    for (size_t i = 0; i < n; i += 4) {
        /* A word without changes repeats the last bit of the word before. */
        __m256i repeated = _mm256_cmpgt_epi64(zero, load(bits + i - 1));
        same |= top_bits(_mm256_cmpeq_epi64(load(bits + i), repeated)) << i;
    }
    return _bzhi_u64(~same, (unsigned)n);
}

#include "simd/generic/list_line.inc"

/* ---- changes -> runs ---- */

/* This many runs are written at once, even if a word has fewer changes. The runs in excess are
 * overwritten by those of the next words, each of which has a change. The last RUNS_AT_ONCE - 1
 * words are left to plain C. */
enum { RUNS_AT_ONCE = 4 };

KM_KERNEL static uint32_t *write_dense(const km_changes *listed, size_t n, uint32_t end,
                                       uint32_t *runs)
{
    size_t i = 0;
    for (; i + RUNS_AT_ONCE <= n; i++) {
        uint64_t bits = listed[i].bits;
        uint32_t first = listed[i].first, *after = runs + _mm_popcnt_u64(bits);
        do
            for (unsigned j = 0; j < RUNS_AT_ONCE; j++, bits = _blsr_u64(bits)) {
                uint32_t position = first + (uint32_t)_tzcnt_u64(bits);
                *runs++ = position - end;
                end = position;
            }
        while (runs < after);
        runs = after;
        end = first + KM_WORD - 1 - (uint32_t)_lzcnt_u64(listed[i].bits);
    }
    return write_changes_plain(listed + i, n - i, end, runs);
}

/* ---- runs -> bits ---- */

static inline void set_range_branchless(uint64_t *bits, uint64_t from, uint64_t to)
{
    km_set_range(bits, 1, from, to);
}

#define SET_RUNS set_runs_branchless
#define SET_RANGE set_range_branchless
#include "simd/generic/set_runs.inc"

/* Sets four words at a time. Nearly all runs end within the first four, so the branch on the number
 * of words is seldom mispredicted. */
static inline void set_range(uint64_t *bits, uint64_t from, uint64_t to)
{
    enum { FOUR_WORDS = 4 * KM_WORD };
    uint64_t low = from % KM_WORD, left = to - from + low; /* from bit 0 of its word on */
    __m256i *words = (__m256i *)(bits + from / KM_WORD);
    if (left <= KM_WORD) {
        bits[from / KM_WORD] |= km_range((unsigned)low, (unsigned)left);
        return;
    }
    const __m256i all = _mm256_set1_epi64x(-1), places = _mm256_setr_epi64x(0, 64, 128, 192);
    __m256i set = _mm256_sllv_epi64(all, _mm256_setr_epi64x((long long)low, 0, 0, 0));
    for (; left > FOUR_WORDS; left -= FOUR_WORDS, words++) {
        store(words, _mm256_or_si256(load(words), set));
        set = all;
    }
    /* The bits of each word before the end: 0 or more. A shift by 64 or more gives 0. */
    __m256i before = _mm256_subs_epu16(_mm256_set1_epi64x((long long)left), places);
    set = _mm256_andnot_si256(_mm256_sllv_epi64(all, before), set);
    store(words, _mm256_or_si256(load(words), set));
}

#define SET_RUNS set_runs_by_vectors
#define SET_RANGE set_range
#include "simd/generic/set_runs.inc"

/* set_range branches on whether a run ends in the word that it starts in. If there is more than one
 * run a word, that branch is often mispredicted, and km_set_range, which does not have it, is
 * faster. But runs of up to SHORT_RUN_PIXELS on average nearly always end in that word. */
KM_KERNEL static void set_runs(const uint32_t *runs, size_t n, uint64_t start, uint64_t from,
                               uint64_t to, uint64_t *bits)
{
    enum { SHORT_RUN_PIXELS = 8 };
    uint64_t n_set = n / 2, pixels = 0;
    if (to - from < n_set * KM_WORD)
        for (size_t i = 0; i < n; i += 2)
            pixels += runs[i];
    if (pixels > n_set * SHORT_RUN_PIXELS)
        set_runs_branchless(runs, n, start, from, to, bits);
    else
        set_runs_by_vectors(runs, n, start, from, to, bits);
}

/* ---- bits and runs -> pixels ---- */

/* 64 pixels of a word: each byte of the word is copied to eight pixels, and each of them tests one
 * bit of it. */
static inline void spread(uint64_t word, uint8_t value, __m256i *low, __m256i *high)
{
    const __m256i own = _mm256_set1_epi64x((long long)UINT64_C(0x8040201008040201));
    const __m256i bytes = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                           2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i values = repeat(value), all = _mm256_set1_epi64x((long long)word);
    *low = _mm256_shuffle_epi8(all, bytes);
    *high = _mm256_shuffle_epi8(all, _mm256_add_epi8(bytes, _mm256_set1_epi8(4)));
    *low = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(*low, own), own), values);
    *high = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(*high, own), own), values);
}

static inline void expand(uint64_t word, uint8_t value, uint8_t *pixels)
{
    __m256i low, high;
    spread(word, value, &low, &high);
    store(pixels, low);
    store(pixels + 32, high);
}

static inline void expand_past_caches(uint64_t word, uint8_t value, uint8_t *pixels)
{
    __m256i low, high;
    spread(word, value, &low, &high);
    _mm256_stream_si256((__m256i *)pixels, low);
    _mm256_stream_si256((__m256i *)(pixels + 32), high);
}

static inline void finish_past_caches(void)
{
    _mm_sfence();
}

#include "simd/generic/expand_some.inc"
#include "simd/generic/paint_rows.inc"

/* Hides from the compiler that these are zeros: clang turns a loop that stores 0 into a call of
 * memset. */
static inline void clear_line(uint8_t *line)
{
    __m256i zero = _mm256_setzero_si256();
    __asm__("" : "+x"(zero));
    store(line, zero);
    store(line + 32, zero);
}

#include "simd/generic/clear.inc"
#include "simd/generic/fill_runs.inc"

/* ---- measures ---- */

/* The rows so far. A run of foreground starts in row p % height, where p is its first pixel. The
 * quotient is computed as a float, and is right or too low by one: see km_row_range. */
typedef struct {
    __m256i height, top, bottom;
    __m256i done;   /* pixels of all runs so far */
    __m256 inverse; /* a little less than 1 / height */
} rows_found;

/* Adds sixteen runs: eight pairs of background and foreground. The lanes are those of the pairs
 * 0 1 4 5 2 3 6 7; all bits of `there` are set in the lanes that count. */
static inline void add_rows(rows_found *rows, __m256i low, __m256i high, __m256i there)
{
    __m256 a = _mm256_castsi256_ps(low), b = _mm256_castsi256_ps(high);
    __m256i gaps = _mm256_castps_si256(_mm256_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0)));
    __m256i lengths = _mm256_castps_si256(_mm256_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
    __m256i ends = _mm256_add_epi32(gaps, lengths);
    ends = _mm256_add_epi32(ends, _mm256_slli_epi64(ends, 32));
    /* So far each lane has the end of its pair within two pairs. Let A be the pixels of the pairs 0
     * and 1, B of 2 and 3, C of 4 and 5, D of 6 and 7. The lanes of AA CC BB DD wait for what comes
     * before: 0, A + B, A, A + B + C. */
    __m256i own = _mm256_shuffle_epi32(ends, _MM_SHUFFLE(3, 3, 1, 1)); /* AA CC | BB DD */
    __m256i other = _mm256_permute2x128_si256(own, own, 0x01);         /* BB DD | AA CC */
    __m256i both = _mm256_add_epi32(own, other);                       /* A + B, C + D, twice */
    __m256i before = _mm256_slli_si256(both, 8);                       /* 0, A + B, twice */
    const __m256i zero = _mm256_setzero_si256();
    before = _mm256_add_epi32(before, _mm256_blend_epi32(zero, other, 0xf0)); /* + 0 0 | A, C */
    ends = _mm256_add_epi32(_mm256_add_epi32(ends, before), rows->done);
    rows->done = _mm256_add_epi32(
        rows->done, _mm256_add_epi32(both, _mm256_shuffle_epi32(both, _MM_SHUFFLE(1, 0, 3, 2))));
    __m256i starts = _mm256_sub_epi32(ends, lengths);
    __m256i columns = _mm256_cvttps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(starts), rows->inverse));
    __m256i first = _mm256_sub_epi32(starts, _mm256_mullo_epi32(columns, rows->height));
    first = _mm256_min_epu32(first, _mm256_sub_epi32(first, rows->height));
    __m256i end = _mm256_and_si256(_mm256_add_epi32(first, lengths), there);
    __m256i missing = _mm256_xor_si256(there, _mm256_set1_epi32(-1));
    rows->top = _mm256_min_epu32(rows->top, _mm256_or_si256(first, missing));
    rows->bottom = _mm256_max_epu32(rows->bottom, end);
}

static inline uint32_t least(__m256i x)
{
    __m128i m = _mm_min_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    m = _mm_min_epu32(m, _mm_shuffle_epi32(m, _MM_SHUFFLE(1, 0, 3, 2)));
    m = _mm_min_epu32(m, _mm_shuffle_epi32(m, _MM_SHUFFLE(2, 3, 0, 1)));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

static inline uint32_t largest(__m256i x)
{
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, _MM_SHUFFLE(1, 0, 3, 2)));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, _MM_SHUFFLE(2, 3, 0, 1)));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

KM_KERNEL static void row_range(km_row_range *result)
{
    enum { RUNS = 16 };
    const uint32_t *runs = result->runs, *runs_end = runs + 2 * result->pairs;
    const __m256i zero = _mm256_setzero_si256(), all = _mm256_set1_epi32(-1);
    /* Three roundings, each by up to 2**-24 of the value, must not make the quotient too high. */
    const float a_little_less = 1.0f - 1.0f / (1 << 21);
    rows_found rows = {_mm256_set1_epi32((int)result->height), all, zero, zero,
                       _mm256_set1_ps(a_little_less / (float)result->height)};
    for (; runs_end - runs >= RUNS; runs += RUNS)
        add_rows(&rows, load(runs), load(runs + 8), all);
    if (runs < runs_end) {
        const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        const __m256i pairs = _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7);
        __m256i left = _mm256_set1_epi32((int)(runs_end - runs));
        __m256i low = _mm256_cmpgt_epi32(left, lanes);
        __m256i high = _mm256_cmpgt_epi32(left, _mm256_add_epi32(lanes, _mm256_set1_epi32(8)));
        add_rows(&rows, _mm256_maskload_epi32((const int *)runs, low),
                 _mm256_maskload_epi32((const int *)runs + 8, high),
                 _mm256_cmpgt_epi32(left, _mm256_add_epi32(pairs, pairs)));
    }
    result->top = least(rows.top);
    result->bottom = largest(rows.bottom);
}

/* ---- colours ---- */

static inline void tint_span(const km_tint *tint, uint8_t *pixels, size_t n)
{
    if (tint->keep == 0) {
        tint_opaque(tint, pixels, n);
        return;
    }
    __m256i keep = _mm256_set1_epi16((short)tint->keep);
    size_t i = 0, phase = 0;
    for (; i + 16 <= n; i += 16) {
        __m256i x = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(pixels + i)));
        x = _mm256_add_epi16(_mm256_mullo_epi16(x, keep), load(tint->added + phase));
        x = _mm256_mulhi_epu16(x, _mm256_set1_epi16(257));
        _mm_storeu_si128((__m128i *)(pixels + i), _mm_packus_epi16(_mm256_castsi256_si128(x),
                                                                   _mm256_extracti128_si256(x, 1)));
        phase = phase == KM_TINT_BYTES - 16 ? 0 : phase + 16;
    }
    tint_plain(tint, pixels, i, n);
}

#include "simd/generic/blend.inc"

KM_KERNEL static void stamp(const uint64_t *bits, size_t n, const uint8_t *color, uint8_t *pixels)
{
    int value;
    memcpy(&value, color, sizeof value);
    const __m256i own = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i colors = _mm256_set1_epi32(value);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        int eight = (int)(bits[i / KM_WORD] >> i % KM_WORD & 0xff);
        __m256i set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(eight), own), own);
        store(pixels + 4 * i, _mm256_and_si256(set, colors));
    }
    stamp_plain(bits, i, n, color, pixels);
}

KM_KERNEL static uint64_t count_shared(const km_band_pair *block)
{
    /* The number of ones in each value of four bits; one shuffle looks up 32 values. */
    const __m256i ones = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                          2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i four_bits = _mm256_set1_epi8(0xf);
    __m256i sum = _mm256_setzero_si256();
    uint64_t lanes[4];
    const uint64_t *a = block->a, *b = block->b;
    for (size_t band = 0; band < block->bands; band++, a += block->width_a, b += block->width_b) {
        for (size_t i = 0; i < block->columns; i += 4) {
            __m256i both = _mm256_and_si256(_mm256_load_si256((const __m256i *)(a + i)),
                                            _mm256_load_si256((const __m256i *)(b + i)));
            __m256i low = _mm256_shuffle_epi8(ones, _mm256_and_si256(both, four_bits));
            __m256i high =
                _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(both, 4), four_bits));
            sum = _mm256_add_epi64(
                sum, _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256()));
        }
    }
    store(lanes, sum);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

/* Eight lanes of 32 bits. Each adds up every eighth pair of columns: at most 2**29 pixels. */
typedef __m256i sums;

static inline sums no_sums(void)
{
    return _mm256_setzero_si256();
}

static inline sums add_shared(sums sum, const km_spans *a, size_t i, const km_spans *b, size_t j)
{
    __m256i first = _mm256_max_epu16(load(a->firsts + i), load(b->firsts + j));
    __m256i end = _mm256_min_epu16(load(a->ends + i), load(b->ends + j));
    __m256i rows = _mm256_subs_epu16(end, first); /* 0 if they do not meet */
    return _mm256_add_epi32(sum, _mm256_madd_epi16(rows, _mm256_set1_epi16(1)));
}

static inline uint64_t total_of(sums sum)
{
    uint32_t lanes[8];
    uint64_t total = 0;
    store(lanes, sum);
    for (unsigned i = 0; i < 8; i++)
        total += lanes[i];
    return total;
}

#include "simd/generic/overlap_spans.inc"

KM_TARGET_END

const km_kernels km_avx2 = {
    .pack_rows = pack_rows,
    .skip_background = skip_background,
    .transpose_rows = transpose_rows,
    .list_line = list_line,
    .write_dense = write_dense,
    .set_runs = set_runs,
    .paint_rows = paint_rows,
    .clear = clear,
    .fill_runs = fill_runs,
    .row_range = row_range,
    .blend = blend,
    .stamp = stamp,
    .count_shared = count_shared,
    .overlap_spans = overlap_spans,
};

#endif
