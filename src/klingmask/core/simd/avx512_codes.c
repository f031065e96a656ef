/* AVX-512: counts text. 32 characters are read at a time, and 16 runs written. */
#include "simd/level.h"

#if KM_X86_LEVELS

#include <immintrin.h>
#include <string.h>

KM_TARGET_BEGIN(KM_AVX512_SETS)

#include "simd/code_steps.h"
#include "simd/plain.h"

/* ---- text -> runs: the steps of generic/read_codes.inc ---- */

enum { CHARACTERS = 32 };

/* Not needed: a load with a mask reads nothing past the end. */
typedef struct {
    char none;
} code_tail;

typedef struct {
    __m256i offset, group, sign;
} code_constants;

typedef struct {
    __m256i characters; /* less KM_OFFSET */
    __m512i too_large;  /* bits of runs less one over RUN_BITS: a run of 0 or less wraps around */
    uint32_t repeats;   /* not 0 if a last group only repeats the sign of the group before it */
} code_faults;

/* In 16 bits each. */
typedef __m512i code_groups, code_values;

static inline code_constants hold_constants(void)
{
    return (code_constants){
        .offset = _mm256_set1_epi8(KM_OFFSET),
        .group = _mm256_set1_epi8(KM_GROUP),
        .sign = _mm256_set1_epi8(KM_SIGN),
    };
}

static inline code_faults no_faults(void)
{
    return (code_faults){_mm256_setzero_si256(), _mm512_setzero_si512(), 0};
}

static inline bool is_faulty(code_faults faults)
{
    const __m256i never_set = _mm256_set1_epi8((char)~(KM_MORE | KM_GROUP));
    return faults.repeats || !_mm256_testz_si256(faults.characters, never_set) ||
           _mm512_test_epi32_mask(faults.too_large, faults.too_large);
}

static inline code_step locate(code_cursor *cursor, code_tail *tail)
{
    ptrdiff_t left = cursor->end - cursor->at;
    code_step step = {.from = cursor->at, .count = left < CHARACTERS ? (unsigned)left : CHARACTERS};
    (void)tail;
    step.unread = _bzhi_u32(UINT32_MAX, step.count);
    return step;
}

static inline code_groups load(code_step *step, const code_constants *constants,
                               code_faults *faults)
{
    __m256i characters = _mm256_maskz_loadu_epi8(step->unread, step->from);
    characters = _mm256_maskz_sub_epi8(step->unread, characters, constants->offset);
    faults->characters = _mm256_or_si256(faults->characters, characters);
    step->more = _mm256_test_epi8_mask(characters, _mm256_set1_epi8(KM_MORE));
    __m256i groups = _mm256_and_si256(characters, constants->group);
    return _mm512_cvtepi8_epi16(
        _mm256_sub_epi8(_mm256_xor_si256(groups, constants->sign), constants->sign));
}

static inline void widen(code_groups groups, int16_t *differences)
{
    _mm512_storeu_si512(differences, groups);
}

/* The groups of the characters `by` places before those of the step, without sign. */
static inline code_groups groups_before(const code_step *step, unsigned by,
                                        const code_constants *constants)
{
    __m256i characters = _mm256_maskz_loadu_epi8(step->unread, step->from - by);
    characters = _mm256_sub_epi8(characters, constants->offset);
    return _mm512_cvtepu8_epi16(_mm256_and_si256(characters, constants->group));
}

static inline code_values evaluate(const code_step *step, code_groups groups,
                                   const code_constants *constants, code_faults *faults)
{
    code_groups before = groups_before(step, 1, constants);
    code_groups before_that = groups_before(step, 2, constants);
    code_values numbers = _mm512_mask_mov_epi16(
        groups, step->second, _mm512_or_si512(_mm512_slli_epi16(groups, KM_GROUP_BITS), before));
    numbers = _mm512_mask_mov_epi16(
        numbers, step->third,
        _mm512_or_si512(_mm512_slli_epi16(numbers, KM_GROUP_BITS), before_that));
    /* A last group of 0 after a positive group, or of -1 after a negative one, makes the code
     * longer than needed: the group and the sign bit before it add up to 0. */
    faults->repeats |= _mm512_mask_testn_epi16_mask(
        step->ends & step->second, _mm512_add_epi16(groups, _mm512_srli_epi16(before, 4)),
        _mm512_set1_epi16(-1));
    return numbers;
}

static inline size_t compact(code_values numbers, uint32_t ends, int16_t *differences)
{
    _mm512_storeu_si512(differences, _mm512_maskz_compress_epi16(ends, numbers));
    return (size_t)_mm_popcnt_u32(ends);
}

/* Sixteen runs at a time. As in avx2_codes.c, but with four quarters: each starts from the sum of
 * those before it. */
