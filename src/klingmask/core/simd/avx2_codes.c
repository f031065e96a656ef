/* AVX2: counts text. 32 characters are read at a time, and 8 runs written. */
#include "simd/level.h"

#if KM_X86_LEVELS

#include <immintrin.h>
#include <string.h>

KM_TARGET_BEGIN(KM_AVX2_SETS)

#include "simd/code_steps.h"
#include "simd/plain.h"
#include "simd/shuffles.h"

static inline __m256i load256(const void *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

static inline void store256(void *to, __m256i v)
{
    _mm256_storeu_si256((__m256i *)to, v);
}

/* ---- text -> runs: the steps of generic/read_codes.inc ---- */

enum { CHARACTERS = 32 };

typedef struct {
    char characters[2 + CHARACTERS];
} code_tail;

typedef struct {
    __m256i one, offset, sign;
    __m256i more_from;       /* the lowest character with KM_MORE */
    __m256i last_without;    /* the highest character without it */
    __m256i factor_less_one; /* 1 - 32: subtracting it from 1 gives the factor 32 */
} code_constants;

typedef struct {
    __m256i characters; /* less KM_OFFSET */
    __m256i repeats;    /* not 0 where a last group only repeats the sign of the group before it */
    __m256i too_large;  /* bits of runs less one over RUN_BITS: a run of 0 or less wraps around */
} code_faults;

/* In 8 bits each. */
typedef __m256i code_groups;

/* In 16 bits each: of the characters 0 to 7 and 16 to 23 in `low`, of the others in `high`. */
typedef struct {
    __m256i low, high;
} code_values;

/* Hides a constant from the compiler, so that it stays in a register instead of being made again in
 * each step. */
static inline __m256i hold(char byte)
{
    __m256i bytes = _mm256_set1_epi8(byte);
    __asm__("" : "+x"(bytes));
    return bytes;
}

static inline code_constants hold_constants(void)
{
    return (code_constants){
        .one = hold(1),
        .offset = hold(KM_OFFSET),
        .sign = hold(KM_SIGN),
        .more_from = hold(KM_OFFSET + KM_MORE),
        .last_without = hold(KM_OFFSET + KM_MORE - 1),
        .factor_less_one = hold(1 - 32),
    };
}

static inline code_faults no_faults(void)
{
    const __m256i zero = _mm256_setzero_si256();
    return (code_faults){zero, zero, zero};
}

static inline bool is_faulty(code_faults faults)
{
    const __m256i never_set = _mm256_set1_epi8((char)~(KM_MORE | KM_GROUP));
    __m256i any = _mm256_and_si256(faults.characters, never_set);
    any = _mm256_or_si256(any, _mm256_or_si256(faults.repeats, faults.too_large));
    return !_mm256_testz_si256(any, any);
}

/* The last step of a text starts with characters that the step before has read. If the whole text
 * is shorter than a step, the step reads a copy of it, followed by codes of 0. */
static inline code_step locate(code_cursor *cursor, code_tail *tail)
{
    code_step step = {.from = cursor->at, .count = CHARACTERS};
    if (cursor->end - cursor->at < CHARACTERS) {
        step.count = (unsigned)(cursor->end - cursor->at);
        if (cursor->end - cursor->text >= CHARACTERS + 2) {
            step.known = CHARACTERS - step.count;
            step.from = cursor->end - CHARACTERS;
            cursor->history <<= step.known;
        } else {
            memset(tail->characters, KM_OFFSET, sizeof tail->characters);
            memcpy(tail->characters, cursor->at - 2, 2 + step.count);
            step.from = tail->characters + 2;
        }
    }
    step.unread = _bzhi_u32(UINT32_MAX, step.count) << step.known;
    return step;
}

static inline code_groups load(code_step *step, const code_constants *constants,
                               code_faults *faults)
{
    __m256i characters = load256(step->from);
    step->more =
        (uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(characters, constants->last_without));
    characters = _mm256_sub_epi8(characters, constants->offset);
    faults->characters = _mm256_or_si256(faults->characters, characters);
    return _mm256_sub_epi8(_mm256_xor_si256(characters, constants->sign), constants->sign);
}

static inline void widen(code_groups groups, int16_t *differences)
{
    store256(differences, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(groups)));
    store256(differences + CHARACTERS / 2,
             _mm256_cvtepi8_epi16(_mm256_extracti128_si256(groups, 1)));
}

/* Adds the first group of three-character codes to their numbers. `second` has the characters with
 * one or more before them in their code. */
static inline code_values add_first_of_three(code_values numbers, const char *from, __m256i second,
                                             const code_constants *constants)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i characters = load256(from - 2);
    __m256i third =
        _mm256_and_si256(second, _mm256_cmpgt_epi8(characters, constants->last_without));
    __m256i group = _mm256_subs_epu8(characters, constants->more_from);
    numbers.low = _mm256_blendv_epi8(numbers.low,
                                     _mm256_or_si256(_mm256_slli_epi16(numbers.low, KM_GROUP_BITS),
                                                     _mm256_unpacklo_epi8(group, zero)),
                                     _mm256_unpacklo_epi8(third, third));
    numbers.high =
        _mm256_blendv_epi8(numbers.high,
                           _mm256_or_si256(_mm256_slli_epi16(numbers.high, KM_GROUP_BITS),
                                           _mm256_unpackhi_epi8(group, zero)),
                           _mm256_unpackhi_epi8(third, third));
    return numbers;
}

/* If a character has one before it in its code, the number is the group before plus 32 times this
 * group. Otherwise it is this group. */
static inline code_values evaluate(const code_step *step, code_groups groups,
                                   const code_constants *constants, code_faults *faults)
{
    __m256i before = load256(step->from - 1);
    __m256i second = _mm256_cmpgt_epi8(before, constants->last_without);
    before = _mm256_subs_epu8(before, constants->more_from); /* 0 if it ends a code */
    /* A last group of 0 after a positive group, or of -1 after a negative one, makes the code
     * longer than needed. A character with KM_MORE is never 0 or -1 in `groups`. */
    __m256i sign_before =
        _mm256_cmpeq_epi8(_mm256_and_si256(before, constants->sign), constants->sign);
    __m256i repeats = _mm256_and_si256(_mm256_cmpeq_epi8(groups, sign_before), second);
    faults->repeats = _mm256_or_si256(faults->repeats, repeats);
    __m256i factor =
        _mm256_sub_epi8(constants->one, _mm256_and_si256(second, constants->factor_less_one));
    code_values numbers = {
        _mm256_maddubs_epi16(_mm256_unpacklo_epi8(constants->one, factor),
                             _mm256_unpacklo_epi8(before, groups)),
        _mm256_maddubs_epi16(_mm256_unpackhi_epi8(constants->one, factor),
                             _mm256_unpackhi_epi8(before, groups)),
    };
    return step->third & step->ends ? add_first_of_three(numbers, step->from, second, constants)
                                    : numbers;
}

static inline size_t compact(code_values numbers, uint32_t ends, int16_t *differences)
{
    __m128i eight[] = {_mm256_castsi256_si128(numbers.low), _mm256_castsi256_si128(numbers.high),
                       _mm256_extracti128_si256(numbers.low, 1),
                       _mm256_extracti128_si256(numbers.high, 1)};
    size_t n = 0;
    for (unsigned i = 0; i < 4; i++, ends >>= 8) {
        __m128i closing = _mm_loadu_si128((const __m128i *)km_close_numbers[ends & 0xff]);
        _mm_storeu_si128((__m128i *)(differences + n), _mm_shuffle_epi8(eight[i], closing));
        n += (unsigned)_mm_popcnt_u32(ends & 0xff);
    }
    return n;
}

/* Eight runs at a time: a running sum over every other lane. */
static inline void sum_up(const int16_t *differences, size_t n, const uint32_t *before,
                          uint32_t *runs, uint64_t *first_sum, uint64_t *second_sum,
                          code_faults *faults)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), one = _mm256_set1_epi32(1);
    const __m256i even = _mm256_set1_epi64x(UINT32_MAX);
    long long two;
    memcpy(&two, before, sizeof two);
    __m256i pair = _mm256_set1_epi64x(two);
    __m256i x = _mm256_setzero_si256(), sum = x, less_one = x; /* of runs; or-ed */
    for (size_t i = 0; i < n; i += 8) {
        x = _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(differences + i)));
        x = _mm256_add_epi32(x, _mm256_slli_si256(x, 8));
        /* `rise` is what each half adds. The second half starts from what the first adds. */
        __m256i rise = _mm256_unpackhi_epi64(x, x);
        x = _mm256_add_epi32(x, _mm256_permute2x128_si256(rise, rise, 0x08));
        x = _mm256_add_epi32(x, pair);
        /* The last two runs become the next `pair` by one addition to `pair`. So one round waits
         * for the one before no longer than that addition takes. */
        rise = _mm256_add_epi32(rise, _mm256_permute2x128_si256(rise, rise, 0x01));
        pair = _mm256_add_epi32(pair, rise);
        store256(runs + i, x);
        less_one = _mm256_or_si256(less_one, _mm256_sub_epi32(x, one));
        sum = _mm256_add_epi32(sum, x);
    }
    faults->too_large = _mm256_or_si256(faults->too_large, _mm256_srli_epi32(less_one, RUN_BITS));
    /* The lanes after the last run repeat runs, because the padding is 0: subtract these. */
    __m256i rest = _mm256_set1_epi32((int)((n + 7) % 8));
    sum = _mm256_sub_epi32(sum, _mm256_and_si256(x, _mm256_cmpgt_epi32(lanes, rest)));
    __m256i first = _mm256_and_si256(sum, even), second = _mm256_srli_epi64(sum, 32);
    __m256i both = _mm256_add_epi64(_mm256_unpacklo_epi64(first, second),
                                    _mm256_unpackhi_epi64(first, second));
    uint64_t halves[4];
    store256(halves, both);
    *first_sum += halves[0] + halves[2];
    *second_sum += halves[1] + halves[3];
}