static inline void sum_up(const int16_t *differences, size_t n, const uint32_t *before,
                          uint32_t *runs, uint64_t *first_sum, uint64_t *second_sum,
                          code_faults *faults)
{
    const __m512i one = _mm512_set1_epi32(1), none = _mm512_setzero_si512();
    long long two;
    memcpy(&two, before, sizeof two);
    __m512i pair = _mm512_set1_epi64(two), x = none, sum = none, less_one = none;
    for (size_t i = 0; i < n; i += 16) {
        x = _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(differences + i)));
        x = _mm512_add_epi32(x, _mm512_bslli_epi128(x, 8));
        __m512i own = _mm512_unpackhi_epi64(x, x);
        __m512i rise = _mm512_add_epi32(own, _mm512_alignr_epi64(own, none, 6));
        rise = _mm512_add_epi32(rise, _mm512_alignr_epi64(rise, none, 4));
        x = _mm512_add_epi32(_mm512_add_epi32(x, pair), _mm512_sub_epi32(rise, own));
        pair = _mm512_add_epi32(pair, _mm512_shuffle_i64x2(rise, rise, 0xff));
        _mm512_storeu_si512(runs + i, x);
        less_one = _mm512_or_si512(less_one, _mm512_sub_epi32(x, one));
        sum = _mm512_add_epi32(sum, x);
    }
    faults->too_large = _mm512_or_si512(faults->too_large, _mm512_srli_epi32(less_one, RUN_BITS));
    /* The lanes after the last run repeat runs, because the padding is 0: subtract these. */
    __mmask16 padding = (__mmask16)(UINT32_MAX << ((n + 15) % 16 + 1));
    sum = _mm512_mask_sub_epi32(sum, padding, sum, x);
    __m512i firsts = _mm512_and_si512(sum, _mm512_set1_epi64(UINT32_MAX));
    *first_sum += (uint64_t)_mm512_reduce_add_epi64(firsts);
    *second_sum += (uint64_t)_mm512_reduce_add_epi64(_mm512_srli_epi64(sum, 32));
}

#include "simd/generic/read_codes.inc"

/* ---- runs -> text ---- */

/* The first number that needs more than four characters. These hold 20 bits, with the sign. */
enum { FIRST_LONG = 1 << (4 * KM_GROUP_BITS - 1) };

/* KM_MORE in the bytes of characters with another after them in their code. `size` is the number,
 * or its complement if it is negative. */
static inline __m512i measure(__m512i size)
{
    const __mmask16 two =
        _mm512_cmpge_epi32_mask(size, _mm512_set1_epi32(1 << (KM_GROUP_BITS - 1)));
    const __mmask16 three =
        _mm512_cmpge_epi32_mask(size, _mm512_set1_epi32(1 << (2 * KM_GROUP_BITS - 1)));
    const __mmask16 four =
        _mm512_cmpge_epi32_mask(size, _mm512_set1_epi32(1 << (3 * KM_GROUP_BITS - 1)));
    __m512i more = _mm512_maskz_set1_epi32(two, KM_MORE);
    more = _mm512_mask_or_epi32(more, three, more, _mm512_set1_epi32(KM_MORE << 8));
    return _mm512_mask_or_epi32(more, four, more, _mm512_set1_epi32(KM_MORE << 16));
}

/* Group i of each number, in byte i of its lane. */
static inline __m512i group(__m512i numbers, unsigned i)
{
    return _mm512_and_si512(_mm512_slli_epi32(numbers, (8 - KM_GROUP_BITS) * i),
                            _mm512_set1_epi32(KM_GROUP << (8 * i)));
}

/* Four characters of each number. Those after the end of its code have no meaning. */
static inline __m512i expand(__m512i numbers, __m512i more)
{
    __m512i characters = _mm512_or_si512(group(numbers, 0), group(numbers, 1));
    characters = _mm512_or_si512(characters, group(numbers, 2));
    characters = _mm512_or_si512(characters, group(numbers, 3));
    return _mm512_add_epi8(_mm512_add_epi8(characters, more), _mm512_set1_epi8(KM_OFFSET));
}

/* Writes the characters of the codes side by side. Keeps the first character of each lane in
 * `there`, and each character after one with KM_MORE. Returns the end of the text. */
static inline char *compact_codes(__m512i characters, __m512i more, __mmask16 there, char *text)
{
    __m512i kept_bytes =
        _mm512_or_si512(_mm512_slli_epi32(more, 8), _mm512_maskz_set1_epi32(there, KM_MORE));
    __mmask64 kept = _mm512_test_epi8_mask(kept_bytes, kept_bytes);
    _mm512_storeu_si512(text, _mm512_maskz_compress_epi8(kept, characters));
    return text + _mm_popcnt_u64(kept);
}

KM_KERNEL static char *write_codes(const uint32_t *runs, size_t n, char *text)
{
    for (size_t i = 0; i < n; i += 16) {
        size_t some = n - i < 16 ? n - i : 16;
        __mmask16 there = (__mmask16)_bzhi_u32(UINT32_MAX, (unsigned)some);
        __m512i now = _mm512_maskz_loadu_epi32(there, runs + i);
        __m512i before = _mm512_maskz_loadu_epi32(there, runs + i - 2);
        __m512i differences = _mm512_sub_epi32(now, before);
        __m512i size = _mm512_xor_si512(differences, _mm512_srai_epi32(differences, 31));
        /* A run of 2**31 or more, or a longer code. */
        if (_mm512_cmpge_epu32_mask(_mm512_or_si512(now, before), _mm512_set1_epi32(INT32_MIN)) |
            _mm512_cmpge_epi32_mask(size, _mm512_set1_epi32(FIRST_LONG))) {
            text = km_write_codes_plain(runs + i, some, text);
            continue;
        }
        __m512i more = measure(size);
        text = compact_codes(expand(differences, more), more, there, text);
    }
    return text;
}

KM_TARGET_END

const km_kernels km_avx512_codes = {
    .read_codes = read_codes,
    .write_codes = write_codes,
};

#endif