#include "simd/generic/read_codes.inc"

/* ---- runs -> text ---- */

/* The first number that needs more than four characters. These hold 20 bits, with the sign. */
enum { FIRST_LONG = 1 << (4 * KM_GROUP_BITS - 1) };

/* All bits of a lane are set if its code has two, three, four characters or more. */
typedef struct {
    __m256i two, three, four;
} code_lengths;

/* `size` is the number, or its complement if it is negative. */
static inline code_lengths measure(__m256i size)
{
    return (code_lengths){
        _mm256_cmpgt_epi32(size, _mm256_set1_epi32((1 << (KM_GROUP_BITS - 1)) - 1)),
        _mm256_cmpgt_epi32(size, _mm256_set1_epi32((1 << (2 * KM_GROUP_BITS - 1)) - 1)),
        _mm256_cmpgt_epi32(size, _mm256_set1_epi32((1 << (3 * KM_GROUP_BITS - 1)) - 1)),
    };
}

/* Group i of each number, in byte i of its lane. */
static inline __m256i group(__m256i numbers, int i)
{
    return _mm256_and_si256(_mm256_slli_epi32(numbers, (8 - KM_GROUP_BITS) * i),
                            _mm256_set1_epi32(KM_GROUP << (8 * i)));
}

/* Four characters of each number. Those after the end of its code have no meaning. */
static inline __m256i expand(__m256i numbers, code_lengths lengths)
{
    __m256i characters = _mm256_or_si256(group(numbers, 0), group(numbers, 1));
    characters = _mm256_or_si256(characters, group(numbers, 2));
    characters = _mm256_or_si256(characters, group(numbers, 3));
    __m256i more = _mm256_and_si256(lengths.two, _mm256_set1_epi32(KM_MORE));
    more = _mm256_or_si256(more, _mm256_and_si256(lengths.three, _mm256_set1_epi32(KM_MORE << 8)));
    more = _mm256_or_si256(more, _mm256_and_si256(lengths.four, _mm256_set1_epi32(KM_MORE << 16)));
    return _mm256_add_epi8(_mm256_add_epi8(characters, more), _mm256_set1_epi8(KM_OFFSET));
}

/* Writes the characters of the codes, side by side. Returns where they end. */
static inline char *compact_codes(__m256i characters, code_lengths lengths, char *text)
{
    __m256i low_bit = _mm256_xor_si256(lengths.two, _mm256_xor_si256(lengths.three, lengths.four));
    unsigned low = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(low_bit));
    unsigned high = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(lengths.three));
    for (unsigned half = 0; half < 2; half++, low >>= 4, high >>= 4) {
        unsigned index = (high & 15) << 4 | (low & 15);
        __m128i four =
            half ? _mm256_extracti128_si256(characters, 1) : _mm256_castsi256_si128(characters);
        __m128i closing = _mm_loadu_si128((const __m128i *)km_close_codes[index]);
        _mm_storeu_si128((__m128i *)text, _mm_shuffle_epi8(four, closing));
        text += 4 + _mm_popcnt_u32(index) + _mm_popcnt_u32(index >> 4);
    }
    return text;
}

KM_KERNEL static char *write_codes(const uint32_t *runs, size_t n, char *text)
{
    const __m256i sign = _mm256_set1_epi32(INT32_MIN);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i now = load256(runs + i), before = load256(runs + i - 2);
        __m256i differences = _mm256_sub_epi32(now, before);
        __m256i size = _mm256_xor_si256(differences, _mm256_srai_epi32(differences, 31));
        __m256i beyond = _mm256_cmpgt_epi32(size, _mm256_set1_epi32(FIRST_LONG - 1));
        beyond = _mm256_or_si256(_mm256_or_si256(now, before), beyond);
        if (!_mm256_testz_si256(beyond, sign)) { /* a run of 2**31 or more, or a longer code */
            text = km_write_codes_plain(runs + i, 8, text);
            continue;
        }
        code_lengths lengths = measure(size);
        text = compact_codes(expand(differences, lengths), lengths, text);
    }
    return km_write_codes_plain(runs + i, n - i, text);
}

KM_TARGET_END

const km_kernels km_avx2_codes = {
    .read_codes = read_codes,
    .write_codes = write_codes,
};

#endif
